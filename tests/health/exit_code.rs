//! 0 or 1 whatever happens, within the time that was given.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitStatus, Stdio};

use crate::support::{Site, made};
use crate::watch::{expect_check, said, strace, with_files_of_this_machine};

fn binary() -> Command {
    Command::new(made("CAC_TEST_BINARY"))
}

fn in_shell(script: &str) -> ExitStatus {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("BIN", made("CAC_TEST_BINARY")).stderr(Stdio::null());
    command.stdout(Stdio::null()).status().unwrap()
}

#[test]
fn a_wrong_command_line_is_1() {
    for arguments in [
        &["--bogus"][..],
        &["extra"],
        &["--timeout", "0"],
        &["--timeout", "forever"],
        &["--timeout"],
        &["--format", "xml"],
        &["--deep=yes"],
        &["--connect", "--connect"],
        &["--", "x"],
        &["-\u{e9}"],
    ] {
        let output = binary().arg("healthcheck").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?} is refused without a word");
    }
    let no_text = std::os::unix::ffi::OsStrExt::from_bytes(&b"\xff\xfe"[..]);
    let output = binary().arg("healthcheck").arg::<&std::ffi::OsStr>(no_text).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(binary().args(["healthcheck", "--help"]).output().unwrap().status.code(), Some(0));
}

#[test]
fn whatever_stdout_is() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    for (redirection, code) in [
        (">&-", 0),
        (">&- 2>&-", 0),
        ("<&- >&- 2>&-", 0),
        (">/dev/full", 0),
        ("| true", 0),
        (">&- 2>&- --bogus", 1),
        (">/dev/full 2>&1 --bogus", 1),
    ] {
        let script = format!("cac-lsphp healthcheck {redirection}; echo $?");
        assert_eq!(site.exec(["sh", "-c", &script]).trim(), code.to_string(), "{redirection}");
    }
}

#[test]
fn without_proc() {
    let status = in_shell("unshare -m sh -c 'mount -t tmpfs none /proc && exec \"$BIN\" healthcheck'");
    assert_eq!(status.code(), Some(1));
    let site = Site::new().options(["--no-healthcheck"]).start();
    let pid = site.inspect("{{.State.Pid}}");
    let hidden =
        Command::new("nsenter").args(["-t", &pid, "-m", "mount", "-t", "tmpfs", "none", "/proc"]).status();
    assert!(hidden.unwrap().success());
    let output = Command::new("nsenter")
        .args(["-t", &pid, "-m", "-n", "-p", "/usr/local/bin/cac-lsphp", "healthcheck"])
        .output()
        .unwrap();
    let (line, code) = said(&output);
    assert!(line.starts_with("unhealthy: unreadable: /proc/self/ns/pid: ") && code == Some(1), "{line}");
}

/// Lets each call that a check makes fail, each time it is made, and prints one line for each case: the
/// call, the error, which time it was, the exit code, and what the check said.
const SWEEP: &str = r#"
for call in openat read readlink statx socket sendto recvfrom setitimer rt_sigprocmask connect \
    setsockopt poll write; do
    strace -qq -e trace=$call -o /run/trace "$BIN" healthcheck --deep >/run/said
    times=$(grep -c "^$call(" /run/trace)
    for error in $ERRORS; do
        for time in $(seq $times); do
            strace -qq -o /run/trace -e trace=$call -e inject=$call:error=$error:when=$time \
                "$BIN" healthcheck --deep --timeout 1s >/run/said 2>/run/complaint
            code=$?
            grep -q INJECTED /run/trace && echo "$call $error $time $code $(tr '\n' '|' </run/said)"
        done
    done
done"#;

#[test]
fn whichever_system_call_fails() {
    let run = tempfile::tempdir().unwrap();
    let volume = format!("{}:/run", run.path().display());
    let site = Site::new().options(["--no-healthcheck", "-v", &volume]).start();
    let output =
        with_files_of_this_machine(&site, run.path(), SWEEP).env("ERRORS", "ENOMEM EACCES").output().unwrap();
    let cases = crate::support::text(output);
    assert!(cases.lines().count() > 55, "too few cases: {cases}");
    for case in cases.lines() {
        let fields: Vec<_> = case.splitn(5, ' ').collect();
        let [call, error, _, code, said] = fields[..] else { panic!("{case}") };
        if call == "poll" && error != "ENOMEM" {
            continue; // Rust's own start makes this call and aborts, before there is a check
        }
        assert!(["0", "1"].contains(&code), "{case}");
        let verdict = if code == "0" { "healthy: " } else { "unhealthy: " };
        assert!(said.is_empty() || said.starts_with(verdict), "{case}");
        assert!(said.matches('|').count() <= 1, "more than one line: {case}");
    }
}

#[test]
fn a_fifo_in_place_of_the_record_is_not_waited_for() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    site.exec(["sh", "-c", "rm /run/cac-lsphp/run.json && mkfifo /run/cac-lsphp/run.json"]);
    expect_check(&site, [], "unhealthy: unreadable: /run/cac-lsphp/run.json: ", 1);
}

/// Nothing that a test can put there hangs a check, so the alarm is sent to it: as it asks the kernel for
/// listeners.
#[test]
fn the_alarm_ends_a_check_wherever_it_is() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    for format in ["text", "json"] {
        let arguments = format!("--format {format}");
        let (_, output) = strace(&site, 0, ["-e", "inject=socket:signal=SIGALRM"], &arguments);
        let (line, code) = said(&output);
        assert!(line.contains("late: the check took longer than --timeout") && code == Some(1), "{line}");
    }
}

/// So it is the kernel that ends a check, at the time that was given, whatever the check is doing then.
#[test]
fn the_alarm_is_set_once_for_the_time_given_before_anything_is_read() {
    let site = Site::new().options(["--no-healthcheck"]).start();
    for arguments in ["--timeout 61500ms", "--timeout 61500ms --deep"] {
        let (trace, output) = strace(&site, 0, [], arguments);
        assert_eq!(said(&output).1, Some(0), "{output:?}");
        let calls: Vec<&str> = trace.lines().collect();
        let alarms: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].contains("setitimer(")).collect();
        let [alarm] = alarms[..] else { panic!("{arguments}: alarms at {alarms:?} of\n{trace}") };
        assert!(calls[alarm].contains("it_value={tv_sec=61, tv_usec=500000}"), "{}", calls[alarm]);
        let earlier = calls[..alarm].iter().find(|call| call.contains("/run/cac-lsphp"));
        assert_eq!(earlier, None, "{arguments}");
    }
}

#[test]
fn a_reader_that_does_not_read_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let mut filler = fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    while std::io::Write::write(&mut filler, &[0; 4096]).is_ok() {}
    let stdout: OwnedFd = File::options().write(true).open(&path).unwrap().into();
    let status = binary().args(["healthcheck", "--timeout", "300ms"]).stdout(stdout).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
