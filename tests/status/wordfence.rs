//! WordPress with Wordfence, in plain files: its firewall is prepended by a `.user.ini`, where our normaliser would be.

use serde_json::json;

use super::doctor::{found, healthy};
use super::*;

/// As Wordfence writes it into the document root.
const USER_INI: &str = "; Wordfence WAF
auto_prepend_file = '/home/alice/public_html/wordfence-waf.php'
; END Wordfence WAF
";

/// What it prepends: the firewall itself, if the plugin is still there.
const WAF: &str = "
if (file_exists(__DIR__ . '/wp-content/plugins/wordfence/waf/bootstrap.php')) {
    define('WFWAF_LOG_PATH', __DIR__ . '/wp-content/wflogs/');
    include_once __DIR__ . '/wp-content/plugins/wordfence/waf/bootstrap.php';
}
";

/// The firewall looks at a request before WordPress does.
const BOOTSTRAP: &str = "<?php $waf = [WFWAF_LOG_PATH, $_SERVER['DOCUMENT_ROOT']];";

const INDEX: &str = "<?php require __DIR__ . '/wp-config.php';
echo json_encode(['waf' => $waf ?? null, 'root' => $_SERVER['DOCUMENT_ROOT'], 'path' => ABSPATH]);";

fn wordpress(user_ini: &str, include: &str) -> Site {
    healthy()
        .page("index.php", INDEX)
        .page("wp-config.php", "<?php define('ABSPATH', '/home/alice/public_html/');")
        .page(".htaccess", "# BEGIN WordPress\n# END WordPress\n")
        .page("wp-content/plugins/wordfence/waf/bootstrap.php", BOOTSTRAP)
        .page("wordfence-waf.php", &format!("<?php\n{include}{WAF}"))
        .page(".user.ini", user_ini)
}

const INCLUDE: &str = "include '/run/cac-lsphp/cac-lsphp-normalize.php';";

/// Until that is mended the firewall and WordPress see the front end's paths; with the line that doctor names both
/// see the site's, also where a panel's `open_basedir` is in the same file.
#[test]
fn its_firewall_and_the_normaliser_work_together_as_doctor_says() {
    let front_end = "/mnt/users/alice/example.com/public_html";
    let home = "/home/alice/public_html";
    let panel = format!("open_basedir = /home/alice/:/tmp/\n{USER_INI}");
    for (user_ini, include, root, findings) in [
        (USER_INI, "", front_end, &["normaliser replaced"][..]),
        (USER_INI, INCLUDE, home, &[]),
        (&panel, INCLUDE, home, &[]),
    ] {
        let site = wordpress(user_ini, include).start();
        let expected = json!({
            "waf": ["/home/alice/public_html/wp-content/wflogs/", root], "root": root, "path": format!("{home}/")
        });
        assert_eq!(site.json("index.php"), expected, "{user_ini} {include}");
        assert_eq!(found(&site, []), findings, "{user_ini} {include}");
        let told = String::from_utf8(docker(["exec", &site.name, "cac-lsphp", "doctor"]).stdout).unwrap();
        assert_eq!(told.contains(INCLUDE), !findings.is_empty(), "it names the line: {told}");
        let log = std::fs::read_to_string(site.home.join("logs/php-fpm/error.log")).unwrap();
        assert_eq!(log, "", "{user_ini} {include}");
    }
}
