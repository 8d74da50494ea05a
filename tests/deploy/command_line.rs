//! Help, version, completions, the manual page, and colours only where a person sees them.

use std::process::Command;

use cac_lsphp::exit::Exit;
use cac_lsphp::settings::variable;

use crate::support::{made, text};
use crate::{binary, lines, run};

const COMMANDS: [&str; 11] = [
    "run",
    "plan",
    "healthcheck",
    "status",
    "doctor",
    "opcache",
    "request",
    "reload",
    "exec",
    "completions",
    "man",
];

#[test]
fn help_tells_every_command_variable_and_exit_code() {
    let help = text(run(&mut binary(["--help"])));
    for command in COMMANDS {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command}: {help}");
        assert!(run(&mut binary([command, "--help"])).status.success(), "{command}");
    }
    for row in variable::rows() {
        let line = format!("  {} [{}]", row.names.join(", "), row.accepts.default());
        assert!(help.lines().any(|known| known == line), "{line}");
    }
    for (exit, meaning) in Exit::MEANINGS {
        let line = format!("  {:<4}{meaning}", exit as u8);
        assert!(help.lines().any(|known| known == line), "{line}");
    }
    let summary = text(run(&mut binary(["-h"])));
    assert!(summary.lines().count() < 25, "-h is the short one: {summary}");
}

#[test]
fn version_names_the_commit() {
    let version = text(run(&mut binary(["--version"])));
    let (name, commit) = version.trim_end().split_once(" (").unwrap_or_else(|| panic!("{version}"));
    assert_eq!(name, concat!("cac-lsphp ", env!("CARGO_PKG_VERSION")));
    let commit = commit.strip_suffix(')').unwrap();
    assert!(commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{version}");
}

/// What bash would offer for the words so far.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$0\" completions bash)
        COMP_WORDS=(cac-lsphp \"$@\"); COMP_CWORD=$#
        function=$(complete -p cac-lsphp | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')
        $function cac-lsphp \"${@: -1}\" \"${COMP_WORDS[$(($# - 1))]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let offered = text(run(Command::new("bash").args(["-c", script, &made("CAC_TEST_BINARY")]).args(words)));
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(completed(&["pl"]), ["plan"]);
    assert_eq!(completed(&["plan", "--mem"]), ["--memory"]);
    assert_eq!(completed(&["plan", "--format", "j"]), ["json"]);
    assert_eq!(completed(&["healthcheck", "--de"]), ["--deep"]);
}

#[test]
fn every_shell_has_a_completion_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = text(run(&mut binary(["completions", shell])));
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let unknown = run(&mut binary(["completions", "csh"]));
    assert_eq!(unknown.status.code(), Some(64));
    assert!(lines(&unknown).contains("bash"), "{}", lines(&unknown));
}

#[test]
fn man_is_a_page_that_groff_takes_without_a_warning() {
    let script = "\"$0\" man | groff -man -Tutf8 -ww";
    let output = run(Command::new("bash").args(["-o", "pipefail", "-c", script, &made("CAC_TEST_BINARY")]));
    assert!(output.stderr.is_empty(), "{}", lines(&output));
    let page = text(output);
    for command in COMMANDS {
        assert!(page.contains(command), "{command}: {page}");
    }
    assert!(page.contains("PHP_LSAPI_CHILDREN") && page.contains("the environment or the plan is refused"));
}

/// What the command writes to a terminal.
fn on_a_terminal(environment: &str, command: &str) -> String {
    let session = format!("env -u NO_COLOR {environment} {} {command}", made("CAC_TEST_BINARY"));
    let mut script = Command::new("script");
    lines(&run(script.args(["-qec", &session, "/dev/null"]).env("TERM", "xterm")))
}

#[test]
fn colours_are_for_terminals_and_only_where_they_are_wanted() {
    const ESCAPE: char = '\u{1b}';
    // `run` without a user is refused, which is logged.
    for command in ["--help", "run"] {
        assert!(on_a_terminal("", command).contains(ESCAPE), "{command} on a terminal");
        assert!(!on_a_terminal("NO_COLOR=1", command).contains(ESCAPE), "{command} with NO_COLOR");
        let piped = lines(&run(&mut binary([command])));
        assert!(!piped.is_empty() && !piped.contains(ESCAPE), "{command} into a pipe: {piped}");
    }
}

/// What went wrong is told in fields too, so that nobody has to take the line apart.
#[test]
fn a_log_in_json_has_the_fields_of_each_fault() {
    let mut command = binary(["run"]);
    command.env("CAC_LOG_FORMAT", "json").env("user", "alice").env("uid", "0").env("CAC_SITE_FILE", "/");
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let told: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [file, uid] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (&file["level"], &file["operation"], &file["path"]),
        (&"ERROR".into(), &"reading".into(), &"/".into())
    );
    assert!(file["hint"].as_str().unwrap().contains("CAC_SITE_FILE") && file["variable"].is_null(), "{file}");
    assert_eq!((&uid["variable"], &uid["operation"]), (&"uid".into(), &"reading".into()));
    for fault in [file, uid] {
        let message = fault["message"].as_str().unwrap();
        assert!(message.contains(fault["cause"].as_str().unwrap()), "{fault}");
        assert!(!message.contains('\n'), "{fault}");
    }
}
