//! The image itself.

use crate::support::{Site, docker, made, text};

fn inspect(format: &str) -> String {
    text(docker(["image", "inspect", "--format", format, &made("CAC_TEST_IMAGE")])).trim().to_owned()
}

#[test]
fn starts_the_launcher_without_a_shell() {
    assert_eq!(inspect("{{json .Config.Entrypoint}}"), r#"["/usr/local/bin/cac-lsphp"]"#);
    assert_eq!(inspect("{{json .Config.Cmd}}"), "null");
    assert_eq!(
        inspect("{{json .Config.Healthcheck.Test}}"),
        r#"["CMD","/usr/local/bin/cac-lsphp","healthcheck"]"#
    );
    assert_eq!(inspect("{{.Config.StopSignal}}"), "SIGTERM");
    assert!(inspect("{{json .Config.ExposedPorts}}").contains(r#""9000/tcp":{}"#));
}

#[test]
fn listens_on_9000_only() {
    assert_eq!(Site::new().start().listening_ports(), [9000]);
}

#[test]
fn phps_own_directories_stay_as_they_came() {
    let site = Site::new().start();
    let found = site.exec([
        "find",
        "/",
        "-xdev",
        "-name",
        "*cac-lsphp*.*",
        "-o",
        "-xdev",
        "-name",
        "lsphp-overrides.ini",
    ]);
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "/run/cac-lsphp/cac-lsphp-normalize.php",
            "/run/cac-lsphp/cac-lsphp-opcache.php",
            "/run/cac-lsphp/cac-lsphp-ping.php",
            "/run/cac-lsphp/cac-lsphp-preload.php",
            "/run/cac-lsphp/php.d/90-cac-lsphp.ini",
            "/usr/local/share/cac-lsphp/php.d/lsphp-overrides.ini",
        ]
    );
    for change in site.changes() {
        let path = &change[2..];
        let ours = ["/run", "/mnt", "/home", "/etc/passwd", "/etc/group"];
        // A directory is changed when something in it is.
        assert!(path == "/etc" || ours.iter().any(|ours| path.starts_with(ours)), "{change}");
    }
}

#[test]
fn the_ldap_extension_is_there() {
    let site = Site::new().page("ldap.php", "<?php echo json_encode(extension_loaded('ldap'));").start();
    assert_eq!(site.json("ldap.php"), true);
}
