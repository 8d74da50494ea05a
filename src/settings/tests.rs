use std::path::Path;

use super::*;

const ROOT: StartedAs = StartedAs { uid: 0, gid: 0 };
const SITE: [(&str, &str); 2] = [("user", "alice"), ("uid", "61045")];

fn outcome(environment: &[(&str, &str)], file: &str, started_as: StartedAs) -> Result<Settings, Vec<Fault>> {
    let file = SiteFile::parse(Path::new("/site.ini"), file).unwrap();
    read(&environment.iter().copied().collect(), Some(&file), started_as).1
}

/// alice's site with more variables.
fn alice(more: &[(&str, &str)]) -> Settings {
    outcome(&[&SITE, more].concat(), "", ROOT).unwrap()
}

fn faults(environment: &[(&str, &str)]) -> Vec<Fault> {
    outcome(environment, "", ROOT).unwrap_err()
}

/// Every combination of the six places that can name the number of children, each of them set,
/// blank or absent: the strongest that is set wins, and the others are told in their order.
#[test]
fn precedence() {
    const NAMES: [&str; 3] = ["PHP_LSAPI_CHILDREN", "LSAPI_CHILDREN", "FPM_MAX_CHILDREN"];
    const VALUES: [&str; 6] = ["11", "12", "13", "21", "22", "23"];
    for combination in 0..3_usize.pow(6) {
        let state = |place: usize| combination / 3_usize.pow(place as u32) % 3;
        let text = |place: usize| if state(place) == 1 { VALUES[place] } else { " " };
        let mentioned = |place: &usize| state(*place) != 0;
        let environment: Vec<_> = (0..3).filter(mentioned).map(|at| (NAMES[at], text(at))).collect();
        let file: String =
            (3..6).filter(mentioned).map(|at| format!("{} = {}\n", NAMES[at - 3], text(at))).collect();

        let settings = outcome(&[&SITE, &environment[..]].concat(), &file, ROOT).unwrap();
        let expected: Vec<_> = (0..6).filter(|place| state(*place) == 1).collect();
        let place = |at: usize| if at < 3 { "the environment" } else { "/site.ini" };
        let given = settings.given.get(&variable::CHILDREN);
        match (expected.split_first(), settings.options.children.zip(given)) {
            (None, None) => {}
            (Some((winner, losers)), Some((children, given))) => {
                assert_eq!(children.to_string(), VALUES[*winner]);
                assert_eq!(given.value, VALUES[*winner]);
                let source = Source { name: NAMES[winner % 3].into(), place: place(*winner).into() };
                assert_eq!(given.source, source);
                let lost =
                    losers.iter().map(|at| format!("{}={} from {}", NAMES[at % 3], VALUES[*at], place(*at)));
                assert_eq!(given.lost, lost.collect::<Vec<_>>());
            }
            (expected, found) => panic!("{environment:?} {file:?}: {expected:?}, {found:?}"),
        }
    }
}

#[test]
fn an_identity_can_come_from_the_site_file() {
    let file = "user = bob\nuid = 7\ngid = 8\ndomain = b.example\n";
    let site = outcome(&[("user", "alice"), ("uid", "")], file, ROOT).unwrap().site;
    let identity = (site.user.as_str(), site.uid.as_raw(), site.gid.as_raw());
    assert_eq!(identity, ("alice", 7, 8));
    assert_eq!(site.domain.unwrap().as_str(), "b.example");
}

/// Blank is unset, whatever the variable: the settings are those of a site that names nothing.
#[test]
fn blank_is_unset() {
    for blank in ["", " ", "\t\n "] {
        let names = variable::rows().flat_map(|row| row.names).copied();
        let blanks: Vec<_> = names.filter(|name| !SITE.iter().any(|(set, _)| set == name)).collect();
        let blanks: Vec<_> = blanks.into_iter().map(|name| (name, blank)).collect();
        assert_eq!(alice(&blanks), alice(&[]), "{blank:?}");
    }
    assert_eq!(faults(&[("user", " "), ("uid", "")]).len(), 2);
}

