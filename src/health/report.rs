//! What a check found, as one line for people or as JSON.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Reason;
use crate::clients::Clients;
use crate::one_line::OneLine;
use crate::running::events::Events;
use crate::running::socket::Queue;
use crate::supervise::name::Doing;

/// The verdict, and everything that was learned on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub verdict: Result<(), Reason>,
    pub found: Findings,
}

/// What is known of the site; what is not was not reached, not asked for, or the kernel does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Findings {
    /// What a supervising pid 1 is doing; `None`: lsphp is the process itself.
    pub doing: Option<Doing>,
    /// lsphp's pid, once it is known to be lsphp's.
    pub pid: Option<u32>,
    pub workers: Option<Workers>,
    pub queue: Option<Queue>,
    /// Who gets an answer; `None`: everybody, or nobody knows.
    pub allowed_clients: Option<Clients>,
    #[serde(flatten)]
    pub events: Events,
    /// How long a connect took.
    #[serde(rename = "connect_ms", serialize_with = "option_in_ms")]
    pub connect: Option<Duration>,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Workers {
    pub running: usize,
    pub limit: u32,
}

/// What PHP said to the ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub status: u16,
    #[serde(rename = "ms", serialize_with = "in_ms")]
    pub time: Duration,
    /// PHP's version.
    pub php: String,
}

impl Findings {
    /// What a healthy site has, in the order of the line.
    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        facts
            .extend(self.doing.filter(|doing| *doing != Doing::Serving).map(|doing| doing.word().to_owned()));
        facts.extend(self.pid.map(|pid| format!("lsphp {pid}")));
        facts.extend(self.workers.map(|workers| format!("{} workers of {}", workers.running, workers.limit)));
        facts.extend(self.queue.map(|queue| format!("queue {} of {}", queue.length, queue.limit)));
        facts.extend(self.allowed_clients.as_ref().map(|clients| {
            // A comma would end the fact.
            format!("allowed: {}", clients.to_string().replace(", ", " "))
        }));
        facts.extend(self.connect.map(|time| format!("connected in {:.1} ms", milliseconds(time))));
        facts.extend(self.answer.as_ref().map(|answer| {
            let Answer { status, time, php } = answer;
            format!("answer {status} in {:.1} ms from PHP {php}", milliseconds(*time))
        }));
        facts
    }

    /// What hurts beside the verdict.
    fn troubles(&self) -> Vec<String> {
        let count = |number: Option<u64>| number.filter(|number| *number > 0);
        let mut troubles = Vec::new();
        if self.is_saturated() {
            troubles.push("saturated".to_owned());
        }
        troubles.extend(count(self.events.oom_kills).map(|number| format!("OOM kills {number}")));
        troubles.extend(
            count(self.events.forks_refused).map(|number| format!("forks refused by pids.max {number}")),
        );
        troubles
    }

    fn is_saturated(&self) -> bool {
        self.queue.is_some_and(Queue::is_saturated)
    }
}

/// `healthy: lsphp 1, 5 workers of 7, queue 0 of 10`, or `unhealthy: stopped: …`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(()) => {
                write!(f, "healthy: {}", [self.found.facts(), self.found.troubles()].concat().join(", "))
            }
            Err(reason) => {
                let troubles = self.found.troubles();
                let aside =
                    if troubles.is_empty() { String::new() } else { format!(" ({})", troubles.join(", ")) };
                OneLine(format_args!("unhealthy: {reason}{aside}")).fmt(f)
            }
        }
    }
}

/// The shape that docs/health.md documents.
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            healthy: bool,
            reason: Option<String>,
            message: String,
            saturated: bool,
            #[serde(flatten)]
            found: &'a Findings,
        }
        Json {
            healthy: self.verdict.is_ok(),
            reason: self.verdict.as_ref().err().map(Reason::name),
            message: self.to_string(),
            saturated: self.found.is_saturated(),
            found: &self.found,
        }
        .serialize(serializer)
    }
}

fn in_ms<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    milliseconds(*time).serialize(serializer)
}

