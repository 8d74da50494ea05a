//! A container that sleeps, in whose namespaces supervised sites run one after the other: quicker than a container
//! for each, and not as pid 1, so that the kernel does not do away with what a supervisor leaves behind.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PATIENCE, Running, Site, UID, as_front_end, in_time, status_field, wait_until};
use crate::trace::{self, Call};

const PROGRAM: &str = "/usr/local/bin/cac-lsphp";

/// Says which reload's ini the worker has.
const PAGE: &str = "<?php echo ini_get('precision');";

/// And which one's environment.
const ENVIRONMENT: &str = "<?php echo getenv('RELOAD');";

/// As `/proc/PID/syscall` has it: read(2) is number 0, and so is its descriptor.
const READS_STDIN: &str = "0 0x0 ";

pub struct Bed {
    container: Running,
    /// As this machine numbers them.
    own: Vec<Pid>,
    namespace: PathBuf,
    files: tempfile::TempDir,
}

/// A process in the container.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    name: String,
    uids: String,
}

impl Process {
    pub fn is_lsphp(&self) -> bool {
        self.name == "lsphp"
    }

    pub fn is_the_sites(&self) -> bool {
        self.uids == [UID.to_string().as_str(); 4].join(" ")
    }
}

impl Bed {
    pub fn new() -> Self {
        let site = Site::new().page("precision.php", PAGE).page("reload.php", ENVIRONMENT).options([
            "--no-healthcheck",
            "--entrypoint",
            "sh",
        ]);
        let container = site.arguments(["-c", "sleep 86400 & wait"]).launch();
        let init: i32 = container.inspect("{{.State.Pid}}").parse().unwrap();
        let sleep = only_child(Pid::from_raw(init));
        let namespace = fs::read_link(container.proc("ns/pid")).unwrap();
        let files = tempfile::tempdir().unwrap();
        Self { container, own: vec![Pid::from_raw(init), sleep], namespace, files }
    }