#[test]
fn the_defaults_are_the_contracts() {
    let Options { extra_children, worker_estimate_mib, opcache_memory_mib, opcache_max_files, .. } =
        alice(&[]).options;
    let numbers = [extra_children, worker_estimate_mib, opcache_memory_mib, opcache_max_files];
    assert_eq!(numbers, [0, 130, 64, 8000]);
    let options = alice(&[]).options;
    let idle = [options.max_idle_children, options.max_idle, options.max_requests, options.max_process_time];
    assert_eq!(idle, [2, 60, 500, 300]);
    assert_eq!((options.mem_soft_mib, options.mem_hard_mib), (1024, 1500));
    assert_eq!(options.listen.to_string(), "0.0.0.0:9000");
    assert!(options.user_ini && options.no_new_privs && options.site_link && !options.take_ownership);
    assert_eq!((options.children, options.memory_mib, options.avoid_fork, options.lsphp), Default::default());
    assert_eq!(alice(&[]).warnings, []);
}

#[test]
fn numbers_out_of_range_are_clamped_with_a_warning() {
    type Get = fn(&Options) -> u32;
    let table: [(&str, &str, Get, u32); 14] = [
        ("PHP_LSAPI_CHILDREN", "1", |o| o.children.unwrap(), 2),
        ("PHP_LSAPI_CHILDREN", "10001", |o| o.children.unwrap(), 10_000),
        ("FPM_MAX_CHILDREN", "-5", |o| o.children.unwrap(), 2),
        ("LSPHP_WORKER_ESTIMATE_MB", "15", |o| o.worker_estimate_mib, 16),
        ("LSPHP_WORKER_ESTIMATE_MB", "4097", |o| o.worker_estimate_mib, 4096),
        ("OPCACHE_MEMORY_MB", "7", |o| o.opcache_memory_mib, 8),
        ("OPCACHE_MEMORY_MB", "4294967297", |o| o.opcache_memory_mib, 4096),
        ("OPCACHE_MAX_FILES", "199", |o| o.opcache_max_files, 200),
        ("OPCACHE_MAX_FILES", "1000001", |o| o.opcache_max_files, 1_000_000),
        ("LSAPI_EXTRA_CHILDREN", "-1", |o| o.extra_children, 0),
        ("CAC_MEMORY_MB", "18446744073709551617", |o| o.memory_mib.unwrap(), 16_777_216),
        ("LSAPI_MAX_IDLE", "0", |o| o.max_idle, 1),
        ("LSPHP_MEM_HARD_MB", "-170141183460469231731687303715884105729", |o| o.mem_hard_mib, 0),
        ("LSAPI_MAX_PROCESS_TIME", "86401", |o| o.max_process_time, 86_400),
    ];
    for (name, value, get, expected) in table {
        let settings = alice(&[(name, value)]);
        assert_eq!(get(&settings.options), expected, "{name}={value}");
        assert!(
            matches!(&settings.warnings[..], [warning] if warning.variable() == Some(name)
                && warning.hint == format!("{expected} is used")),
            "{name}={value}: {:?}",
            settings.warnings
        );
    }
    assert_eq!(alice(&[("OPCACHE_MEMORY_MB", "8"), ("OPCACHE_MAX_FILES", "1000000")]).warnings, []);
}

