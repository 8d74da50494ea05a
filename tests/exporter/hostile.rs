//! What a site can write gains it nothing: it is not shown as another one, and the others are shown on time.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use super::*;

const RECORD: &str = "/run/cac-lsphp/run.json";

fn as_site(site: &Running, script: &str) {
    text(docker(["exec", "--user", &support::UID.to_string(), &site.name, "bash", "-ec", script]));
}

/// Puts `script`'s doing in the place of the record; then says why it is refused, and puts it back.
#[track_caller]
fn refusal_of(site: &Running, script: &str) -> Vec<String> {
    as_site(site, &format!("cd /run/cac-lsphp; cp run.json kept; rm run.json; {script}"));
    let look = list();
    let container = container(site);
    assert_eq!(seen(&look, &container).len(), 0, "{script}: {look:#}");
    as_site(site, "cd /run/cac-lsphp; rm -rf run.json; mv kept run.json");
    assert_eq!(one(&list(), &container)["status"]["up"], true, "{script}");
    refused(&look, &container)
}

#[test]
fn a_record_that_is_not_what_it_should_be_is_refused_and_reported() {
    let victim = site("victim", 62900).start();
    let site = without_root("mallory", support::UID).start();
    assert_eq!(one(&list(), &container(&site))["recorded_by"], "site");
    for (script, reason) in [
        ("head -c 100M /dev/zero >run.json", "unreadable"),
        ("truncate -s 100G run.json", "unreadable"),
        ("mkfifo run.json", "unreadable"),
        ("mkdir run.json", "unreadable"),
        ("ln -s kept run.json", "unreadable"),
        ("ln -s /proc/1/environ run.json", "unreadable"),
        ("ln -s /../../../../etc/shadow run.json", "unreadable"),
        ("printf '[%.0s' $(seq 100000) >run.json", "unreadable"),
        ("head -c 1000 kept >run.json", "unreadable"),
        ("tr '[:print:]' '\\033' <kept >run.json", "unreadable"),
        (r#"sed 's/"pid":1,/"pid":2,/' kept >run.json"#, "no such process"),
        (r#"sed 's/"start_ticks":/"start_ticks":1/' kept >run.json"#, "no such process"),
        ("sed 's/61045/62900/g; s/mallory/victim/g' kept >run.json", "other uid"),
        (
            r#"cp /bin/sleep /tmp/cac-lsphp; /tmp/cac-lsphp 900 >/dev/null 2>&1 & sleep 1; start=$(cut -d' ' -f22 /proc/$!/stat)
            sed "s/\"pid\":1,/\"pid\":$!,/; s/\"start_ticks\":[0-9]*/\"start_ticks\":$start/; s/61045/62900/g; s/mallory/victim/g" kept >run.json"#,
            "other uid",
        ),
        ("sed 's/mallory/victim/g' kept >run.json", "name taken"),
    ] {
        assert_eq!(refusal_of(&site, script), [reason], "{script}");
    }
    let look = list();
    let victims: Vec<_> =
        look["sites"].as_array().unwrap().iter().filter(|seen| seen["status"]["user"] == "victim").collect();
    assert_eq!(victims.len(), 1, "{look:#}");
    assert_eq!(victims[0]["container"], container(&victim));
}

#[test]
fn what_is_refused_is_one_printable_line() {
    let site = without_root("mallory", support::UID).start();
    let script = r#"cd /run/cac-lsphp; rm run.json; long=$(head -c 250000 /dev/zero | tr '\0' A)
        printf '{"pid": "\\u001b]0;owned\\u0007\\n%s"}' "$long" >run.json"#;
    as_site(&site, script);
    let output = run(&mut exporter(["list"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let of_it: Vec<_> = stderr.lines().filter(|line| line.contains(&container(&site))).collect();
    let [line] = of_it[..] else { panic!("one line in {stderr}") };
    assert!(line.contains("owned") && line.len() < 500, "{line}");
    assert!(!stderr.contains(|c: char| c.is_control() && c != '\n'), "{stderr:?}");
    assert!(String::from_utf8(output.stdout).unwrap().lines().all(|line| line.chars().count() < 200));
}

#[test]
fn titles_and_command_lines_are_escaped_and_bounded() {
    let site = site("titles", support::UID).start();
    let script = r#"cp /bin/sleep /tmp/lsphp
        (exec -a $'lsphp:/x\n\e]0;owned\a\r\xc2\x9b2J\xff' /tmp/lsphp 1000 &)
        (exec -a "lsphp:$(printf 'y%.0s' $(seq 100000))" /tmp/lsphp 1000 &)"#;
    site.exec(["bash", "-c", script]);
    let seen = wait_until(|| {
        let look = list();
        let seen = one(&look, &container(&site)).clone();
        if seen["status"]["pool"]["busy"] == 2 { Ok(seen) } else { Err(seen.to_string()) }
    });
    let scripts: Vec<_> = seen["status"]["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["script"].as_str().unwrap())
        .collect();
    assert!(
        scripts.iter().all(|script| script.len() <= 256 && !script.contains(char::is_control)),
        "{scripts:?}"
    );
}

/// Which a site may lay over its record where it can make a user namespace: what the kernel makes up is not read, as
/// /proc/kmsg would be used up by it.
#[test]
fn a_file_of_the_kernels_is_not_read() {
    let lay = "mount -t tmpfs tmpfs /run; mkdir /run/cac-lsphp; cd /run/cac-lsphp; echo >run.json
        mount --bind /proc/version run.json; exec sleep 600";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", lay]).stdin(Stdio::null()).process_group(0);
    let planted = Background(command.spawn().unwrap());
    let name = format!("pid-{}", planted.0.id());
    wait_until(|| {
        let look = list();
        let refused = look["refused"].as_array().unwrap().iter().find(|refused| refused["container"] == name);
        let message = refused.map(|refused| refused["message"].to_string()).unwrap_or_default();
        let is_unread = message.contains("unreadable: ") && message.contains(" it has 0 bytes;");
        if is_unread { Ok(()) } else { Err(look.to_string()) }
    });
}

/// What it costs to look does not grow with what a site says that its limit is.
#[test]
fn more_children_than_any_site_has_are_not_looked_through() {
    let site = without_root("mallory", support::UID).start();
    let script = r#"cd /run/cac-lsphp; sed 's/"workers":{"value":7,/"workers":{"value":4000000000,/' run.json >next
        grep -q 4000000000 next; mv next run.json
        cp /bin/sleep /tmp/lsphp; for n in $(seq 1100); do (/tmp/lsphp 1000 &); done"#;
    as_site(&site, script);
    let look = list();
    let status = &one(&look, &container(&site))["status"];
    assert_eq!(status["pool"]["limit"], 4_000_000_000_u32, "{status:#}");
    let rows = status["workers"].as_array().unwrap().len();
    assert_eq!((&status["pool"]["workers"], rows), (&Value::Null, 0));
}

/// Ended with its whole group.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// Mount namespaces with the record of a site that is not theirs come and go, a hundred a second as far as the machine
/// can, for 20 seconds at most.
fn come_and_go(record: &std::path::Path) -> Background {
    let one = "mount -t tmpfs tmpfs /run && mkdir /run/cac-lsphp && cp $RECORD /run/cac-lsphp/run.json && exec sleep 0.01";
    let all = format!("for n in $(seq 2000); do unshare --mount sh -c '{one}' & sleep 0.01; done; wait");
    let mut command = Command::new("timeout");
    command.args(["20", "bash", "-c", &all]).env("RECORD", record).stdin(Stdio::null()).process_group(0);
    Background(command.spawn().unwrap())
}

#[test]
fn what_comes_and_goes_does_no_harm() {
    let site = site("constant", support::UID).start();
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("run.json");
    fs::write(&record, site.exec(["cat", RECORD])).unwrap();
    let background = come_and_go(&record);
    let mut met = 0;
    for _ in 0..20 {
        let look = list();
        assert_eq!(one(&look, &container(&site))["status"]["up"], true);
        let constants =
            look["sites"].as_array().unwrap().iter().filter(|seen| seen["status"]["user"] == "constant");
        assert!(
            constants.clone().all(|seen| !seen["container"].as_str().unwrap().starts_with("pid-")),
            "{look:#}"
        );
        let strays = look["refused"].as_array().unwrap().iter();
        met += strays.filter(|stray| stray["container"].as_str().unwrap().starts_with("pid-")).count();
    }
    assert!(met > 0, "none of them was met");
    drop(background);
}

/// Every path that is opened is the kernel's, or below a container's root and resolved in there.
#[test]
fn nothing_is_opened_outside_of_a_root_and_nobody_is_disturbed() {
    let site = without_root("mallory", support::UID).start();
    ask(&site, "sleep.php", 1);
    let trace = tempfile::NamedTempFile::new().unwrap();
    let calls = "openat,open,openat2,execve,ptrace,kill,tkill,tgkill,connect,setns,socket,unshare,pidfd_getfd,setsockopt,shutdown,accept4,process_vm_readv";
    let output = run(Command::new("strace")
        .args(["-f", "-y", "-s", "256", "-e", &format!("trace={calls}"), "-o"])
        .arg(trace.path())
        .arg(made("CAC_TEST_EXPORTER"))
        .arg("list"));
    assert!(output.status.success(), "{output:?}");
    let trace = fs::read_to_string(trace.path()).unwrap();
    let lines: Vec<_> = trace.lines().filter(|line| line.contains('(')).collect();
    let opened = |line: &&&str| line.contains("open");
    assert!(
        lines.iter().any(|line| line.contains("run/cac-lsphp/run.json") && line.contains("RESOLVE_IN_ROOT")),
        "{trace}"
    );
    for line in lines.iter().filter(opened) {
        let (call, path) = (line.contains("openat2("), line.split('"').nth(1).unwrap_or_default());
        let is_contained = call
            && line.contains("RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS|RESOLVE_IN_ROOT")
            && line.contains("O_PATH");
        let is_root = path.starts_with("/proc/") && path.ends_with("/root") && line.contains("O_PATH");
        let is_kernels = path == "/proc" || (path.starts_with("/proc/") && !path.contains("/root"));
        // The procfs crate keeps a process's directory open.
        let is_below = line.contains("openat(")
            && line.contains("</proc/")
            && !path.starts_with('/')
            && !path.contains("root");
        let is_own =
            path == "/sys/kernel/mm/transparent_hugepage/enabled" || path.starts_with("/sys/fs/cgroup/");
        assert!(is_contained || is_root || is_kernels || is_below || is_own, "{line}");
        assert!(
            !line.contains("O_WRONLY") && !line.contains("O_RDWR") && !line.contains("O_CREAT"),
            "{line}"
        );
    }
    // Of another process's descriptors only sockets are taken, and nothing is done to them.
    let taken: Vec<_> = lines.iter().filter(|line| line.contains("pidfd_getfd(")).collect();
    assert!(!taken.is_empty(), "{trace}");
    for line in &taken {
        assert!(line.contains("<socket:[") || line.contains("= -1"), "{line}");
    }
    // Into a network and back, and nothing but a socket in between: for a site without a listener.
    let entered: Vec<_> =
        lines.iter().filter(|line| line.contains("setns(") || line.contains("socket(")).collect();
    for [into, socket, back] in entered.as_chunks().0 {
        assert!(into.contains("setns(") && into.contains("CLONE_NEWNET"), "{into}");
        assert!(socket.contains("socket(AF_NETLINK"), "{socket}");
        assert!(back.contains("setns(") && back.contains("CLONE_NEWNET"), "{back}");
    }
    assert_eq!(entered.len() % 3, 0, "{entered:?}");
    let known = |line: &&&str| ["setns(", "socket(", "pidfd_getfd("].iter().any(|call| line.contains(call));
    // Signal 0 is none: so it asks whether a process that /proc does not show has ended.
    let is_question = |line: &&&str| line.contains(" kill(") && line.contains(", 0)");
    let others: Vec<_> =
        lines.iter().filter(|line| !opened(line) && !known(line) && !is_question(line)).collect();
    assert_eq!(others.iter().filter(|line| !line.contains("execve(")).count(), 0, "{others:?}");
    assert_eq!(others.len(), 1, "one execve: {others:?}");
}