    /// A program in the container, as its root and with the site's environment.
    fn program(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.own[0].to_string(), "-m", "-u", "-i", "-n", "-p", "--"]).args(command);
        nsenter
            .env_clear()
            .envs([("user", "alice"), ("domain", "example.com"), ("CAC_MEMORY_MB", "1024")])
            .envs([("CAC_SUPERVISE", "1"), ("CAC_WARM_UP", "/precision.php")])
            .env("CAC_ALLOWED_CLIENTS", "0.0.0.0/0") // nothing to warn of
            .env("uid", UID.to_string())
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        nsenter
    }

    /// Starts a supervised site, when the last one has left, and has it make a worker.
    pub fn start(&self) -> Supervisor {
        wait_until(|| match self.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
        let log = self.files.path().join("log");
        let mut start = self.program(&[PROGRAM]);
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let nsenter = start.spawn().unwrap();
        let pid = child(pid_of(&nsenter)).unwrap_or_else(|state| panic!("{state}: {}", said(&log)));
        let supervisor = Supervisor { nsenter, pid, log };
        supervisor.wait_for_name("serving:7");
        assert!(self.page().is_ok(), "{}", supervisor.said());
        supervisor
    }

    /// What the page says, over a connection of its own.
    pub fn page(&self) -> Result<Vec<u8>, String> {
        self.ask("precision.php")
    }

    /// Which reload's environment lsphp has.
    pub fn environment(&self) -> Result<Vec<u8>, String> {
        self.ask("reload.php")
    }

    fn ask(&self, page: &str) -> Result<Vec<u8>, String> {
        match self.container.client().fetch(&as_front_end(page), None, PATIENCE) {
            Ok(response) if response.status == 200 => Ok(response.body),
            other => Err(format!("{other:?}")),
        }
    }

    /// The files of the plan: what an lsphp that is started now finds.
    pub fn plan(&self) -> [String; 2] {
        let read = |file: &str| fs::read_to_string(self.container.proc("root/run/cac-lsphp").join(file));
        ["php.d/90-cac-lsphp.ini", "run.json"].map(|file| read(file).unwrap())
    }

    /// Reloads with a setting that tells the new ini from the old one.
    pub fn reload(&self, precision: usize) -> Output {
        self.reload_with(precision, |_| ())
    }

    /// The same with its calls, from before it becomes cac-lsphp, or those like the one that the fault is at.
    pub fn reload_traced(&self, precision: usize, fault: Option<&str>) -> (Output, Vec<Call>) {
        let mut strace = None;
        let output = self.reload_with(precision, |pid| strace = Some(self.strace(pid, fault)));
        (output, strace.unwrap().end())
    }

    /// `attach` gets the process before it becomes cac-lsphp.
    fn reload_with(&self, precision: usize, attach: impl FnOnce(Pid)) -> Output {
        let wait = format!("read go; exec {PROGRAM} reload");
        let mut reload = self.program(&["sh", "-c", &wait]);
        reload.env("CAC_INI_precision", precision.to_string()).env("RELOAD", precision.to_string());
        let mut reload =
            reload.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = only_child(pid_of(&reload));
        wait_until(|| match fs::read_to_string(format!("/proc/{pid}/syscall")) {
            Ok(call) if call.starts_with(READS_STDIN) => Ok(()),
            call => Err(format!("{pid} does not wait yet: {call:?}")),
        });
        attach(pid);
        reload.stdin.take().unwrap().write_all(b"\n").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while reload.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                kill(pid, Signal::SIGKILL).unwrap(); // an end that is none of the contract's
            }
            sleep(Duration::from_millis(10));
        }
        reload.wait_with_output().unwrap()
    }

    /// Attaches strace, which makes a call fail if it shall, as its `inject=` has it.
    pub fn strace(&self, pid: Pid, fault: Option<&str>) -> Strace {
        let file = self.files.path().join("trace");
        let mut strace = Command::new("strace");
        strace.args(["-q", "-o"]).arg(&file).args(["-p", &pid.to_string()]);
        if let Some(fault) = fault {
            let call = fault.split(':').next().unwrap();
            strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={fault}")]);
        }
        let child = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(|| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let is_attached = status_field(&status, "TracerPid") == child.id().to_string();
            if is_attached { Ok(()) } else { Err("strace has not attached".to_owned()) }
        });
        Strace { child, file }
    }

    /// What runs in the container beside what keeps it; without those that have ended.
    pub fn processes(&self) -> Vec<Process> {
        let pids = fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.map(Pid::from_raw)
            .filter(|pid| !self.own.contains(pid))
            .filter_map(|pid| self.process(pid))
            .collect()
    }

    fn process(&self, pid: Pid) -> Option<Process> {
        let directory = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(directory.join("status")).ok()?;
        let is_here = fs::read_link(directory.join("ns/pid")).ok()? == self.namespace;
        let has_ended = status_field(&status, "State").starts_with(['Z', 'X']);
        let (name, uids) = (status_field(&status, "Name"), status_field(&status, "Uid"));
        (is_here && !has_ended).then_some(Process { pid, name, uids })
    }

    /// What a reload that was not killed takes away again.
    pub fn leftovers(&self) -> Vec<String> {
        let run = self.container.proc("root/run/cac-lsphp");
        let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name == "next" || name.contains("proof") || name.contains(".new")).collect()
    }
}

/// A supervised site.
pub struct Supervisor {
    nsenter: Child,
    pub pid: Pid,
    log: PathBuf,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Killed,
}

impl Supervisor {
    pub fn said(&self) -> String {
        said(&self.log)
    }

    pub fn name(&self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        name.trim_end().to_owned()
    }

    #[track_caller]
    pub fn wait_for_name(&self, wanted: &str) {
        wait_until(|| match self.name() {
            name if name == wanted => Ok(()),
            name => Err(format!("{name:?}, not {wanted}\n{}", self.said())),
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.nsenter.try_wait().unwrap().is_some()
    }

    /// nsenter ends as what it has started did.
    pub fn end(&mut self) -> End {
        let status = wait_until(|| self.nsenter.try_wait().unwrap().ok_or_else(|| said(&self.log)));
        match status.code() {
            Some(code) => End::Code(code),
            None => {
                assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{}", self.said());
                End::Killed
            }
        }
    }
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).unwrap()
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGKILL);
            let _ = self.nsenter.wait();
        }
    }
}

/// One that has attached.
pub struct Strace {
    child: Child,
    file: PathBuf,
}

impl Strace {
    /// Lets go, or has ended with what it traced; the calls that it saw.
    pub fn end(mut self) -> Vec<Call> {
        let _ = kill(pid_of(&self.child), Signal::SIGTERM); // ESRCH: it has ended
        self.child.wait().unwrap();
        trace::of_attached(&self.file)
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn only_child(parent: Pid) -> Pid {
    child(parent).unwrap_or_else(|state| panic!("{state}"))
}

fn child(parent: Pid) -> Result<Pid, String> {
    in_time(|| {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.map_err(|error| error.to_string())?;
        children.trim().parse().map(Pid::from_raw).map_err(|_| format!("{parent} has {children:?}"))
    })
}