#[test]
fn all_faults_at_once_one_line_each() {
    let wrong = [
        ("user", "a/b"),
        ("uid", "-1"),
        ("gid", "0"),
        ("domain", "../etc"),
        ("PHP_LSAPI_CHILDREN", "many"),
        ("OPCACHE_MEMORY_MB", "64M"),
        ("LSAPI_AVOID_FORK", "2G"),
        ("LSPHP_ENABLE_USER_INI", "maybe"),
        ("CAC_LISTEN", "9000"),
        ("CAC_LSPHP", "bin/lsphp"),
        ("CAC_NO_NEW_PRIVS", "2"),
        ("CAC_INI_error_log", "/tmp/x"),
        ("CAC_LOG", "loud"),
        ("CAC_LOG_FORMAT", "xml"),
    ];
    let faults = faults(&wrong);
    assert_eq!(faults.len(), wrong.len(), "{faults:#?}");
    for (name, value) in wrong {
        let told = |fault: &&Fault| fault.variable() == Some(name);
        let fault = faults.iter().find(told).unwrap_or_else(|| panic!("{name}: {faults:#?}"));
        assert!(fault.cause.text.contains(value) || name.starts_with("CAC_INI_"), "{fault}");
        assert!(!fault.to_string().contains('\n'), "{fault}");
    }
}

/// -1 is a value of its own, so it must neither be clamped away nor be lost on its way.
#[test]
fn the_busy_workers_have_a_precedence_and_a_range() {
    let read = |environment: &[(&str, &str)], file: &str| {
        let settings = outcome(&[&SITE, environment].concat(), file, ROOT).unwrap();
        let source = settings.given.source(&variable::MAX_BUSY_WORKER);
        (settings.options.max_busy_worker.map(|number| (number, source)), settings.warnings.len())
    };
    const NAME: &str = "LSAPI_MAX_BUSY_WORKER";
    let environment = || format!("{NAME} from the environment");
    assert_eq!(read(&[], ""), (None, 0));
    assert_eq!(read(&[(NAME, " ")], ""), (None, 0));
    assert_eq!(read(&[(NAME, "-1")], "LSAPI_MAX_BUSY_WORKER = 3\n"), (Some((-1, environment())), 0));
    let from_file = Some((3, format!("{NAME} from /site.ini")));
    assert_eq!(read(&[(NAME, "")], "LSAPI_MAX_BUSY_WORKER = 3\n"), (from_file, 0));
    for (given, value, warnings) in
        [("0", 0, 0), ("10000", 10_000, 0), ("10001", 10_000, 1), ("-2", -1, 1), ("-99999999999", -1, 1)]
    {
        assert_eq!(read(&[(NAME, given)], ""), (Some((value, environment())), warnings), "{given}");
    }
    assert_eq!(faults(&[&SITE[..], &[(NAME, "half")]].concat()).len(), 1);
}

#[test]
fn a_listener_of_our_own_is_for_an_address() {
    let read =
        |environment: &[(&str, &str)]| outcome(&[&SITE, environment].concat(), "CAC_BACKLOG = 20\n", ROOT);
    let listener = read(&[("CAC_BACKLOG", "30"), ("CAC_ALLOWED_CLIENTS", "10.0.0.5 fd00::/64")])
        .unwrap()
        .options
        .listener;
    assert_eq!(listener.backlog.unwrap(), 30);
    assert_eq!(listener.allowed_clients.unwrap().to_string(), "10.0.0.5, fd00::/64");
    assert_eq!(read(&[]).unwrap().options.listener.backlog.unwrap(), 20);

    for wrong in ["ols", "10.0.0.5/33", "10.0.0.5/8", "fd00::/129", "10.0.0.5 ols"] {
        let faults = read(&[("CAC_ALLOWED_CLIENTS", wrong), ("CAC_LISTEN", "nowhere")]).unwrap_err();
        assert_eq!(faults.len(), 2, "{wrong}: {faults:?}");
        assert!(
            faults.iter().any(|fault| fault.variable() == Some("CAC_ALLOWED_CLIENTS")
                && fault.cause.text.contains(wrong)
                && fault.cause.text.contains("no host names")),
            "{faults:?}"
        );
    }
    let faults = read(&[("CAC_LISTEN", "/run/lsphp.sock"), ("CAC_ALLOWED_CLIENTS", "10.0.0.5")]).unwrap_err();
    let source = Source { name: "CAC_ALLOWED_CLIENTS".into(), place: "the environment".into() };
    assert!(matches!(&faults[..], [fault] if fault.object == Object::from(&source)), "{faults:?}");
}

