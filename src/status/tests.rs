use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::status::text::Table;

const MIB: u64 = 1 << 20;

/// A worker that runs `script`.
pub(crate) fn busy(pid: u32, script: &str) -> Row {
    Row {
        pid,
        state: "busy",
        script: Some(script.to_owned()),
        own_bytes: Some(32 * MIB),
        proportional_bytes: Some(40 * MIB + MIB / 2),
        peak_bytes: Some(58 * MIB),
        cpu_seconds: 3.25,
        age_seconds: 7500,
        start_ticks: 9,
        waits: Some(1),
    }
}

/// alice's site with a busy worker and an idle one.
pub(crate) fn example() -> Status {
    let estimate = Estimate {
        setting_mib: 130,
        samples: 5,
        worked_seconds: 340,
        span_seconds: 7500,
        largest_peak_bytes: Some(58 * MIB),
        p95_peak_bytes: Some(51 * MIB),
        largest_own_bytes: Some(32 * MIB),
        suggested_mib: Some(74),
        workers: 7,
        suggested_workers: Some(12),
        message: "largest worker 58 MiB".into(),
    };
    Status {
        up: true,
        user: "alice".into(),
        domain: Some("example.com".into()),
        doing: None,
        started_at: 1_790_000_000,
        pool: Pool {
            limit: 7,
            workers: Some(2),
            busy: 1,
            connected: 0,
            idle: 1,
            queue: Some(Queue { length: 3, limit: 10 }),
            saturated: false,
        },
        memory: Memory {
            limit_bytes: Some(1024 * MIB),
            limit_source: Some("cgroup v2 memory.max of /".into()),
            used_bytes: Some(421 * MIB),
            held_bytes: Some(310 * MIB),
            peak_bytes: Some(512 * MIB),
            oom_kills: Some(0),
            forks_refused: None,
        },
        lsphp: vec![Row { state: "lsphp", script: None, ..busy(1, "") }],
        workers: vec![
            busy(8, "/home/alice/public_html/index.php"),
            Row { state: "idle", script: None, ..busy(9, "") },
        ],
        estimate,
    }
}

#[test]
fn workers_are_read_as_long_as_there_is_time() {
    let read = |until| read_until(until, &[7, 8], |pid| (*pid == 7).then_some(*pid));
    assert_eq!((read(None), read(Some(cpu_time() + TIME_OUTSIDE))), (Some(vec![7]), Some(vec![7])));
    assert_eq!(read(Some(Duration::ZERO)), None);
}

#[test]
fn the_text() {
    let text =
        Table { status: &example(), busy_for: |row: &Row| (row.pid == 8).then_some(Duration::from_secs(65)) };
    assert_eq!(
        text.to_string(),
        "\
serving alice (example.com), lsphp 1
workers   2 of 7: 1 busy, 0 connected, 1 idle; queue 3 of 10
memory    421 of 1024 MiB, 310 of it held by processes and opcache; peak 512; OOM kills 0, forks refused ?
estimate  130 MiB; largest worker 58 MiB
          from 5 workers over 2 h 5 min: peaks at least 58 MiB, 95 % of them at most 51; at most 32 now

    PID STATE         OWN   SHARE    PEAK       CPU        AGE  SCRIPT
      1 lsphp       32.0M   40.5M   58.0M    3.25 s  2 h 5 min
      8 busy        32.0M   40.5M   58.0M    3.25 s  2 h 5 min  /home/alice/public_html/index.php for 1 min
      9 idle        32.0M   40.5M   58.0M    3.25 s  2 h 5 min
"
    );
}

/// The names in an object and in the objects in it.
fn names(value: &serde_json::Value) -> BTreeSet<String> {
    match value {
        serde_json::Value::Object(members) => {
            members.iter().flat_map(|(name, value)| names(value).into_iter().chain([name.clone()])).collect()
        }
        serde_json::Value::Array(values) => values.iter().flat_map(names).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_page_about_status_shows_every_field_and_no_other() {
    let down = Down { site: None, reason: Reason::NotStarted };
    let mut written = names(&serde_json::to_value(example()).unwrap());
    written.extend(names(&serde_json::to_value(down).unwrap()));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| *line != "| field | meaning |").skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let documented: BTreeSet<String> = cells
        .iter()
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .flat_map(|path| path.split(['.', '[']).map(|name| name.trim_end_matches(']').to_owned()))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(documented, written, "edit docs/status.md: its table of fields");
}

/// As status finds a site that root has started with 1 GiB, 7 workers and CAC_WATCH_MEMORY=1.
#[test]
fn a_pool_that_pid_1_has_resized_is_weighed_by_the_limit_now() {
    let mut plan: StatusPlan =
        serde_json::from_str::<RunRecord<StatusPlan>>(&record("alice", 61045, "example.com")).unwrap().plan;
    let now = |plan: &StatusPlan, limit| demand_now(plan, limit, Some(2048 * MIB)).budget_mib;
    let (recorded, planned) = (plan.memory.budget_mib, plan.workers.total());
    assert_eq!((now(&plan, 15), now(&plan, planned)), (2048, recorded), "it was not resized");
    assert_eq!(demand_now(&plan, 15, None).budget_mib, recorded);
    plan.given.insert("CAC_MEMORY_MB".into(), serde_json::from_str(r#"{"value":"1024"}"#).unwrap());
    assert_eq!(now(&plan, 15), recorded, "the limit does not count");
}

/// The record of a site whose process is the first in its namespace, `pid:[1]`, and was started at tick 99.
pub(crate) fn record(user: &str, uid: u32, domain: &str) -> String {
    let settings = crate::settings::read(
        &[("user", user), ("uid", &uid.to_string()), ("domain", domain)].into_iter().collect(),
        None,
        crate::identity::StartedAs { uid: 0, gid: 0 },
    );
    let plan = crate::plan::decide(crate::plan::Inputs {
        settings: &settings.1.unwrap(),
        environment: &crate::settings::environment::Environment::default(),
        limits: &Limits::default(),
        lsphp: &crate::lsphp::Lsphp::Found { path: "/opt/lsphp".into() },
        somaxconn: None,
        suppose_mib: None,
    });
    let run = RunRecord::example(1).with_plan(&plan, Path::new("/opt/lsphp"));
    String::from_utf8(run.to_json().unwrap()).unwrap()
}