fn option_in_ms<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(milliseconds).serialize(serializer)
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn idle() -> Findings {
        Findings {
            doing: None,
            pid: Some(1),
            workers: Some(Workers { running: 5, limit: 7 }),
            queue: Some(Queue { length: 0, limit: 10 }),
            allowed_clients: None,
            events: Events { oom_kills: Some(0), forks_refused: Some(0) },
            connect: None,
            answer: None,
        }
    }

    fn in_trouble() -> Findings {
        Findings {
            queue: Some(Queue { length: 11, limit: 10 }),
            allowed_clients: Some("172.30.0.2, fd00::/64".parse().unwrap()),
            events: Events { oom_kills: Some(2), forks_refused: Some(3) },
            connect: Some(Duration::from_micros(240)),
            answer: Some(Answer { status: 200, time: Duration::from_micros(1750), php: "8.2.29".into() }),
            ..idle()
        }
    }

    fn healthy(found: Findings) -> Report {
        Report { verdict: Ok(()), found }
    }

    fn unhealthy(reason: Reason, found: Findings) -> Report {
        Report { verdict: Err(reason), found }
    }

    #[test]
    fn one_line_for_people() {
        assert_eq!(healthy(idle()).to_string(), "healthy: lsphp 1, 5 workers of 7, queue 0 of 10");
        assert_eq!(
            healthy(in_trouble()).to_string(),
            "healthy: lsphp 1, 5 workers of 7, queue 11 of 10, allowed: 172.30.0.2 fd00::/64, connected in 0.2 ms, \
             answer 200 in 1.8 ms from PHP 8.2.29, saturated, OOM kills 2, forks refused by pids.max 3"
        );
        let comm = "a\nb\u{1b}".to_owned();
        let line = unhealthy(Reason::NotLsphp { pid: 7, comm }, in_trouble()).to_string();
        assert!(line.starts_with("unhealthy: not lsphp: process 7 is "), "{line}");
        assert!(line.ends_with(" (saturated, OOM kills 2, forks refused by pids.max 3)"), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
    }

    #[test]
    fn the_documented_json() {
        let expected = json!({
            "healthy": true, "reason": null,
            "message": "healthy: lsphp 1, 5 workers of 7, queue 0 of 10",
            "doing": null, "pid": 1, "workers": {"running": 5, "limit": 7}, "queue": {"length": 0, "limit": 10},
            "allowed_clients": null, "saturated": false, "oom_kills": 0, "forks_refused": 0, "connect_ms": null, "answer": null
        });
        assert_eq!(serde_json::to_value(healthy(idle())).unwrap(), expected);

        let json = serde_json::to_value(healthy(in_trouble())).unwrap();
        assert_eq!(json["answer"], json!({"status": 200, "ms": 1.75, "php": "8.2.29"}));
        assert_eq!(json["allowed_clients"], json!(["172.30.0.2", "fd00::/64"]));
        assert_eq!((&json["saturated"], &json["connect_ms"]), (&json!(true), &json!(0.24)));

        let json = serde_json::to_value(unhealthy(Reason::Stopped { pid: 1 }, Findings::default())).unwrap();
        assert_eq!((&json["healthy"], &json["reason"]), (&json!(false), &json!("stopped")));
        assert_eq!((&json["pid"], &json["oom_kills"]), (&json!(null), &json!(null)));
    }

    /// The names in an object and in the objects in it.
    fn names(value: &serde_json::Value) -> BTreeSet<String> {
        let members = value.as_object().into_iter().flatten();
        members.flat_map(|(name, value)| names(value).into_iter().chain([name.clone()])).collect()
    }

    #[test]
    fn the_page_about_health_shows_every_field_and_no_other() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/health.md");
        let page = std::fs::read_to_string(page).unwrap();
        let example = page
            .lines()
            .skip_while(|line| !line.starts_with("    {\"healthy\""))
            .take_while(|line| !line.is_empty());
        let example = serde_json::from_str(&example.collect::<String>()).unwrap();
        let report = serde_json::to_value(healthy(in_trouble())).unwrap();
        assert_eq!(names(&example), names(&report), "edit docs/health.md: its example of JSON");
    }
}
