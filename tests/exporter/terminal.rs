//! `top`, on a terminal of its own.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::mpsc::channel;

use super::*;

/// What begins each redrawing.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Runs `command` on a terminal, presses Ctrl-C when `is_enough` of what that shows, and gives all of it.
#[track_caller]
fn on_a_terminal(command: &str, is_enough: impl Fn(&str) -> bool) -> String {
    // Its own group, so that all of it is gone when the test is over. Who starts the tests in the background has
    // them ignore Ctrl-C.
    let mut script = Command::new("env")
        .args([
            "--default-signal=INT",
            "script",
            "--quiet",
            "--flush",
            "--return",
            "--command",
            command,
            "/dev/null",
        ])
        .env("EXPORTER", made("CAC_TEST_EXPORTER"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (said, hear) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            let _ = said.send(bytes[..length].to_vec());
        }
    });
    let mut shown = Vec::new();
    wait_until(|| {
        shown.extend(hear.try_iter().flatten());
        let text = String::from_utf8_lossy(&shown);
        if is_enough(&text) { Ok(()) } else { Err(text.into_owned()) }
    });
    keys.write_all(b"\x03").unwrap();
    let ended = support::in_time(|| match script.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err(format!("it goes on: {}", String::from_utf8_lossy(&shown))),
    });
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", script.id())]).output();
    let _ = script.wait();
    let status = ended.unwrap_or_else(|state| panic!("{state}"));
    assert!(status.success(), "{status}");
    shown.extend(hear.iter().flatten());
    String::from_utf8(shown).unwrap()
}

#[test]
fn top_redraws_what_the_terminal_has_room_for_until_it_is_interrupted() {
    let sites = [site("top1", 62401).start(), site("top2", 62402).start(), site("top3", 62403).start()];
    ask(&sites[1], "sleep.php", 2);
    // The terminal is asked for its settings before and after; four rows have room for two sites below the head.
    let settings = r#"trap : INT; stty rows 4 cols 30; before=$(stty -g)"#;
    let command = format!(
        r#"{settings}; "$EXPORTER" top; echo "ended with $?"; [ "$before" = "$(stty -g)" ] && echo as before"#
    );
    let is_enough = |shown: &str| shown.matches(CLEAR).count() > 3 && shown.contains("top2");
    let shown = on_a_terminal(&command, is_enough);
    let (screens, after) = shown.rsplit_once("ended with 130").unwrap_or_else(|| panic!("{shown:?}"));
    assert!(after.contains("as before"), "{after:?}");
    let screens: Vec<_> = screens.split(CLEAR).skip(1).collect();
    for screen in &screens[..screens.len() - 1] {
        let lines: Vec<_> = screen.lines().collect();
        assert!(lines.len() <= 3 && lines[0].starts_with("USER"), "{screen:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 30), "{screen:?}");
        assert!(!screen.contains('\x1b'), "{screen:?}");
    }
}

#[test]
fn top_ends_when_nobody_reads_it_any_more() {
    let mut top = exporter(["top"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 4];
    top.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"USER", "without a terminal nothing is cleared");
    let ended = support::in_time(|| top.try_wait().unwrap().ok_or_else(|| "it goes on".to_owned()));
    let _ = top.kill();
    let _ = top.wait();
    assert!(ended.unwrap().success());
}
