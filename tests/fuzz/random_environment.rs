//! Ten thousand random environments: each holds what the fuzz target of environments checks, and no output
//! ever holds the value of a variable that is not ours.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Output};

use cac_lsphp::cgroup::Limits;
use cac_lsphp::fault::Fault;
use cac_lsphp::identity::StartedAs;
use cac_lsphp::lsphp::Lsphp;
use cac_lsphp::plan::{self, Inputs, Plan};
use cac_lsphp::settings::environment::Environment;
use cac_lsphp::settings::{self, Settings, variable};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::checks;

type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// In the value of every variable that is not ours.
const SECRET: &str = "s3cr3t-pa55w0rd";

const ROOT: StartedAs = StartedAs { uid: 0, gid: 0 };

/// The environments, the same at every run.
fn environments(count: usize) -> Vec<Variables> {
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = environment();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A site that would start, or some of it, with up to seven more variables, right or wrong, and strangers.
fn environment() -> impl Strategy<Value = Variables> {
    let site = [("user", "alice"), ("uid", "61045"), ("domain", "example.com")];
    let site = site.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).to_vec();
    let ours = proptest::collection::vec((our_name(), value()), 0..8);
    let kept = prop_oneof![3 => Just(3), 1 => 0..3usize];
    let strangers = proptest::collection::vec(stranger(), 0..4);
    (ours, strangers, Just(site), kept).prop_map(|(ours, strangers, site, kept)| {
        // The first of a name counts, so that what is ours is spoilt only when it comes first.
        site.into_iter().take(kept).chain(ours).chain(strangers).collect()
    })
}

fn our_name() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&str> = variable::rows().flat_map(|row| row.names).copied().collect();
    prop_oneof![
        8 => proptest::sample::select(names).prop_map(|name| name.as_bytes().to_vec()),
        1 => "CAC_INI_[a-z_.]{0,12}".prop_map(String::into_bytes),
        1 => "CAC_[A-Z_]{0,8}".prop_map(String::into_bytes),
    ]
}

/// Right, nearly right, wrong, and no text at all.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "",
        " ",
        "0",
        "1",
        "2",
        "on",
        "off",
        "yes",
        "-1",
        "64",
        "200M",
        "2G",
        "1024",
        "61045",
        "4294967294",
        "4294967295",
        "4294967296",
        "99999999999999999999999999999999999999999",
        "alice",
        "root",
        "..",
        "example.com",
        "*.example.com",
        "*",
        "a/b",
        "0.0.0.0:9000",
        "[::]:9000",
        "/run/lsphp.sock",
        ":9000",
        "debug",
        "json",
        "text",
        "${HOME}",
        "'",
        "it's \"it\"",
        "line\nbreak",
        "/opt/lsphp",
        "\u{1b}[2J",
    ];
    prop_oneof![
        6 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        1 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(1..=255u8, 0..40),
    ]
}

/// What a site keeps in its environment: names of any bytes, a secret in each value.
fn stranger() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let known =
        ["WORDPRESS_DB_PASSWORD", "PATH", "HOME", "USER", "LD_PRELOAD", "TZ", "uidx", "User", "cac_log"];
    let name = prop_oneof![
        3 => proptest::sample::select(known.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        1 => "[A-Z_]{1,12}".prop_map(|name| format!("X_{name}").into_bytes()),
        1 => proptest::collection::vec(1..=255u8, 1..12).prop_map(|mut name| {
            name.retain(|byte| *byte != b'=');
            name.insert(0, b'~');
            name
        }),
    ];
    (name, value()).prop_map(|(name, value)| (name, [&value, SECRET.as_bytes(), &value].concat()))
}

