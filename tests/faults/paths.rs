//! While the process is root it names nothing below the home by its path, and the home only to open it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::sandbox::{Begin, Sandbox};
use crate::trace::{self, Call};

const HOME: &str = "/home/alice";

#[test]
fn root_names_nothing_below_the_home_by_path() {
    let sandbox = Sandbox::enter();
    let plants: [(&str, fn()); 3] = [
        ("nothing", || {}),
        ("missing directories", || fs::remove_dir_all("/home/alice/public_html").unwrap()),
        ("links", || {
            symlink("/etc", "/home/alice/logs").unwrap();
        }),
    ];
    let refusals: [&[&str]; 3] =
        [&[], &["-e", "inject=openat2:error=ENOSYS"], &["-e", "inject=openat2:error=EPERM"]];
    for begin in [Begin::First, Begin::Again] {
        for refusal in refusals {
            for (what, plant) in plants {
                sandbox.reset(begin);
                if begin == Begin::First {
                    plant();
                }
                let boot = sandbox.boot_traced(refusal);
                assert!(boot.output.status.success(), "{what}: {:?}", boot.output);
                check(&trace::of_boot(&sandbox.trace_file()), refusal.is_empty());
            }
        }
    }
}

fn check(calls: &[Call], with_openat2: bool) {
    let drop = calls.iter().position(|call| call.name == "setresuid" && call.text.ends_with("= 0")).unwrap();
    let (as_root, as_site_user) = calls.split_at(drop);
    let offenders: Vec<_> =
        as_root.iter().filter(|call| names_the_home(call) && !opens_the_home_itself(call)).collect();
    assert!(offenders.is_empty(), "{offenders:#?}");
    // The check can see what it is looking for: the site user may use paths, and does.
    assert!(as_site_user.iter().any(names_the_home), "{as_site_user:#?}");
    assert!(as_root.iter().any(|call| call.name == "fchownat" || call.name == "newfstatat"));
    for call in as_root {
        let below_a_descriptor =
            call.text.split(',').next().is_some_and(|first| first.parse::<u32>().is_ok());
        if !below_a_descriptor || !["openat", "openat2"].contains(&call.name.as_str()) {
            continue;
        }
        let name = call.text.split('"').nth(1).unwrap();
        assert!(!name.contains('/') && name != "..", "{call:?}");
        if call.name == "openat2" {
            assert!(call.text.contains("RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH"), "{call:?}");
        } else if name != "." {
            assert!(!with_openat2 && call.text.contains("O_NOFOLLOW"), "{call:?}");
        }
    }
}

/// The home's own name lies in a directory of the system's; on the way there no link is followed.
fn opens_the_home_itself(call: &Call) -> bool {
    let itself = format!("AT_FDCWD, \"{HOME}\", ");
    call.name == "openat2"
        && call.text.starts_with(&itself)
        && call.text.contains("O_PATH|O_DIRECTORY")
        && call.text.contains("RESOLVE_NO_SYMLINKS")
}

/// Whether a path argument is the home or below it. What a link shall hold is no such argument.
fn names_the_home(call: &Call) -> bool {
    let mut quoted = call.text.split('"').skip(1).step_by(2);
    match call.name.as_str() {
        "write" | "read" | "execve" => false,
        "symlinkat" => quoted.nth(1).is_some_and(|path| path.starts_with(HOME)),
        "readlinkat" => quoted.next().is_some_and(|path| path.starts_with(HOME)),
        _ => quoted.any(|path| path.starts_with(HOME)),
    }
}
