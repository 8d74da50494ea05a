//! Starts cac-lsphp in real containers, from the state that a case names, with the probe as lsphp.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::report::Report;
use crate::support::{docker, made, text};

/// One start: the launcher's words, the environment, and cac-lsphp's arguments.
pub struct Case {
    pub state: String,
    pub arguments: &'static str,
    pub environment: Vec<(String, String)>,
}

impl Case {
    pub fn new(state: &str, environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { state: state.to_owned(), arguments: "", environment: environment.iter().map(owned).collect() }
    }
}

/// How one start ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub exit: i32,
    pub stderr: String,
    /// What the probe saw; `None`: it was not executed.
    pub report: Option<Report>,
}

/// Runs all cases in one container, which is started with `options`.
pub fn run(options: &[&str], cases: &[Case]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    install_programs(folder.path());
    fs::write(folder.path().join("script"), script(cases)).unwrap();
    let volume = format!("{}:/test", folder.path().display());
    let container = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "--volume", &volume];
    text(docker([&container, options, &[&made("CAC_TEST_IMAGE"), "/test/script"]].concat()));
    (0..cases.len()).map(|number| outcome(folder.path(), number)).collect()
}

/// Runs the image as it is: cac-lsphp is the first process. Returns the exit code and the report.
pub fn run_as_first_process(options: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    install_programs(folder.path());
    let volume = format!("{}:/test", folder.path().display());
    let container = ["run", "--rm", "--network", "none", "--volume", &volume];
    let probe = ["--env", "PROBE_REPORT=/test/0.report", "--env", "CAC_LSPHP=/test/probe"];
    let output = docker([&container, &probe[..], options, &[&made("CAC_TEST_IMAGE")]].concat());
    fs::write(folder.path().join("0.stderr"), &output.stderr).unwrap();
    fs::write(folder.path().join("0.exit"), output.status.code().unwrap_or(-1).to_string()).unwrap();
    outcome(folder.path(), 0)
}

/// The site's user's, without the lines that gVisor or an old kernel lacks and those that change in a start.
const OLD_STATUS: &str =
    "Name:\tcac-lsphp\nUid:\t61045\t61045\t61045\t61045\nGid:\t61045\t61045\t61045\t61045\n";

/// Everything as planned, whatever is so: no proof but the kernel's own answers.
const LYING_STATUS: &str = "Uid:\t61045\t61045\t61045\t61045\nGid:\t61045\t61045\t61045\t61045\n\
    Groups:\t61045 \nSigIgn:\t0000000000000000\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
    CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

/// The programs, and the three kinds that have more on disk than the site has.
fn install_programs(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o1777)).unwrap();
    for name in ["probe", "launcher"] {
        compile(name, &folder.join(name));
    }
    fs::write(folder.join("site.ini"), "user = alice\nuid = 61045\n").unwrap();
    fs::write(folder.join("status-of-old"), OLD_STATUS).unwrap();
    fs::write(folder.join("status-that-lies"), LYING_STATUS).unwrap();
    for (name, mode) in [("setuid-root", "4755"), ("setgid-root", "2755"), ("file-capability", "755")] {
        let files = ["probe", name].map(|name| folder.join(name));
        text(Command::new("install").args(["-m", mode]).args(files).output().unwrap());
    }
    let path = folder.join("file-capability");
    let given = Command::new(folder.join("launcher"))
        .arg(format!("file-capability={}", path.display()))
        .args(["--", "/bin/true"])
        .status()
        .unwrap();
    assert!(given.success(), "these tests need root");
}

/// The compiler writes it where it is executed: what this process had open for that, a child of another thread's could
/// still have.
fn compile(name: &str, program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/drop/{name}.c"));
    let status = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o"])
        .args([program, &source])
        .status()
        .expect("cc");
    assert!(status.success(), "compiling {}", source.display());
}

/// Errors of the programs under test are outcomes; any of the script's own ends it.
fn script(cases: &[Case]) -> String {
    let mut script = String::from("set -u\numask 022\n");
    for (number, case) in cases.iter().enumerate() {
        let variables: String = case.environment.iter().map(|(n, v)| format!(" {}", quoted(n, v))).collect();
        script.push_str(&format!(
            "env -i PROBE_REPORT=/test/{number}.report CAC_LSPHP=/test/probe{variables} \
             /test/launcher {} -- /usr/local/bin/cac-lsphp {} </etc/passwd >/test/{number}.stdout 2>/test/{number}.stderr\n\
             echo $? >/test/{number}.exit\n",
            case.state, case.arguments
        ));
    }
    script + "exit 0\n"
}

fn quoted(name: &str, value: &str) -> String {
    format!("{name}='{}'", value.replace('\'', r"'\''"))
}

fn outcome(folder: &Path, number: usize) -> Outcome {
    let read = |kind: &str| fs::read_to_string(folder.join(format!("{number}.{kind}")));
    let exit = read("exit").expect("the case did not run").trim().parse().unwrap();
    let stderr = read("stderr").unwrap();
    assert_ne!(exit, 99, "the launcher could not set the state: {stderr}");
    let report = read("report").ok().map(|json| serde_json::from_str(&json).expect(&json));
    Outcome { exit, stderr, report }
}
