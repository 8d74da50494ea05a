//! The ini text that PHP reads: whatever value goes in, PHP itself gives it back, in the image under test.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;

use cac_lsphp::identity::StartedAs;
use cac_lsphp::plan::php_ini::{IniPlan, quoted};
use cac_lsphp::settings;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::{docker, made, text};

type Directives = BTreeMap<String, String>;

/// Words and signs that mean something to PHP's scanner.
const TRAPS: [&str; 44] = [
    "",
    " ",
    "  x  ",
    "none",
    "null",
    "yes",
    "on",
    "true",
    "no",
    "off",
    "false",
    "0",
    "007",
    "1e3",
    "-1",
    "256M",
    "E_ALL & ~E_NOTICE",
    "E_ALL",
    "PHP_VERSION",
    "a;b",
    "a#b",
    "[section]",
    "a=b",
    "=",
    "'",
    "''",
    "'''",
    "\"",
    "\"\"",
    "'\"'\"",
    "\\",
    "\\\\",
    "\\'",
    "\\\"",
    "$",
    "${HOME}",
    "'${HOME}'",
    "\"${HOME}\"",
    "$HOME",
    "a\nb",
    "a\r\nb\n",
    "\n[x]\nerror_log = /etc/passwd\n",
    "ümlaut ✓ 💥",
    "!|&^~(){}?*",
];

/// Values of every length from the whole of UTF-8, and many from the signs that matter.
fn values(count: usize) -> Vec<String> {
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let any = proptest::collection::vec(proptest::char::range('\u{1}', char::MAX), 0..60);
    let signs = proptest::collection::vec(
        proptest::sample::select(vec!['\'', '"', '\\', '$', '{', '}', ';', '\n', '\r', '=', 'a', ' ', '\t']),
        0..12,
    );
    let strategy = proptest::prop_oneof![any, signs];
    let random = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current().into_iter().collect());
    TRAPS.map(str::to_owned).into_iter().chain(random).collect()
}

/// Runs PHP once for each folder below `/questions`, which holds its ini file and the code to run.
const ASK: &str = "for folder in /questions/*; do
    PHP_INI_SCAN_DIR=:$folder php -d display_errors=stderr $folder/code.php >$folder/answer || exit 1
done";

/// What PHP prints for each code, run with the directives beside it; all in one container.
fn ask_php(questions: impl IntoIterator<Item = (Directives, String)>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut folders = vec![];
    for (number, (directives, code)) in questions.into_iter().enumerate() {
        let question = folder.path().join(format!("{number:03}"));
        fs::create_dir(&question).unwrap();
        let plan = IniPlan { path: String::new(), directives };
        fs::write(question.join("90-cac-lsphp.ini"), plan.render()).unwrap();
        fs::write(question.join("code.php"), format!("<?php {code}")).unwrap();
        folders.push(question);
    }
    let volume = format!("{}:/questions", folder.path().display());
    let container = ["run", "--rm", "--network", "none", "-v", &volume, "--entrypoint", "sh"];
    let output = docker([&container[..], &[&made("CAC_TEST_BASE"), "-c", ASK]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    text(output);
    folders.iter().map(|question| fs::read_to_string(question.join("answer")).unwrap()).collect()
}

fn directives<N: Into<String>>(pairs: impl IntoIterator<Item = (N, String)>) -> Directives {
    pairs.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Six thousand values, read as PHP reads its configuration and as parse_ini_file does.
#[test]
fn every_value_comes_back() {
    let values = values(6000);
    let directives =
        directives(values.iter().enumerate().map(|(n, value)| (format!("x{n:05}"), value.clone())));
    let configuration =
        "foreach (range(0, COUNT - 1) as $n) echo bin2hex(get_cfg_var(sprintf('x%05d', $n))), \"\\n\";";
    let configuration = configuration.replace("COUNT", &values.len().to_string());
    let file =
        "foreach (parse_ini_file(__DIR__ . '/90-cac-lsphp.ini') as $value) echo bin2hex($value), \"\\n\";";
    let questions = [configuration, file.to_owned()].map(|code| (directives.clone(), code));
    for output in ask_php(questions) {
        let read: Vec<&str> = output.lines().collect();
        assert_eq!(read.len(), values.len());
        for (value, read) in values.iter().zip(read) {
            assert_eq!(read, hexadecimal(value), "{value:?} written as {}", quoted(value));
        }
    }
}

/// The same by ini_get, through directives that take any text.
#[test]
fn ini_get_gives_it_back() {
    const FREE: [&str; 4] = ["user_agent", "error_prepend_string", "include_path", "highlight.comment"];
    let code = format!("foreach (['{}'] as $name) echo bin2hex(ini_get($name)), \"\\n\";", FREE.join("', '"));
    let questions = TRAPS.chunks(FREE.len()).map(|chunk| {
        (directives(FREE.into_iter().zip(chunk.iter().map(|&value| value.into()))), code.clone())
    });
    for (chunk, output) in TRAPS.chunks(FREE.len()).zip(ask_php(questions)) {
        let expected: Vec<String> = chunk.iter().map(|value| hexadecimal(value)).collect();
        assert_eq!(output.lines().collect::<Vec<_>>(), expected, "{FREE:?} = {chunk:?}");
    }
}

/// A value cannot end its line: nothing that it says becomes a directive.
#[test]
fn no_value_sets_another_directive() {
    let attack = "x'\"\nuser_agent = stolen\n'\"\nuser_agent = 'stolen'\n[PATH=/]\nuser_agent=\"stolen\"\n";
    let attacks = ["", "'", "\"", "\\", "';", "\";", "${", "\n"].map(|start| format!("{start}{attack}"));
    let directives =
        directives(attacks.iter().enumerate().map(|(n, value)| (format!("x{n}"), value.clone())));
    let stolen = ask_php([(directives, "var_dump(get_cfg_var('user_agent'));".to_owned())]);
    assert_eq!(stolen, ["bool(false)\n"]);
}

/// A directive's name is PHP's to read, or refused: a word such as `none` would end the whole file.
#[test]
fn no_name_breaks_the_file() {
    const NAMES: [&str; 24] = [
        "none", "None", "null", "yes", "on", "true", "TRUE", "no", "off", "false", "on.x", "no_x", "null.x",
        "x.yes", "nonesuch", "0", "1.5", "007", ".", "..", "a..b", "a-b", "-a", "E_ALL",
    ];
    let accepted = NAMES.map(|name| (name, read_directives(name))).into_iter();
    let (names, questions): (Vec<_>, Vec<_>) = accepted
        .filter_map(|(name, directives)| {
            let code = format!("echo get_cfg_var('{name}'), ' ', get_cfg_var('zzz');");
            Some((name, (directives?, code)))
        })
        .unzip();
    assert_eq!(names.len(), NAMES.len() - 10, "the ten spellings of PHP's words are refused, nothing else");
    for (name, answer) in names.iter().zip(ask_php(questions)) {
        assert_eq!(answer, "it's last", "{name}");
    }
}

/// The site's directives with one of this name, and one behind it; `None` if the name is refused.
fn read_directives(name: &str) -> Option<Directives> {
    let variable = format!("CAC_INI_{name}");
    let environment = [("user", "alice"), ("uid", "61045"), (&variable, "it's")].into_iter().collect();
    let settings = settings::read(&environment, None, StartedAs { uid: 0, gid: 0 }).1.ok()?;
    let read = settings.options.directives.into_iter();
    Some(directives(read.chain([("zzz".to_owned(), "last".to_owned())])))
}
