//! A supervised site of `examples/compose.yaml` behind a real OpenLiteSpeed of two processes: what a reload, a stop,
//! a restart and another memory limit cost the visitors. None of them ever asks again; OpenLiteSpeed would, when a
//! connection ended before the answer, so that an order which is executed twice tells of one that was cut.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::compose::up_with;
use crate::lines;
use crate::pool::{is_real, processes};
use crate::support::orders::{self, CLIENTS, Fate, MIXED, Order, Tally, executed, while_placed};
use crate::support::project::Project;
use crate::support::{PATIENCE, docker, text, wait_for, wait_until};

#[test]
fn reloads_lose_no_request() {
    if is_real("reloads_lose_no_request") {
        reloads(5, 2);
    }
}

#[test]
#[ignore = "takes minutes: what the suite does with a few reloads, with fifty of each kind"]
fn fifty_reloads_lose_no_request() {
    assert!(is_real("fifty_reloads_lose_no_request"), "it proves nothing");
    reloads(50, 50);
}

/// `count` reloads while visitors ask, and `more` while some of them leave and while the front end ends.
fn reloads(count: usize, more: usize) {
    let site = Site::up(SUPERVISED);
    let ((), tally) = site.while_asked(MIXED, || site.reload(count));
    println!("{count} reloads: {} answered", tally.answered.len());
    assert_eq!(tally.refused, Vec::<String>::new());
    tally.assert_each_once(&site.home());

    let ((), tally) = site.while_asked(MIXED, || {
        for round in 0..more {
            (0..20).for_each(|number| site.hang_up(&format!("hung-up-{round}-{number}")));
            site.reload(1);
        }
    });
    println!("{more} reloads, {} visitors left: {} answered", 20 * more, tally.answered.len());
    assert_eq!((&tally.refused, &tally.cut, &tally.failed), (&vec![], &vec![], &vec![]));
    for (order, times) in tally.others(executed(&site.home())) {
        assert!(times == 1 && order.starts_with("hung-up"), "{order} was executed {times} times");
    }

    let ((), tally) = site.while_asked(MIXED, || {
        for _ in 0..more {
            site.kill_front_end();
            site.reload(1);
        }
    });
    println!(
        "{more} reloads, as many ends of a front end: {} answered, {} cut",
        tally.answered.len(),
        tally.cut.len()
    );
    // Its visitors see their connection end. What they ordered may be done, or not; but never twice.
    assert_eq!(tally.failed, vec![]);
    let others = tally.others(executed(&site.home()));
    let cut: Vec<_> = tally.cut.iter().map(|(order, _)| order).collect();
    for (order, times) in others {
        assert!(times == 1 && cut.contains(&&order), "{order} was executed {times} times");
    }
    assert_eq!(site.said("killed by signal"), 0, "{}", site.logs());
}

#[test]
fn stops_answer_whoever_waits() {
    if is_real("stops_answer_whoever_waits") {
        stops(3);
    }
}

#[test]
#[ignore = "takes minutes: what the suite does with three stops, with twenty"]
fn twenty_stops_answer_whoever_waits() {
    assert!(is_real("twenty_stops_answer_whoever_waits"), "it proves nothing");
    stops(20);
}

/// What had reached the site when a stop began is answered. What had not may be refused by the front end, but then it
/// never began.
fn stops(count: usize) {
    let site = Site::up(SUPERVISED);
    let ((), tally) = site.while_asked(MIXED, || {
        for stop in 1..=count {
            site.wait_for_workers(BUSY);
            text(docker(["stop", "--time", "90", &site.container]));
            assert_eq!(site.said("stopped: every request was answered"), stop, "{}", site.logs());
            text(docker(["start", &site.container]));
            site.project.wait_until_healthy();
        }
    });
    println!("{count} stops: {} answered, {} not begun", tally.answered.len(), tally.failed.len());
    let logs = || format!("{}\n{}", site.logs(), site.front_end_log());
    assert_eq!(
        (&tally.cut, &tally.refused),
        (&vec![], &vec![]),
        "OpenLiteSpeed is there all the time: {}",
        logs()
    );
    let others = tally.others(executed(&site.home()));
    assert!(others.is_empty(), "executed and not answered: {others:?}\n{}", site.logs());
    // 500 where OpenLiteSpeed has tried three times.
    assert!(tally.failed.iter().all(|(_, what)| what.starts_with("HTTP/1.1 50")), "{:?}", tally.failed);
}

