//! `request` in a site's container knows where the site listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Site, docker, wait_until};

#[test]
fn the_address_and_the_user_are_the_running_sites_or_the_site_files() {
    let site_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(site_file.path(), "user = alice\nCAC_LISTEN = 127.0.0.1:9001\n").unwrap();
    fs::set_permissions(site_file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let volume = format!("{}:/etc/cac-lsphp/site.ini", site_file.path().display());
    let site = Site::new()
        .options(["--no-healthcheck", "-v", &volume])
        .env("user", "")
        .page("page.php", "<?php echo 'served';")
        .launch();
    wait_until(|| if site.listening_ports() == [9001] { Ok(()) } else { Err(site.logs()) });
    let request = |variable: &str| {
        let target = "http://example.com/page.php";
        docker(["exec", "-e", variable, &site.name, "cac-lsphp", "request", "--body-only", target])
    };
    // What lsphp was started with counts, whatever is set by now.
    assert_eq!(request("CAC_LISTEN=127.0.0.1:1").stdout, b"served");
    site.exec(["rm", "/run/cac-lsphp/run.json"]);
    assert_eq!(request("CAC_LISTEN=").stdout, b"served");
    let nowhere = request("CAC_LISTEN=127.0.0.1:1");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("127.0.0.1:1"), "{nowhere:?}");
}