#[test]
fn a_socket_of_our_own_has_a_mode_and_a_group() {
    const FILE: &str = "CAC_SOCKET_MODE = 0600\nCAC_SOCKET_GID = 44\nCAC_LISTEN = /run/lsphp.sock\n";
    let read = |environment: &[(&str, &str)]| outcome(&[&SITE, environment].concat(), FILE, ROOT);
    let both = |environment: &[(&str, &str)]| {
        let listener = read(environment).unwrap().options.listener;
        (listener.socket_mode.unwrap().to_string(), listener.socket_gid.unwrap().as_raw())
    };
    assert_eq!(both(&[]), ("0600".to_owned(), 44));
    assert_eq!(both(&[("CAC_SOCKET_MODE", " "), ("CAC_SOCKET_GID", "")]), ("0600".to_owned(), 44));
    assert_eq!(both(&[("CAC_SOCKET_MODE", "666"), ("CAC_SOCKET_GID", "33")]), ("0666".to_owned(), 33));

    for mode in ["rw", "66", "00660", "0o660", "+660", "0668", "1777", "4755"] {
        let faults = read(&[("CAC_SOCKET_MODE", mode), ("CAC_SOCKET_GID", "0")]).unwrap_err();
        assert_eq!(faults.len(), 2, "{mode}: {faults:?}");
        assert!(
            faults.iter().any(|fault| fault.cause.text.contains(mode) && fault.cause.text.contains("octal")),
            "{faults:?}"
        );
    }
    let faults = read(&[("CAC_LISTEN", "0.0.0.0:9000"), ("CAC_SOCKET_MODE", "0660")]).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.object.clone()).collect();
    let expected = [("CAC_SOCKET_MODE", "the environment"), ("CAC_SOCKET_GID", "/site.ini")];
    assert_eq!(
        told,
        expected.map(|(name, place)| Object::from(&Source { name: name.into(), place: place.into() }))
    );
}

#[test]
fn a_listener_that_is_handed_over_is_used_as_it_is() {
    let read =
        |environment: &[(&str, &str)]| outcome(&[&SITE, environment].concat(), "LISTEN_FDS = 1\n", ROOT);
    assert!(!read(&[("LISTEN_FDS", " ")]).unwrap().options.listener.handed_over, "a file cannot hand over");
    let listener = read(&[("LISTEN_FDS", "1"), ("CAC_IDLE_EXIT", "30")]).unwrap().options.listener;
    assert_eq!((listener.handed_over, listener.idle_exit), (true, 30));

    for (environment, told) in [
        (&[("LISTEN_FDS", "2")][..], &["LISTEN_FDS"][..]),
        (&[("LISTEN_FDS", "0")], &["LISTEN_FDS"]),
        (&[("LISTEN_FDS", "x")], &["LISTEN_FDS"]),
        (&[("CAC_IDLE_EXIT", "30")], &["CAC_IDLE_EXIT"]),
        (
            &[
                ("LISTEN_FDS", "2"),
                ("CAC_BACKLOG", "9"),
                ("CAC_ALLOWED_CLIENTS", "::1"),
                ("CAC_SUPERVISE", "1"),
            ],
            &["CAC_ALLOWED_CLIENTS", "CAC_BACKLOG", "CAC_SUPERVISE", "LISTEN_FDS"],
        ),
    ] {
        let faults = read(environment).unwrap_err();
        let mut names: Vec<_> = faults.iter().filter_map(Fault::variable).collect();
        names.sort_unstable();
        assert_eq!(names, told, "{faults:?}");
    }
}

