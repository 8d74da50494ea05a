//! HTTP: what Prometheus reads, and what clients may not do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use super::*;

struct Serving {
    process: Child,
    address: SocketAddr,
    /// What it says after where it serves.
    stderr: BufReader<ChildStderr>,
}

impl Serving {
    fn start(state: Option<&Path>) -> Self {
        let mut command = exporter(["--listen", "127.0.0.1:0"]);
        if let Some(state) = state {
            command.arg("--state").arg(state);
        }
        Self::spawn(&mut command)
    }

    /// In a process group of its own, with whatever is around it.
    fn spawn(command: &mut Command) -> Self {
        let mut process = command.process_group(0).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
        Self { process, address, stderr }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Head and body of the answer to `request`.
    fn ask(&self, request: &str) -> (String, String) {
        let mut client = self.client();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn metrics(&self) -> String {
        let (head, body) = self.get("/metrics");
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text; version=1.0.0"),
            "{head}"
        );
        body
    }

    /// Ends it as systemd does.
    fn stop(mut self) {
        text(run(Command::new("kill").arg(self.process.id().to_string())));
        let ended = || self.process.try_wait().unwrap().ok_or_else(|| "it goes on".to_owned());
        let status = wait_until(ended);
        assert!(status.success(), "{status}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.process.id())]).output();
        let _ = self.process.wait();
    }
}

/// The value of `sample`, which starts with its name and ends with its labels.
fn value(text: &str, name: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn sites_are_exposed_as_open_metrics() {
    let sites = [site("first", 62301).start(), site("second", 62302).start()];
    ask(&sites[1], "sleep.php", 3);
    let serving = Serving::start(None);
    let [first, second] = ["first", "second"].map(|user| {
        let container = container(&sites[usize::from(user == "second")]);
        format!("[('container', '{container}'), ('domain', '{user}.example'), ('user', '{user}')]")
    });
    let samples = wait_until(|| {
        let text = serving.metrics();
        let samples = support::parsed("prometheus_client.openmetrics.parser", &text);
        if samples.contains(&format!("gauge lsphp_workers_busy {second} 3.0")) {
            Ok(samples)
        } else {
            Err(text)
        }
    });
    for sample in [
        format!("gauge phpfpm_up {first} 1.0"),
        format!("gauge phpfpm_listen_queue {first} 0.0"),
        format!("gauge phpfpm_active_processes {second} 3.0"),
        format!("gauge lsphp_memory_limit_bytes {second} 1073741824.0"),
        format!("counter lsphp_oom_kills_total {first} 0.0"),
        format!("histogram lsphp_worker_peak_bytes_count {first} 0.0"),
        "gauge lsphp_exporter_hidden_processes [] 0.0".to_owned(),
    ] {
        assert!(samples.contains(&sample), "no {sample} in {samples:#?}");
    }
    assert!(samples.iter().any(|sample| sample.starts_with("gauge lsphp_exporter_look_seconds [] ")));
    serving.stop();
}

#[test]
fn whoever_asks_for_something_else_is_told_so() {
    let serving = Serving::start(None);
    let (head, body) = serving.get("/");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.contains("cac-lsphp-exporter") && body.contains("/metrics")
    );
    let status = |request: &str| serving.ask(request).0.lines().next().unwrap().to_owned();
    assert_eq!(status("GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(
        status("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert_eq!(status("nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut client = serving.client();
    // It may close before all of that is written.
    let _ = client.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let (head, body) = serving.ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty());
}

/// Neither those who say nothing nor those who do not listen: each has a deadline.
#[test]
fn slow_clients_do_not_keep_others_out() {
    let serving = Serving::start(None);
    let silent: Vec<_> = (0..40).map(|_| serving.client()).collect();
    let mut half = serving.client();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
    assert!(serving.metrics().ends_with("# EOF\n"));
    let mut rest = String::new();
    assert_eq!(half.read_to_string(&mut rest).unwrap_or(0), 0, "it was given up: {rest}");
    drop(silent);
}

/// The kernel keeps the look waiting at the first container for 25 s, as a dead network file system below its root would.
#[test]
fn a_look_that_hangs_is_no_reason_not_to_answer() {
    let site = site("hung", 62304).start();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=openat2"]);
    command.args(["-e", "inject=openat2:delay_enter=25000000:when=1", "--"]);
    command.arg(made("CAC_TEST_EXPORTER")).args(["--listen", "127.0.0.1:0"]);
    let serving = Serving::spawn(&mut command);
    std::thread::scope(|scope| {
        let asked = [(); 2].map(|()| scope.spawn(|| serving.get("/metrics")));
        let (head, _) = serving.get("/");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(!asked[0].is_finished(), "it hangs");
        for asked in asked {
            let (head, body) = asked.join().unwrap();
            assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
            assert!(
                body.starts_with("the look at the sites takes longer than 9 s") && body.lines().count() == 1
            );
        }
    });
    let label = format!("container=\"{}\"", container(&site));
    wait_until(|| {
        let (head, body) = serving.get("/metrics");
        let is_up = head.starts_with("HTTP/1.1 200 ") && value(&body, "phpfpm_up", &label) == Some(1.0);
        if is_up { Ok(()) } else { Err(format!("{head}\n{body}")) }
    });
}

/// It is what the estimate is made from: kept over a restart of the exporter, and used by `list`.
#[test]
fn what_workers_needed_is_kept_over_a_restart() {
    let site = site("kept", 62303).env("LSAPI_MAX_IDLE", "1").start();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let label = format!("container=\"{}\"", container(&site));
    let count = |serving: &Serving| value(&serving.metrics(), "lsphp_worker_peak_bytes_count", &label);
    let serving = Serving::start(Some(&state));
    assert_eq!(count(&serving), Some(0.0));
    ask(&site, "busy.php", 1);
    wait_until(|| if count(&serving) == Some(1.0) { Ok(()) } else { Err(serving.metrics()) });
    let pool = |look: &Value| one(look, &container(&site))["status"]["pool"]["workers"].clone();
    wait_until(|| {
        let _ = serving.metrics();
        let look = list();
        if pool(&look) == 0 { Ok(()) } else { Err(look.to_string()) }
    });
    std::thread::sleep(std::time::Duration::from_millis(1100)); // the next look is a new one
    assert_eq!(count(&serving), Some(1.0));
    serving.stop();

    let serving = Serving::start(Some(&state));
    assert_eq!(count(&serving), Some(1.0), "after a restart");
    let suggestions = text(run(exporter(["list", "--suggest", "--state"]).arg(&state)));
    let row = suggestions
        .lines()
        .find(|line| line.contains("kept.example") && line.contains(" 1  "))
        .map(str::to_owned);
    assert!(row.is_some(), "{suggestions}");
    serving.stop();

    std::fs::write(&state, "not ours").unwrap();
    let refused = run(exporter(["--listen", "127.0.0.1:0", "--state"]).arg(&state));
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "not ours");
}

#[test]
fn a_state_that_cannot_be_written_is_told_at_the_start() {
    let site = site("unkept", 62305).start();
    let mut serving = Serving::start(Some(Path::new("/nonexistent/state")));
    let mut said = String::new();
    serving.stderr.read_line(&mut said).unwrap();
    assert!(
        said.contains("writing /nonexistent/state: No such file") && said.contains("let it write there"),
        "{said}"
    );
    let label = format!("container=\"{}\"", container(&site));
    assert_eq!(value(&serving.metrics(), "phpfpm_up", &label), Some(1.0), "it serves all the same");
}
