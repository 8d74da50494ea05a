//! An argument that is not a command of ours: what people expect of an entrypoint.

use std::process::{Command, Output};

use crate::support::{Site, UID, docker, made, text};
use crate::{lines, run};

/// `docker run --rm OPTIONS IMAGE ARGUMENTS`, with nothing set but what is said here.
fn run_image(options: &[&str], arguments: &[&str]) -> Output {
    let image = made("CAC_TEST_IMAGE");
    docker([&["run", "--rm", "--network", "none"], options, &[&image], arguments].concat())
}

const SITE: [&str; 6] = ["-e", "user=alice", "-e", "uid=61045", "--tmpfs", "/home/alice:uid=61045"];

#[test]
fn without_a_site_it_runs_as_it_came() {
    let version = text(run_image(&[], &["php", "-v"]));
    assert!(version.starts_with(&format!("PHP {}.", made("CAC_TEST_PHP"))), "{version}");
    assert_eq!(text(run_image(&[], &["id", "-u"])), "0\n");
    assert_eq!(text(run_image(&["--user", "7:8"], &["id", "-u"])), "7\n");
}

#[test]
fn with_a_site_it_runs_as_the_site_user_with_the_sites_environment() {
    let told = text(run_image(
        &SITE,
        &["sh", "-c", "id -u; id -g; id -G; echo $HOME $USER; grep -E 'CapBnd|NoNewPrivs' /proc/self/status"],
    ));
    let uid = UID.to_string();
    let expected = [&uid, &uid, &uid, "/home/alice alice", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
        .map(str::to_owned);
    assert_eq!(told.lines().map(str::to_owned).collect::<Vec<_>>(), expected);
}

/// A panel that loses half of what it passes must not get a root shell for it.
#[test]
fn whatever_speaks_of_a_site_never_runs_as_root() {
    for options in [
        &["-e", "user=", "-e", "uid="][..],
        &["-e", "user= "],
        &["-e", "domain=example.com", "-e", "gid=61045"],
        &["-e", "domain="],
        &["-e", "gid=61045"],
        &["-e", "uid=61045"],
    ] {
        let refused = run_image(options, &["id", "-u"]);
        assert_eq!(refused.status.code(), Some(78), "{options:?}: {}", lines(&refused));
        assert!(refused.stdout.is_empty(), "{options:?}: {}", lines(&refused));
    }
    let with_blanks = [&SITE[..], &["-e", "gid= ", "-e", "domain=", "-e", "CAC_SITE_FILE= "]].concat();
    assert_eq!(text(run_image(&with_blanks, &["id", "-u"])), format!("{UID}\n"));
}

/// Another container of the same uid, or the site's own processes, can have used up the limit; execve(2) says
/// EAGAIN then. The site is left with one process: the launcher's own counts when its uid changes.
#[test]
fn a_limit_of_processes_is_named() {
    let site = [&SITE[..], &["--ulimit", "nproc=1:1"]].concat();
    let other = Site::new().start();
    // The kernel compares what the uid had before, so the other has more than the one.
    text(docker(["exec", "-d", "-u", "61045", &other.name, "sleep", "60"]));
    let output = run_image(&site, &["id", "-u"]);
    drop(other);
    assert_eq!(output.status.code(), Some(71), "{}", lines(&output));
    assert!(lines(&output).contains("RLIMIT_NPROC"), "{}", lines(&output));
}

#[test]
fn a_site_without_its_home_is_enough_for_a_command() {
    let output = run_image(&SITE[..4], &["sh", "-c", "pwd; id -u"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("WARN entering /home/alice"),
        "{}",
        lines(&output)
    );
    assert_eq!(text(output), format!("/\n{UID}\n"));
}

#[test]
fn its_exit_code_is_the_commands() {
    for options in [&[][..], &SITE] {
        assert_eq!(run_image(options, &["sh", "-c", "exit 42"]).status.code(), Some(42));
        let unknown = run_image(options, &["no-such-command"]);
        assert_eq!(unknown.status.code(), Some(127), "{}", lines(&unknown));
        assert_eq!(lines(&unknown).lines().count(), 1, "{}", lines(&unknown));
        let directory = run_image(options, &["/etc"]);
        assert_eq!(directory.status.code(), Some(126), "{}", lines(&directory));
    }
}

#[test]
fn a_shell_on_a_terminal_is_interactive() {
    let image = made("CAC_TEST_IMAGE");
    let docker = made("CAC_TEST_DOCKER");
    for (options, prompt) in [("", "# "), ("-e user=alice -e uid=61045 --tmpfs /home/alice:uid=61045", "$ ")]
    {
        // script(1) is the terminal; bash says that it is interactive by the i in $-.
        let session = format!("{docker} run --rm -it --network none {options} {image} bash --norc");
        let shell = "printf 'tty; echo flags=$-; exit 7\\n' | script -qec \"$1\" /dev/null";
        let output = run(Command::new("sh").args(["-c", shell, "sh", &session]));
        let told = lines(&output);
        assert_eq!(output.status.code(), Some(7), "{told}");
        assert!(told.contains("/dev/pts/0") || told.contains("/dev/console"), "{told}");
        let flags = told.lines().find_map(|line| line.trim().strip_prefix("flags="));
        assert!(flags.is_some_and(|flags| flags.contains('i')), "{told}");
        assert!(told.contains(prompt), "{told}");
    }
}

#[test]
fn exec_runs_php_with_the_ini_of_the_site() {
    let site = Site::new().env("CAC_INI_memory_limit", "200M").start();
    let code = "echo ini_get('memory_limit'), ' ', posix_getuid(), ' ', getcwd();";
    let told = site.exec(["cac-lsphp", "exec", "--", "php", "-r", code]);
    assert_eq!(told, format!("200M {UID} /home/alice"));
}
