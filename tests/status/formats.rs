//! OpenMetrics, as parsers that are not ours read it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Prints the samples that `parser` finds on stdin, a line each, and fails where it is not what it should be.
const READ: &str = r"
import sys, importlib
parser = importlib.import_module(sys.argv[1])
for family in parser.text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sorted(sample.labels.items()), float(sample.value))
";

fn parsed(parser: &str, text: &str) -> Vec<String> {
    // Debian's own: another Python may be first in PATH.
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", READ, parser])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{parser} does not read {text}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn parsers_read_what_is_exposed() {
    let site = Site::new().options(["--no-healthcheck"]).page("sleep.php", SLEEP).start();
    occupy(&site, "sleep.php", 3, 3);
    let text = String::from_utf8(status(&site, ["--format", "openmetrics"]).stdout).unwrap();
    let labels = "[('domain', 'example.com'), ('user', 'alice')]";
    for (parser, counter) in [
        ("prometheus_client.openmetrics.parser", "counter"),
        // Without the suffix the older format knows the type of, so it is a sample of its own.
        ("prometheus_client.parser", "unknown"),
    ] {
        let samples = parsed(parser, &text);
        for sample in [
            format!("gauge phpfpm_up {labels} 1.0"),
            format!("gauge phpfpm_active_processes {labels} 3.0"),
            format!("gauge lsphp_memory_limit_bytes {labels} 1073741824.0"),
            format!("{counter} lsphp_oom_kills_total {labels} 0.0"),
        ] {
            assert!(samples.contains(&sample), "{parser}: no {sample} in {samples:#?}");
        }
        assert!(samples.len() >= 20, "{parser}: {samples:#?}");
    }
    let broken = text.replacen("# EOF", "", 1);
    assert!(std::panic::catch_unwind(|| parsed("prometheus_client.openmetrics.parser", &broken)).is_err());
}
