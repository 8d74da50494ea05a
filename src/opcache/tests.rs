use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const MIB: u64 = 1 << 20;

const DEMAND: Demand =
    Demand { budget_mib: 1024, opcache_mib: 64, estimate_mib: 130, extra: 0, children: None, pids_max: None };

/// As PHP 8.2 printed it, but for the numbers.
const LINE: &str = r#"{"php":"8.2.29","reset":null,"status":{"opcache_enabled":true,"cache_full":false,
    "restart_pending":false,"restart_in_progress":false,
    "memory_usage":{"used_memory":31457280,"free_memory":33554432,"wasted_memory":2097152,"current_wasted_percentage":3.1},
    "interned_strings_usage":{"buffer_size":6291456,"used_memory":4194304,"free_memory":2097152,"number_of_strings":9},
    "opcache_statistics":{"num_cached_scripts":1204,"num_cached_keys":2107,"max_cached_keys":16229,"hits":990,
    "start_time":1790000000,"last_restart_time":0,"oom_restarts":0,"hash_restarts":0,"manual_restarts":0,"misses":10,
    "blacklist_misses":0,"blacklist_miss_ratio":0,"opcache_hit_rate":99}}}"#;

/// A cache that is large enough.
fn example() -> Opcache {
    let answer: Answer = serde_json::from_str(LINE).unwrap();
    opcache(answer.php, answer.status.unwrap(), DEMAND)
}

fn advice(opcache: &Opcache) -> Vec<(&'static str, u64)> {
    advice::give(opcache, DEMAND).into_iter().map(|advice| (advice.setting, advice.value)).collect()
}

#[test]
fn the_text() {
    let text = example().to_string();
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(first.starts_with("opcache   of PHP 8.2.29, started ") && first.ends_with(" ago"), "{first}");
    assert_eq!(
        rest,
        "\
memory    30 of 64 MiB used, 2 wasted, 32 free
files     1204, with 2107 of 16229 keys
strings   4 of 6 MiB
hits      99.0 % of 1000
restarts  0 for lack of memory, 0 for lack of keys, 0 by opcache_reset()
advice    none: OPCACHE_MEMORY_MB and OPCACHE_MAX_FILES are enough
"
    );
}

#[test]
fn what_runs_out_has_a_setting_that_mends_it() {
    let mut full = example();
    full.memory.full = true;
    assert_eq!(advice(&full), [("OPCACHE_MEMORY_MB", 128)]);
    let message = &advice::give(&full, DEMAND)[0].message;
    assert!(
        message.ends_with("set OPCACHE_MEMORY_MB=128, with which this limit carries 6 workers instead of 7")
    );
    full.files.keys = full.files.keys_limit;
    assert_eq!(advice(&full), [("OPCACHE_MAX_FILES", 17000)], "then it is not for lack of memory");
    full.restarts.out_of_memory = 1;
    full.strings = Some(Strings { limit_bytes: 8 * MIB, used_bytes: 8 * MIB - 100 });
    assert_eq!(
        advice(&full),
        [
            ("OPCACHE_MEMORY_MB", 128),
            ("OPCACHE_MAX_FILES", 17000),
            ("CAC_INI_opcache__interned_strings_buffer", 16)
        ]
    );
}

#[test]
fn nothing_is_advised_that_cannot_be_set() {
    let mut full = example();
    full.memory.full = true;
    assert_eq!(advice::give(&full, Demand { opcache_mib: 4096, ..DEMAND }), []);
    full.files = Files { keys: 1_048_793, keys_limit: 1_048_793, ..full.files };
    assert_eq!(advice(&full), []);
}

/// What answers is the site's.
#[test]
fn an_answer_may_hold_anything() {
    let huge = LINE.replace("31457280", "18446744073709551615").replace("990", "18446744073709551615");
    let answer: Answer = serde_json::from_str(&huge).unwrap();
    let text = opcache(answer.php, answer.status.unwrap(), DEMAND).to_string();
    assert!(!text.contains(|character: char| character.is_control() && character != '\n'), "{text:?}");
    for broken in [&LINE[1..], &LINE.replace("1204", "-1"), &LINE.replace("\"cache_full\":false,", "")] {
        assert!(serde_json::from_str::<Answer>(broken).is_err(), "{broken}");
    }
}

/// The paths of an object's leaves; a list is one.
fn paths(path: &str, value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => {
            let separator = if path.is_empty() { "" } else { "." };
            members.iter().for_each(|(name, value)| paths(&format!("{path}{separator}{name}"), value, found));
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| paths(&format!("{path}[]"), value, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_page_about_opcache_shows_every_field_and_no_other() {
    let mut written = BTreeSet::new();
    let mut full = example();
    full.memory.full = true;
    full.advice = advice::give(&full, DEMAND);
    full.file_cache = Some(Contents::default());
    let forgotten = Forgotten { scripts: 1, restart_pending: false, file_cache: Some(Contents::default()) };
    paths("", &serde_json::to_value(full).unwrap(), &mut written);
    paths("", &serde_json::to_value(forgotten).unwrap(), &mut written);
    paths("", &serde_json::to_value(Unknown::Off).unwrap(), &mut written);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/opcache.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| *line != "| field | meaning |").skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let documented: BTreeSet<String> =
        cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(documented, written, "edit docs/opcache.md: its table of fields");
}
