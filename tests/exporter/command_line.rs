//! What is wrong is said at once, with the way out.

use std::net::TcpListener;

use super::*;

/// The exit code of the exporter with `arguments`, and what it says on stderr.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(made("CAC_TEST_EXPORTER"));
    let output = run(command.args(arguments));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_done_is_refused_with_the_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (other, missing) = (path("other"), path("missing"));
    fs::write(&other, "not ours").unwrap();
    for (arguments, code, words) in [
        (&["--listen", "localhost:9920"][..], 64, "an IP address and a port, such as 127.0.0.1:9920"),
        (&["--listen", "127.0.0.1"], 64, "an IP address and a port"),
        (&["--listen", &taken], 71, "Address already in use (os error 98); name another with --listen"),
        (&["--listen", &taken, "--state", &missing], 71, "name another with --listen"),
        (&["--listen", "127.0.0.1:0", "--state", &other], 78, "it is another file"),
        (&["list", "--state", &other], 78, "it is another file"),
        (&["list", "--state", &missing], 78, "No such file"),
        (&["list", "--sort", "size"], 64, "possible values: user, domain, workers"),
        (&["lits"], 64, "'list'"),
    ] {
        let (ended, said) = refused(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        // Those of the command line are clap's.
        assert!(code == 64 || said.lines().count() == 1, "{arguments:?}: {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "one that does not serve writes nothing");
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
}
