//! Real containers for tests: a [`Site`] is described, started, asked for pages and looked into.
//! It and its home are gone when it is dropped.
#![allow(dead_code)] // each test binary uses a part of this

pub mod client;
mod network;
pub mod orders;
pub mod project;
pub mod traces;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use cac_lsphp::address::Address;
use cac_lsphp::lsapi::Request;
use tempfile::TempDir;

pub use client::{Client, Response};
use network::Network;

pub const UID: u32 = 61045;
/// The home as the front end sees it.
pub const FRONT_END_HOME: &str = "/mnt/users/alice/example.com";
/// What takes longer than this hangs, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `scripts/setup` made for the tests.
pub fn made(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// lsphp in the image under test.
pub fn lsphp() -> String {
    format!("/usr/local/lsws/lsphp{}/bin/lsphp", made("CAC_TEST_PHP").replace('.', ""))
}

pub fn docker<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let program = made("CAC_TEST_DOCKER");
    let output = Command::new(&program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("running {program}: {error}"))
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// All that a command said.
pub fn lines(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// A command's standard output, if it succeeded.
pub fn text(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Asks again until the answer is no longer what to say when it stays so.
#[track_caller]
pub fn wait_until<T>(ask: impl FnMut() -> Result<T, String>) -> T {
    wait_for(PATIENCE, ask)
}

#[track_caller]
pub fn wait_for<T>(patience: Duration, ask: impl FnMut() -> Result<T, String>) -> T {
    within(patience, ask).unwrap_or_else(|state| panic!("{state}"))
}

/// The same where that is not the end of the test.
pub fn in_time<T>(ask: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    within(PATIENCE, ask)
}

fn within<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        let asked = Instant::now();
        match ask() {
            Ok(value) => return Ok(value),
            Err(state) if Instant::now() >= deadline => {
                return Err(format!("after {patience:?} still: {state}"));
            }
            // Whoever waits leaves the machine to what is waited for: `docker exec` is work for it.
            Err(_) => sleep((2 * asked.elapsed()).clamp(Duration::from_millis(20), Duration::from_secs(1))),
        }
    }
}

/// Says that a test did not run: not by eprintln, which the test harness keeps to itself.
pub fn not_run(test: &str, needs: &str) {
    std::io::stderr().write_all(format!("NOT RUN: {test} needs {needs}\n").as_bytes()).unwrap();
}

/// Says that it is over when it goes, also where something fails: whoever goes on until then would not end otherwise.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A line of a `/proc/PID/status`, with single blanks.
pub fn status_field(status: &str, name: &str) -> String {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// For a container or a network of this run.
fn unique_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("cac-test-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// For the `inspect` of Docker and podman: a container's address, whatever its network is called.
pub const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

/// alice's site, not started yet: 1 GiB, uid 61045, example.com, an empty home that belongs to root.
pub struct Site {
    home: PathBuf,
    /// Removed with the site, unless the home is somebody else's.
    _own_home: Option<TempDir>,
    network: Option<Network>,
    options: Vec<String>,
    arguments: Vec<String>,
}

impl Site {
    pub fn new() -> Self {
        let home = TempDir::new().unwrap();
        let path = home.path().to_owned();
        Site { _own_home: Some(home), ..Site::at(&path) }
    }

    /// A site whose home stays when the site goes.
    pub fn at(home: &Path) -> Self {
        let site = Site {
            home: home.to_owned(),
            _own_home: None,
            network: None,
            options: vec![],
            arguments: vec![],
        };
        let volume = format!("{}:/home/alice", home.display());
        site.options(["--memory", "1g", "-v", &volume])
            .env("user", "alice")
            .env("uid", &UID.to_string())
            .env("domain", "example.com")
    }

    /// Options of `docker run`; of those that are given twice the last counts.
    pub fn options<'a>(mut self, options: impl IntoIterator<Item = &'a str>) -> Self {
        self.options.extend(options.into_iter().map(str::to_owned));
        self
    }

    /// For a site whose visitors outlive it: on a network that others share, whichever container is started next
    /// gets its address, and with it their connects, which their kernel repeats.
    pub fn with_own_network(self) -> Self {
        let network = Network::new();
        let site = self.options(["--network", &network.name]);
        Site { network: Some(network), ..site }
    }

    pub fn env(self, name: &str, value: &str) -> Self {
        self.options(["-e", &format!("{name}={value}")])
    }

    /// What follows the image on the command line.
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// A file below `public_html`.
    pub fn page(self, name: &str, code: &str) -> Self {
        self.file(&format!("public_html/{name}"), code)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A file below the home, an hour old: opcache takes none that is younger than two seconds.
    pub fn file(self, name: &str, content: &str) -> Self {
        let path = self.home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        fs::File::open(&path).unwrap().set_modified(an_hour_ago).unwrap();
        self
    }

    /// Starts the site and waits until lsphp listens.
    pub fn start(self) -> Running {
        let site = self.launch();
        // cac-lsphp may have opened the listener for the lsphp that it becomes, or starts.
        let listens = in_time(|| match fs::read_to_string(site.first.join("comm")) {
            Ok(comm) if comm == "cac-lsphp\n" => Err("no lsphp".to_owned()),
            Ok(_) if listening_ports(&site.first.join("net")).contains(&9000) => Ok(()),
            Ok(_) => Err("no listener".to_owned()),
            Err(_) => panic!("the site ended instead of listening:\n{}", site.logs()),
        });
        listens.unwrap_or_else(|state| panic!("{state}:\n{}", site.logs()));
        site
    }

    /// Runs the site until it ends by itself.
    pub fn run_to_end(self) -> Ended {
        let site = self.launch();
        let ends = in_time(|| if site.first.exists() { Err("running".to_owned()) } else { Ok(()) });
        ends.unwrap_or_else(|state| panic!("{state}:\n{}", site.logs()));
        let code = text(docker(["wait", &site.name]));
        let output = docker(["logs", &site.name]);
        Ended {
            code: code.trim().parse().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            site,
        }
    }

    /// Starts the site and does not wait for anything.
    pub fn launch(self) -> Running {
        let name = unique_name();
        let image = made("CAC_TEST_IMAGE");
        let mut command = vec!["run", "-d", "--name", &name];
        command.extend(self.options.iter().map(String::as_str));
        command.push(&image);
        command.extend(self.arguments.iter().map(String::as_str));
        let started = docker(&command);
        let mut site = Running {
            name: name.clone(),
            home: self.home,
            _own_home: self._own_home,
            _network: self.network,
            first: PathBuf::new(),
            address: None,
        };
        text(started);
        let found = site.inspect(&format!("{{{{.State.Pid}}}} {ADDRESS}"));
        let (pid, ip) = found.split_once(' ').unwrap_or((&found, ""));
        site.first = Path::new("/proc").join(pid);
        site.address = format!("{ip}:9000").parse().ok();
        site
    }
}

/// A site whose container exists.
pub struct Running {
    pub name: String,
    pub home: PathBuf,
    _own_home: Option<TempDir>,
    _network: Option<Network>,
    /// PID 1 of the first start as the machine numbers it, so that Docker need not be asked each time.
    first: PathBuf,
    address: Option<Address>,
}

/// A site whose container ended by itself.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub site: Running,
}

impl Running {
    /// Where lsphp listens.
    pub fn address(&self) -> &Address {
        self.address.as_ref().unwrap_or_else(|| panic!("{} has no address:\n{}", self.name, self.logs()))
    }

    /// A client of its own, as a connection of the front end is.
    pub fn client(&self) -> Client {
        Client::new(self.address().clone())
    }

    /// A page below `public_html`, over a connection of its own.
    pub fn get(&self, page: &str) -> Response {
        self.fetch(&mut self.client(), page)
    }

    /// The same over a connection that stays open.
    pub fn fetch(&self, client: &mut Client, page: &str) -> Response {
        let request = as_front_end(page);
        let response = client.fetch(&request, None, PATIENCE);
        response.unwrap_or_else(|error| panic!("GET {page}: {error}\n{}", self.logs()))
    }

    /// What a page prints as JSON.
    pub fn json(&self, page: &str) -> serde_json::Value {
        parse(&self.get(page))
    }

    /// A command's output, run in the container as root.
    pub fn exec<const N: usize>(&self, command: [&str; N]) -> String {
        let mut arguments = vec!["exec", &self.name];
        arguments.extend(command);
        text(docker(arguments))
    }

    /// cac-lsphp with `arguments` in the site's namespaces as user `uid`, under strace; the trace from where it
    /// starts, of it alone.
    pub fn strace(&self, uid: u32, options: &[&str], arguments: &str) -> (String, Output) {
        let traces = tempfile::tempdir().unwrap();
        let (pid, uid) = (self.inspect("{{.State.Pid}}"), uid.to_string());
        let output = Command::new("strace")
            // A file for each process: nsenter waits beside it, and in one file for both a call of one can be cut
            // in two by a line of the other's.
            .args(["-ff", "-s", "256", "-o"])
            .arg(traces.path().join("trace"))
            .args(options)
            .args(["nsenter", "-t", &pid, "-S", &uid, "-G", &uid, "-m", "-u", "-i", "-n", "-p"])
            .arg("/usr/local/bin/cac-lsphp")
            .args(arguments.split_whitespace())
            .output()
            .unwrap_or_else(|error| panic!("running strace: {error}; run scripts/test"));
        let files = fs::read_dir(traces.path()).unwrap();
        let mut all = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let own = all.find_map(|trace| {
            let start = trace.find("execve(\"/usr/local/bin/cac-lsphp\"")?;
            Some(trace[start..].to_owned())
        });
        (own.unwrap_or_else(|| panic!("no start: {output:?}")), output)
    }

    /// Everything that the container wrote.
    pub fn logs(&self) -> String {
        lines(&docker(["logs", &self.name]))
    }

    pub fn inspect(&self, format: &str) -> String {
        text(docker(["inspect", "--format", format, &self.name])).trim().to_owned()
    }

    /// PID 1 as the machine numbers it; a file of it below `/proc`.
    pub fn proc(&self, file: &str) -> PathBuf {
        if self.first.exists() {
            return self.first.join(file);
        }
        Path::new("/proc").join(self.inspect("{{.State.Pid}}")).join(file)
    }

    /// PID 1 is the site's user and can do nothing more, by the kernel's word.
    #[track_caller]
    pub fn assert_has_no_privilege(&self) {
        assert_no_privilege(&fs::read_to_string(self.proc("status")).unwrap());
    }

    /// The processes of the container, PID 1 included.
    pub fn processes(&self) -> usize {
        text(docker(["top", &self.name, "-eo", "pid,comm"])).lines().skip(1).count()
    }

    /// The files that differ from the image's, as `A /path` (added) or `C /path` (changed).
    pub fn changes(&self) -> Vec<String> {
        text(docker(["diff", &self.name])).lines().map(str::to_owned).collect()
    }

    pub fn stop(&self) {
        text(docker(["stop", &self.name]));
    }

    pub fn is_running(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// TCP ports in LISTEN state in the container's network, without connecting: that would take a worker.
    pub fn listening_ports(&self) -> Vec<u16> {
        listening_ports(&self.proc("net"))
    }
}

/// What `/proc/PID/status` says of a process that is the site's user and can do nothing more.
#[track_caller]
pub fn assert_no_privilege(status: &str) {
    let uid = UID.to_string();
    for (field, expected) in [
        ("Uid", &[uid.as_str(); 4].join(" ")),
        ("Gid", &[uid.as_str(); 4].join(" ")),
        ("Groups", &uid),
        ("NoNewPrivs", &"1".to_owned()),
    ] {
        assert_eq!(&status_field(status, field), expected, "{field}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(status, set), "0000000000000000", "{set}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        docker(["rm", "-f", "-v", &self.name]);
    }
}

/// A GET with the paths that the front end sends.
pub fn as_front_end(page: &str) -> Request {
    let root = format!("{FRONT_END_HOME}/public_html");
    let mut request = Request::new("GET", format!("{root}/{page}"), format!("/{page}"));
    request.environment = vec![
        ("DOCUMENT_ROOT".into(), root.into()),
        ("REQUEST_URI".into(), format!("/{page}").into()),
        ("SERVER_PROTOCOL".into(), "HTTP/1.1".into()),
    ];
    request
}

/// The JSON of a page that was served without a fault.
pub fn parse(response: &Response) -> serde_json::Value {
    let body = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, 200, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in the page's {body:?}"))
}

/// Those of a process's `net`.
fn listening_ports(net: &Path) -> Vec<u16> {
    let table = |name| fs::read_to_string(net.join(name)).unwrap_or_default();
    let tables = table("tcp") + &table("tcp6");
    tables.lines().filter_map(listening_port).collect()
}

/// The local port of a line of `/proc/net/tcp` whose state is LISTEN (0A).
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let (_, port) = local.rsplit_once(':')?;
    if state == "0A" { u16::from_str_radix(port, 16).ok() } else { None }
}

/// Prints the samples that `parser` finds on stdin, a line each, and fails where it is not what it should be.
const READ_METRICS: &str = r"
import sys, importlib
parser = importlib.import_module(sys.argv[1])
for family in parser.text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sorted(sample.labels.items()), float(sample.value))
";

/// The samples that a parser of prometheus_client finds in `text`.
pub fn parsed(parser: &str, text: &str) -> Vec<String> {
    // Debian's own: another Python may be first in PATH.
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", READ_METRICS, parser])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{parser} does not read {text}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