/// A loser that is wrong does no harm, a winner that is wrong is not replaced by a loser.
#[test]
fn only_the_winner_is_judged() {
    let children = alice(&[("PHP_LSAPI_CHILDREN", "7"), ("LSAPI_CHILDREN", "x")]).options.children.unwrap();
    assert_eq!(children, 7);
    let wrong = [("PHP_LSAPI_CHILDREN", "x"), ("LSAPI_CHILDREN", "7")];
    assert_eq!(faults(&[&SITE, &wrong[..]].concat()).len(), 1);
}

#[test]
fn switches() {
    for (value, expected) in [("1", true), ("on", true), ("YES", true), ("True", true)].into_iter().chain([
        ("0", false),
        ("off", false),
        ("No", false),
        ("false", false),
    ]) {
        assert_eq!(alice(&[("LSPHP_ENABLE_USER_INI", value)]).options.user_ini, expected, "{value}");
    }
}

#[test]
fn avoid_fork_ends_below_two_gigabytes() {
    for value in ["0", "200M", "1G", "2047M", "2147483647"] {
        let settings = alice(&[("LSAPI_AVOID_FORK", value)]);
        assert_eq!(settings.options.avoid_fork.unwrap(), value);
        assert_eq!(settings.warnings.len(), 1, "{value}");
    }
    for value in ["2G", "2048M", "2147483648", "17179869184G", "-1", "lots"] {
        assert_eq!(faults(&[&SITE[..], &[("LSAPI_AVOID_FORK", value)]].concat()).len(), 1, "{value}");
    }
}

#[test]
fn directives_by_name() {
    let settings = alice(&[
        ("CAC_INI_memory_limit", "256M"),
        ("CAC_INI_opcache__revalidate_freq", "2"),
        ("CAC_INI_blank", " "),
        ("CAC_INI_session.name", "S"),
    ]);
    let directives: Vec<_> =
        settings.options.directives.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("memory_limit", "256M"), ("opcache.revalidate_freq", "2"), ("session.name", "S")];
    assert_eq!(directives, expected);
    assert_eq!(settings.warnings, []);

    let refused = [
        ("CAC_INI_", "x", "letters"),
        ("CAC_INI_a b", "x", "letters"),
        ("CAC_INI_a=b", "x", "letters"),
        ("CAC_INI_a\nb", "x", "letters"),
        ("CAC_INI_none", "x", "ini syntax"),
        ("CAC_INI_error_log", "x", "error.log"),
        ("CAC_INI_auto_prepend_file", "x", "normaliser"),
        ("CAC_INI_opcache__memory_consumption", "1", "OPCACHE_MEMORY_MB"),
        ("CAC_INI_opcache.memory_consumption", "1", "OPCACHE_MEMORY_MB"),
        ("CAC_INI_opcache__max_accelerated_files", "1", "OPCACHE_MAX_FILES"),
        ("CAC_INI_opcache__file_cache", "/x", "CAC_OPCACHE_FILE_CACHE"),
    ];
    for (name, value, why) in refused {
        let faults = faults(&[&SITE[..], &[(name, value)]].concat());
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!(fault.variable(), Some(name));
        assert!(fault.to_string().contains(why) && !fault.to_string().contains('\n'), "{fault}");
    }
}

#[test]
fn two_names_of_one_directive_are_refused() {
    let site = [&SITE[..], &[("CAC_INI_session.name", "a"), ("CAC_INI_session__name", "b")]].concat();
    let told = faults(&site);
    let [fault] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fault.variable(), Some("CAC_INI_session__name"));
    assert_eq!(fault.cause.text, "another variable sets session.name too");
}

#[test]
fn an_open_basedir_must_let_php_reach_the_normaliser() {
    let set = |value| outcome(&[&SITE[..], &[("CAC_INI_open_basedir", value)]].concat(), "", ROOT);
    for value in ["/home/alice:/run/cac-lsphp/", "/run/cac-lsphp", "/", "/run:/home/alice"] {
        assert!(set(value).is_ok(), "{value}");
    }
    for value in ["/home/alice", "/home/alice:/run/other", "/home/alice:/ru", "/run/cac", ":"] {
        assert!(set(value).unwrap_err()[0].hint.contains("/run/cac-lsphp/"), "{value}");
    }
}

