//! `examples/quadlet`: started by its first request, gone when it is idle, and no request lost between the two.
//! systemd is not pid 1 here, so the test holds the socket and starts the container as systemd would; podman is told
//! what its quadlet generator would tell it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::podman::Podman;
use crate::support::{Client, PATIENCE, as_front_end, wait_until};
use crate::{lines, repository, run};

const IDLE: Duration = Duration::from_secs(2);

/// Gives a child of ours its stdin as what systemd hands over.
const HAND_OVER: &str = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";

/// The lines `name=value` of a section.
fn section(file: &str, name: &str) -> Vec<(String, String)> {
    let path = repository("examples/quadlet").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What podman-systemd.unit(5) makes of the example, for a site whose home is `home`.
fn arguments(name: &str, home: &Path) -> Vec<String> {
    let mut options: Vec<String> = ["run", "--rm", "--name", name].map(str::to_owned).to_vec();
    let mut image = None;
    for (key, value) in section("alice.container", "Container") {
        let each = |option: &str| {
            let values = value.split(' ').map(|value| format!("{option}={value}"));
            values.collect::<Vec<_>>()
        };
        match key.as_str() {
            "Image" => image = Some(value),
            "ContainerName" => {}
            "Network" => options.extend(each("--network")),
            "Environment" => options.extend(each("--env").iter().map(|option| {
                if option.contains("CAC_IDLE_EXIT") {
                    format!("--env=CAC_IDLE_EXIT={}", IDLE.as_secs())
                } else {
                    option.clone()
                }
            })),
            "Volume" => options.push(format!("--volume={}:/home/alice", home.display())),
            "ReadOnly" => options.push("--read-only".to_owned()),
            "Tmpfs" => options.extend(each("--tmpfs")),
            "DropCapability" => options.extend(each("--cap-drop")),
            "AddCapability" => options.extend(each("--cap-add")),
            "NoNewPrivileges" => options.push("--security-opt=no-new-privileges".to_owned()),
            "PodmanArgs" => options.push(value),
            other => panic!("what does podman make of {other}?"),
        }
    }
    options.extend(image);
    options
}

/// What systemd is: it holds the socket, and starts the site when somebody connects.
struct Holder {
    listener: OwnedFd,
    socket: PathBuf,
    /// Starts that have ended.
    ended: AtomicUsize,
    over: AtomicBool,
}

impl Holder {
    fn hold(&self, podman: &Podman, name: &str, home: &Path) {
        while !self.over.load(Ordering::Relaxed) {
            let mut waiting = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(100u8)).unwrap() == 0 {
                continue;
            }
            let output = self.start(podman, &arguments(name, home)).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "the end of an idle site: {}", lines(&output));
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn start(&self, podman: &Podman, arguments: &[String]) -> Child {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let podman = podman.command(&arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", HAND_OVER, "sh"]).arg(podman.get_program()).args(podman.get_args());
        let variables = podman.get_envs().filter_map(|(name, value)| Some((name, value?)));
        shell.envs(variables).stdin(self.listener.try_clone().unwrap());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn is_answered(&self, round: usize) {
        let mut client = Client::new(self.socket.display().to_string().parse().unwrap());
        let answer = client.fetch(&as_front_end("index.php"), None, PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"served"[..]), "round {round}");
    }
}

/// Lets the holder end, also where a request failed or the site goes on.
struct Over<'a> {
    over: &'a AtomicBool,
    podman: &'a Podman,
    name: &'a str,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.podman.run(&["rm", "-f", self.name]);
    }
}

/// Each round a request to a site that is gone, or to one that is about to go.
fn rounds(podman: &Podman, number: usize, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir_all(home.join("public_html")).unwrap();
    fs::write(home.join("public_html/index.php"), "<?php echo 'served';").unwrap();
    let socket = folder.path().join("alice.sock");
    let listener = UnixListener::bind(&socket).unwrap().into();
    let holder = Holder { listener, socket, ended: AtomicUsize::new(0), over: AtomicBool::new(false) };
    let name = &format!("alice-{number}");
    thread::scope(|scope| {
        let holding = scope.spawn(|| holder.hold(podman, name, &home));
        let _over = Over { over: &holder.over, podman, name };
        for round in 0..rounds {
            let before = holder.ended.load(Ordering::Relaxed);
            holder.is_answered(round);
            if round % 2 == 0 {
                // lsphp counts whole seconds, so its end is somewhere in this.
                let step = Duration::from_millis(97) * u32::try_from((round * 7 + number) % 20).unwrap();
                thread::sleep(IDLE + step);
            } else {
                wait_until(|| match holder.ended.load(Ordering::Relaxed) {
                    ended if ended > before => Ok(()),
                    _ => Err("an idle site has not ended".to_owned()),
                });
            }
        }
        holder.is_answered(rounds);
        holder.over.store(true, Ordering::Relaxed);
        wait_until(|| {
            if holding.is_finished() { Ok(()) } else { Err("the last site has not ended".to_owned()) }
        });
    });
    assert!(holder.ended.load(Ordering::Relaxed) > rounds / 2, "starts");
}

/// Several sites at once, as each round waits for most of its time.
fn sites(sites: usize, of_each: usize) {
    let podman = Podman::with_image();
    let podman = &podman;
    thread::scope(|scope| {
        for number in 0..sites {
            scope.spawn(move || rounds(podman, number, of_each));
        }
    });
}

#[test]
fn a_request_starts_the_site_and_none_is_lost_when_it_ends() {
    sites(2, 5);
}

#[test]
#[ignore = "100 rounds take minutes; run by hand: scripts/test --test deploy quadlet -- --ignored"]
fn none_of_100_is_lost() {
    sites(4, 25);
}

/// What the two files say to each other, and to what a start needs.
#[test]
fn the_units_name_each_other_and_systemd_takes_the_socket() {
    let value = |file, part, name: &str| {
        let found = section(file, part).into_iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name} in {file}")).1
    };
    assert_eq!(value("alice.container", "Unit", "Requires"), "alice.socket");
    assert_eq!(value("alice.socket", "Socket", "TriggerLimitIntervalSec"), "0");
    assert_eq!(value("alice.container", "Unit", "StartLimitIntervalSec"), "0");
    let socket = repository("examples/quadlet/alice.socket");
    // A service beside it, as podman's generator would make one.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(socket, folder.path().join("alice.socket")).unwrap();
    fs::write(folder.path().join("alice.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
    let verify = run(Command::new("systemd-analyze").arg("verify").arg(folder.path().join("alice.socket")));
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && !said.contains("alice.socket"), "{said}");
}