/// OpenLiteSpeed may send a request again that was cut at the deadline. Whatever else was executed is answered.
#[test]
fn what_is_executed_again_was_named() {
    if !is_real("what_is_executed_again_was_named") {
        return;
    }
    let site = Site::up(IMPATIENT);
    let ((), tally) = site.while_asked(MIXED, || {
        for _ in 0..3 {
            site.wait_for_workers(BUSY);
            text(docker(["stop", "--time", "90", &site.container]));
            text(docker(["start", &site.container]));
            site.project.wait_until_healthy();
        }
    });
    let (answered, named) = (tally.answered.len(), site.said("is cut in"));
    let executions: usize = executed(&site.home()).values().sum();
    println!("3 stops: {executions} executions, {answered} answered, {named} cut");
    assert!(named > 0, "no stop cut anything: {}", site.logs());
    assert!(executions <= answered + named, "{executions}, {answered}, {named}: {}", site.logs());
}

#[test]
fn a_changed_limit_loses_no_request() {
    if !is_real("a_changed_limit_loses_no_request") {
        return;
    }
    let site = Site::up(SUPERVISED);
    let ((), tally) = site.while_asked(&[20, 100, 300], || {
        site.limit("2g");
        site.wait_for_name("serving:15");
        site.wait_for_workers(8);
        site.limit("1g");
        site.wait_for_name("serving:7");
    });
    println!("7, 15 and 7 workers: {} answered", tally.answered.len());
    tally.assert_each_once(&site.home());
    assert_eq!((site.said("killed by signal"), site.said("for lack of memory")), (0, 0), "{}", site.logs());
}

#[test]
#[ignore = "prints what restarts cost with supervision and without, for docs/supervision.md"]
fn twenty_restarts_beside_those_without_supervision() {
    assert!(is_real("twenty_restarts_beside_those_without_supervision"), "it measures nothing");
    let sites = [("CAC_SUPERVISE=1", SUPERVISED), ("without", UNSUPERVISED)];
    for (name, overlay) in sites {
        let site = Site::up(overlay);
        let ((), tally) = site.while_asked(&[20], || {
            for _ in 0..20 {
                text(docker(["restart", "--time", "90", &site.container]));
                site.project.wait_until_healthy();
                // Between two restarts visitors are served, as otherwise the site is hardly ever there.
                std::thread::sleep(Duration::from_secs(5));
            }
        });
        let (answered, not) = (tally.answered.len(), tally.failed.len() + tally.cut.len());
        let twice = executed(&site.home()).values().filter(|times| **times > 1).count();
        println!("{name}: {} requests, {not} not answered with 200, {twice} executed twice", answered + not);
    }
}

/// Workers of the seven that are surely there while visitors ask, on a machine that is busy with something else.
const BUSY: usize = 3;

const SUPERVISED: &[&str] = &["tests/deploy/supervised.yaml"];
const IMPATIENT: &[&str] = &["tests/deploy/impatient.yaml"];
const UNSUPERVISED: &[&str] = &["tests/deploy/unsupervised.yaml"];

/// alice's, and the front end before it.
struct Site {
    project: Project,
    container: String,
    front_end: String,
}

