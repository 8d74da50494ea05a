//! A unix socket on a volume that the front end shares.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::{Client, PATIENCE, Running, Site, UID, as_front_end, docker, text, wait_until};

const FRONT_END: u32 = 7341;

/// alice's site, with `directory` for the sockets.
fn site(directory: &Path) -> Site {
    let volume = format!("{}:/sockets", directory.display());
    Site::new()
        .page("index.php", "<?php echo 'served';")
        .options(["-v", &volume])
        .env("CAC_LISTEN", "/sockets/alice.sock")
        .env("CAC_SOCKET_GID", &FRONT_END.to_string())
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

fn is_served(site: &Running, socket: &Path) {
    wait_until(|| {
        let check = docker(["exec", &site.name, "cac-lsphp", "healthcheck"]);
        if check.status.success() { Ok(()) } else { Err(site.logs()) }
    });
    let mut client = Client::new(socket.display().to_string().parse().unwrap());
    let answer = client.fetch(&as_front_end("index.php"), None, PATIENCE).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"served"[..]), "{}", site.logs());
}

#[test]
fn the_front_ends_group_can_connect_and_a_stale_socket_is_replaced() {
    let directory = directory();
    let socket = directory.path().join("alice.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let caps = ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID"];
    let site = site(directory.path()).options(caps).launch();
    is_served(&site, &socket);
    let found = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (UID, FRONT_END, 0o660));
    let said = site.exec(["cac-lsphp", "healthcheck"]);
    assert!(said.contains("queue 0 of 511"), "{said}");

    text(docker(["restart", "-t", "1", &site.name]));
    is_served(&site, &socket);
}

#[test]
fn what_is_not_a_stale_socket_in_a_directory_of_roots_is_refused() {
    let directory = directory();
    let socket = directory.path().join("alice.sock");
    fs::write(&socket, "precious").unwrap();
    let ended = site(directory.path()).run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("replacing /sockets/alice.sock: it is not a socket"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");

    fs::remove_file(&socket).unwrap();
    let _somebody = UnixListener::bind(&socket).unwrap();
    let ended = site(directory.path()).run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("somebody listens there"), "{}", ended.stderr);

    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let ended = site(directory.path()).run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.stderr);
    assert!(ended.stderr.contains("trusting /sockets: its mode 0777"), "{}", ended.stderr);
}