fn as_environment(variables: &Variables) -> Environment {
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    variables.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn plan(settings: &Settings, environment: &Environment) -> Plan {
    let limits = Limits::default();
    let lsphp = Lsphp::Found { path: "/bin/lsphp".into() };
    plan::decide(Inputs {
        settings,
        environment,
        limits: &limits,
        lsphp: &lsphp,
        somaxconn: None,
        suppose_mib: None,
    })
}

fn assert_line(line: &str, variables: &Variables) {
    let told = format!("{line:?} for {variables:?}");
    assert!(!line.trim().is_empty() && !line.contains(char::is_control), "no line for a person: {told}");
    assert!(!line.contains(SECRET), "a secret: {told}");
}

#[test]
fn ten_thousand_give_a_plan_or_faults_and_no_secret() {
    let (mut plans, mut refusals) = (0, 0);
    for variables in environments(10_000) {
        checks::environment(&fuzz_input(&variables));
        let environment = as_environment(&variables);
        match settings::read(&environment, None, ROOT).1 {
            Ok(settings) => {
                plans += 1;
                let plan = plan(&settings, &environment);
                let told = plan.to_string() + &serde_json::to_string(&plan).unwrap();
                assert!(!told.contains(SECRET), "a secret: {variables:?}\n{told}");
                assert_passed_on(&plan, &variables);
            }
            Err(faults) => {
                refusals += 1;
                let told = faults.iter().map(Fault::to_string).collect::<String>();
                assert!(!told.contains(SECRET), "a secret: {variables:?}\n{told}");
            }
        }
    }
    // Neither half of the test may wither unseen.
    assert!(plans > 1_000 && refusals > 1_000, "{plans} plans, {refusals} refusals");
}

/// As root: a byte of 0, then what `/proc/PID/environ` would hold.
fn fuzz_input(variables: &Variables) -> Vec<u8> {
    let entries = variables.iter().map(|(name, value)| [name, &b"="[..], value, b"\0"].concat());
    std::iter::once(vec![0]).chain(entries).flatten().collect()
}

/// What is not shown still reaches PHP, byte for byte, unless the plan sets that name.
fn assert_passed_on(plan: &Plan, variables: &Variables) {
    let reaching: Vec<_> = plan.exec.environment.iter().collect();
    for (position, (name, value)) in variables.iter().enumerate() {
        let is_first = variables[..position].iter().all(|(earlier, _)| earlier != name);
        let is_secret = value.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        let is_set = std::str::from_utf8(name).is_ok_and(|name| plan.exec.environment.set.contains_key(name));
        if is_first && is_secret && !is_set && !name.starts_with(b"CAC_") {
            let pair = (OsStr::from_bytes(name), OsStr::from_bytes(value));
            assert!(reaching.contains(&pair), "{pair:?} does not reach PHP");
        }
    }
}

/// The real program, which reads the environment that the kernel gave it.
#[test]
fn three_hundred_through_the_program() {
    let (mut plans, mut refusals) = (0, 0);
    for (number, variables) in environments(300).into_iter().enumerate() {
        let format = ["text", "json"][number % 2];
        let output = run(&variables, &["plan", "--format", format]);
        let (stdout, stderr) = (lossy(&output.stdout), lossy(&output.stderr));
        assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET), "a secret: {variables:?}\n{stderr}");
        match output.status.code() {
            Some(0) => {
                plans += 1;
                assert!(stderr.is_empty() && stdout.contains("/home/"), "{stdout}{stderr}");
                if format == "json" {
                    serde_json::from_str::<serde_json::Value>(&stdout).unwrap();
                }
            }
            Some(78) => {
                refusals += 1;
                assert!(stdout.is_empty() && !stderr.is_empty(), "{variables:?}: {stdout}{stderr}");
                stderr.lines().for_each(|line| assert_line(line, &variables));
                assert_eq!(stderr.lines().count(), stderr.matches("cac-lsphp: ").count(), "{stderr}");
            }
            other => panic!("{other:?} for {variables:?}: {stderr}"),
        }
    }
    assert!(plans > 30 && refusals > 30, "{plans} plans, {refusals} refusals");
}

fn run(variables: &Variables, arguments: &[&str]) -> Output {
    let named = |(name, _): &&(Vec<u8>, Vec<u8>)| !name.is_empty() && name != b"CAC_SITE_FILE";
    let text = |bytes: &[u8]| std::ffi::OsString::from_vec(bytes.to_vec());
    // Command keeps the last of a name, the program the first.
    let pairs = variables.iter().rev().filter(named).map(|(name, value)| (text(name), text(value)));
    Command::new(env!("CARGO_BIN_EXE_cac-lsphp")).env_clear().envs(pairs).args(arguments).output().unwrap()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