impl Site {
    fn up(overlays: &'static [&'static str]) -> Self {
        let project = up_with(overlays);
        project.page("alice", "order.php", orders::PAGE);
        project.wait_until_healthy();
        let (container, front_end) = (project.container("alice"), project.address("front-end"));
        let site = Site { project, container, front_end: format!("{front_end}:80") };
        site.wait_until_served();
        site
    }

    fn home(&self) -> PathBuf {
        self.project.home("alice")
    }

    fn logs(&self) -> String {
        lines(&docker(["logs", &self.container]))
    }

    fn front_end_log(&self) -> String {
        text(self.project.exec("front-end", &["cat", "/usr/local/lsws/logs/error.log"]))
    }

    /// Lines of the site's log with these words.
    fn said(&self, words: &str) -> usize {
        self.logs().lines().filter(|line| line.contains(words)).count()
    }

    fn reload(&self, count: usize) {
        for _ in 0..count {
            let said = text(docker(["exec", &self.container, "cac-lsphp", "reload"]));
            assert!(said.starts_with("reloaded: "), "{said}");
        }
    }

    fn limit(&self, size: &str) {
        text(docker(["update", "--memory", size, "--memory-swap", size, &self.container]));
    }

    /// What pid 1 calls itself: `serving:7`.
    fn wait_for_name(&self, wanted: &str) {
        // A pool that could not grow within the grace, on a machine that is busy, tries again after a minute.
        wait_for(3 * PATIENCE, || {
            match text(docker(["exec", &self.container, "cat", "/proc/1/comm"])).trim() {
                name if name == wanted => Ok(()),
                name => Err(format!("{name}, not {wanted}\n{}", self.logs())),
            }
        });
    }

    fn wait_for_workers(&self, least: usize) {
        wait_until(|| match self.workers() {
            few if few < least => Err(format!("{few} workers\n{}", self.logs())),
            _ => Ok(()),
        });
    }

    /// Processes of lsphp whose parent is one too.
    fn workers(&self) -> usize {
        let top = text(docker(["top", &self.container, "-eo", "pid,ppid,comm"]));
        let rows: Vec<Vec<&str>> =
            top.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let lsphp = |pid: &str| rows.iter().any(|row| row[0] == pid && row[2] == "lsphp");
        rows.iter().filter(|row| row[2] == "lsphp" && lsphp(row[1])).count()
    }

    /// One of OpenLiteSpeed's processes that serve, with every connection that it has. Its parent starts another.
    fn kill_front_end(&self) {
        let before = processes(&self.project);
        kill(Pid::from_raw(before[0].cast_signed()), Signal::SIGKILL).unwrap();
        wait_until(|| match processes(&self.project) {
            now if now.len() == before.len() && !now.contains(&before[0]) => Ok(()),
            now => Err(format!("{before:?}, then {now:?}")),
        });
    }

    /// Has `CLIENTS` visitors ask all the time while `act` goes on, and forgets what others had ordered before.
    fn while_asked<T>(&self, ms: &[u32], act: impl FnOnce() -> T) -> (T, Tally) {
        fs::write(self.home().join("orders"), "").unwrap();
        while_placed(|order| self.place(order), CLIENTS, ms, act)
    }

    fn wait_until_served(&self) {
        let order = Order { name: "first".to_owned(), ms: 0, is_post: false };
        wait_until(|| match self.place(&order) {
            Fate::Answered => Ok(()),
            other => Err(format!("{other:?}\n{}", self.logs())),
        });
    }

    /// On a connection of its own, and never again.
    fn place(&self, order: &Order) -> Fate {
        let began = Instant::now();
        let Ok(mut stream) = TcpStream::connect(&self.front_end) else { return Fate::Refused };
        let mut answer = Vec::new();
        let ended = stream
            .set_read_timeout(Some(3 * PATIENCE)) // a connection of OpenLiteSpeed's may take one for its first answer
            .and_then(|()| stream.write_all(&http(order)))
            .and_then(|()| stream.read_to_end(&mut answer));
        let took = began.elapsed();
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        match head.split_whitespace().nth(1) {
            Some("200") if body == order.name => Fate::Answered,
            None | Some("200") => Fate::Cut(format!("{answer} {ended:?} after {took:?}")),
            Some(_) => Fate::Failed(answer.lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// Goes away without an answer.
    fn hang_up(&self, name: &str) {
        let order = Order { name: name.to_owned(), ms: 20, is_post: false };
        TcpStream::connect(&self.front_end).unwrap().write_all(&http(&order)).unwrap();
    }
}

fn http(order: &Order) -> Vec<u8> {
    let body = order.body().unwrap_or_default();
    let (method, query, length) = (if order.is_post { "POST" } else { "GET" }, order.query(), body.len());
    let head = format!(
        "{method} /order.php?{query} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
