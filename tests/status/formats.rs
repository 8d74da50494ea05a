//! OpenMetrics, as parsers that are not ours read it.

use support::parsed;

use super::*;

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