#[test]
fn what_the_normaliser_calls_stays_enabled() {
    let set = |value| outcome(&[&SITE[..], &[("CAC_INI_disable_functions", value)]].concat(), "", ROOT);
    for value in ["exec,system", "realpath", "substr_count, file", "exec file_exists"] {
        assert!(set(value).is_ok(), "{value}");
    }
    for value in ["substr", "exec, strncmp", "exec strncmp,system"] {
        assert!(set(value).unwrap_err()[0].cause.text.contains("cac-lsphp-normalize.php"), "{value}");
    }
}

#[test]
fn unknown_names_get_the_nearest_known_one() {
    for (name, nearest) in [
        ("CAC_LSTEN", "CAC_LISTEN"),
        ("CAC_LOGFORMAT", "CAC_LOG_FORMAT"),
        ("CAC_MEMORY", "CAC_MEMORY_MB"),
        ("CAC_NO_NEW_PRIV", "CAC_NO_NEW_PRIVS"),
        ("CAC_SITELINK", "CAC_SITE_LINK"),
        ("CAC_lsphp", "CAC_LSPHP"),
    ] {
        let warnings = alice(&[(name, "1")]).warnings;
        let expected = format!("did you mean {nearest}?");
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!((warning.variable(), &*warning.hint), (Some(name), expected.as_str()));
    }
    // Anybody's own variables are nobody's mistake, but in the site file nothing else belongs.
    assert_eq!(alice(&[("PHP_LSAPI_CHILDRE", "1"), ("DB_PASSWORD", "x")]).warnings, []);
    let warnings = outcome(&SITE, "OPCACHE_MEMORY = 64\n", ROOT).unwrap().warnings;
    assert!(matches!(&warnings[..], [warning] if warning.hint.contains("OPCACHE_MEMORY_MB")), "{warnings:?}");
}

#[test]
fn the_idle_time_that_stops_containers_is_removed_with_a_warning() {
    let warnings = alice(&[("LSAPI_PGRP_MAX_IDLE", "60")]).warnings;
    assert!(
        matches!(&warnings[..], [warning] if warning.variable() == Some("LSAPI_PGRP_MAX_IDLE")
            && warning.hint.contains("removed")),
        "{warnings:?}"
    );
}

#[test]
fn a_non_root_start_takes_its_own_ids_where_none_are_named() {
    let started_as = |uid, gid| StartedAs { uid, gid };
    let ids = |environment: &[(&str, &str)], started| {
        let site = outcome(&[&[("user", "alice")], environment].concat(), "", started)?.site;
        Ok::<_, Vec<Fault>>((site.uid.as_raw(), site.gid.as_raw()))
    };
    assert_eq!(ids(&[], started_as(7, 8)), Ok((7, 8)));
    assert_eq!(ids(&[("uid", "9")], started_as(7, 8)), Ok((9, 8)));
    assert_eq!(ids(&[("gid", "9")], started_as(7, 8)), Ok((7, 9)));
    assert!(ids(&[], started_as(7, 0)).is_err(), "root's group");
    assert!(ids(&[("uid", "0")], started_as(7, 8)).is_err());
    assert!(ids(&[], ROOT).is_err());
    assert_eq!(ids(&[("uid", "9")], ROOT), Ok((9, 9)));
    assert_eq!(ids(&[("uid", "9"), ("gid", "10")], ROOT), Ok((9, 10)));
}

#[test]
fn the_log_is_as_asked_for_even_when_all_else_is_wrong() {
    let environment: Environment = [("CAC_LOG", "warn"), ("CAC_LOG_FORMAT", "json")].into_iter().collect();
    let (log, settings) = read(&environment, None, ROOT);
    assert!(settings.is_err(), "nobody's site");
    let expected = LogSettings { level: LevelFilter::WARN, json: true };
    assert_eq!(log, expected);
}
