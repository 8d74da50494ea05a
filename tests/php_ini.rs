//! The ini text that PHP reads: whatever value goes in, PHP itself gives it back. Needs php8.2-cli.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use cac_lsphp::plan::php_ini::{IniPlan, quoted};
use cac_lsphp::settings::site_file::SiteFile;
use cac_lsphp::settings::{self, StartedAs};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

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

/// What `code` prints, run by PHP with `folder` as its last ini directory.
fn php(folder: &Path, code: &str) -> String {
    let output = Command::new("php")
        .env("PHP_INI_SCAN_DIR", format!(":{}", folder.display()))
        .args(["-d", "display_errors=stderr", "-r", code])
        .output()
        .expect("php8.2-cli is needed: run scripts/test");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn folder_with(directives: impl IntoIterator<Item = (String, String)>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directives: BTreeMap<String, String> = directives.into_iter().collect();
    let plan = IniPlan { path: String::new(), directives };
    fs::write(folder.path().join("90-cac-lsphp.ini"), plan.render()).unwrap();
    folder
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Six thousand values, read as PHP reads its configuration and as parse_ini_file does.
#[test]
fn every_value_comes_back() {
    let values = values(6000);
    let folder = folder_with(values.iter().enumerate().map(|(n, value)| (format!("x{n:05}"), value.clone())));
    let configuration =
        "foreach (range(0, COUNT - 1) as $n) echo bin2hex(get_cfg_var(sprintf('x%05d', $n))), \"\\n\";";
    let file = "foreach (parse_ini_file('FILE') as $value) echo bin2hex($value), \"\\n\";";
    let file = file.replace("FILE", &format!("{}/90-cac-lsphp.ini", folder.path().display()));
    for code in [configuration.replace("COUNT", &values.len().to_string()), file] {
        let output = php(folder.path(), &code);
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
    for chunk in TRAPS.chunks(FREE.len()) {
        let pairs = || FREE.into_iter().zip(chunk.iter().copied());
        let folder = folder_with(pairs().map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (name, value) in pairs() {
            let read = php(folder.path(), &format!("echo bin2hex(ini_get('{name}'));"));
            assert_eq!(read, hexadecimal(value), "{name}={value:?}");
        }
    }
}

/// A value cannot end its line: nothing that it says becomes a directive.
#[test]
fn no_value_sets_another_directive() {
    let attack = "x'\"\nuser_agent = stolen\n'\"\nuser_agent = 'stolen'\n[PATH=/]\nuser_agent=\"stolen\"\n";
    let attacks = ["", "'", "\"", "\\", "';", "\";", "${", "\n"].map(|start| format!("{start}{attack}"));
    let folder = folder_with(attacks.iter().enumerate().map(|(n, value)| (format!("x{n}"), value.clone())));
    assert_eq!(php(folder.path(), "var_dump(get_cfg_var('user_agent'));"), "bool(false)\n");
}

/// A directive's name is PHP's to read, or refused: a word such as `none` would end the whole file.
#[test]
fn no_name_breaks_the_file() {
    const NAMES: [&str; 24] = [
        "none", "None", "null", "yes", "on", "true", "TRUE", "no", "off", "false", "on.x", "no_x", "null.x",
        "x.yes", "nonesuch", "0", "1.5", "007", ".", "..", "a..b", "a-b", "-a", "E_ALL",
    ];
    let mut accepted = 0;
    for name in NAMES {
        let variable = format!("CAC_INI_{name}");
        let environment = [("user", "alice"), ("uid", "61045"), (&variable, "it's")].into_iter().collect();
        let root = StartedAs { uid: 0, gid: 0 };
        let Ok(settings) = settings::read(&environment, &SiteFile::default(), root) else { continue };
        accepted += 1;
        let mut directives: Vec<_> =
            settings.options.directives.into_iter().map(|(name, sourced)| (name, sourced.value)).collect();
        directives.push(("zzz".to_owned(), "last".to_owned()));
        let folder = folder_with(directives);
        let code = format!("echo get_cfg_var('{name}'), ' ', get_cfg_var('zzz');");
        assert_eq!(php(folder.path(), &code), "it's last", "{name}");
    }
    assert_eq!(accepted, NAMES.len() - 10, "the ten spellings of PHP's words are refused, nothing else");
}
