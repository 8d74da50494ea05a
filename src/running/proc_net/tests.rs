use std::fs;

use proptest::prelude::*;

use super::*;

const HEAD: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/// Written down from a little-endian kernel.
#[cfg(target_endian = "little")]
#[test]
fn tcp_lines() {
    let line = |local: &str, state: &str, uid: u32| {
        format!(
            "   7: {local} 00000000:0000 {state} 00000000:00000003 00:00000000 00000000 {uid:5}        0 2881 1 f 100 0 0 10 0\n"
        )
    };
    for (local, address) in [
        ("0100007F:2328", "127.0.0.1:9000"),
        ("00000000:2328", "0.0.0.0:9000"),
        ("00000000000000000000000000000000:FFFF", "[::]:65535"),
        ("B80D0120000000000000000001000000:0050", "[2001:db8::1]:80"),
    ] {
        let listener = Listener {
            address: address.parse().unwrap(),
            uid: Some(4_294_967_294),
            waiting: Some(3),
            backlog: None,
            inode: Some(2881),
        };
        assert_eq!(tcp_line(line(local, "0A", 4_294_967_294).as_bytes()), Some(listener));
        assert_eq!(tcp_line(line(local, "01", 0).as_bytes()), None, "established");
        let connection = Connection { local: address.parse().unwrap(), inode: 2881 };
        assert_eq!(tcp_connection(line(local, "01", 0).as_bytes()), Some(connection.clone()));
        assert_eq!(tcp_connection(line(local, "08", 0).as_bytes()), Some(connection), "its peer is gone");
        assert_eq!(tcp_connection(line(local, "0A", 0).as_bytes()), None, "a listener");
    }
    assert_eq!(tcp_line(HEAD.as_bytes()), None);
}

#[test]
fn unix_lines() {
    let listener = |path: &str| Listener {
        address: Address::Unix(path.into()),
        uid: None,
        waiting: None,
        backlog: None,
        inode: None,
    };
    for (line, expected) in [
        ("0000: 00000002 00000000 00010000 0001 01 22881 /run/a b.sock\n", Some(listener("/run/a b.sock"))),
        ("0000: 00000002 00000000 00010000 0001 01   881 /run/x", Some(listener("/run/x"))),
        ("0000: 00000003 00000000 00000000 0001 03 22881 /run/connected\n", None),
        ("0000: 00000002 00000000 00010000 0001 01 22881 @/abstract\n", None),
        ("0000: 00000002 00000000 00010000 0001 01 22881\n", None),
        ("Num       RefCount Protocol Flags    Type St Inode Path\n", None),
    ] {
        assert_eq!(unix_line(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn unix_connections() {
    let connected = "0000: 00000003 00000000 00000000 0001 03 22881 /run/a b.sock\n";
    let expected = Connection { local: Address::Unix("/run/a b.sock".into()), inode: 22881 };
    assert_eq!(unix_connection(connected.as_bytes()), Some(expected));
    for line in ["0000: 00000003 00000000 00000000 0001 03 22881\n", &connected.replace(" 03 ", " 01 ")] {
        assert_eq!(unix_connection(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn of_a_table_of_ten_thousand_connections_only_the_start_is_read_for_listeners() {
    let proc = tempfile::tempdir().unwrap();
    fs::create_dir(proc.path().join("net")).unwrap();
    let connection =
        "   1: 0100007F:1F90 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 1\n";
    let listener =
        "   1: 00000000:2328 00000000:0000 0A 00000000:0000000B 00:00000000 00000000     9        0 1\n";
    let table = HEAD.to_owned() + listener + &connection.repeat(10_000) + listener;
    fs::write(proc.path().join("net/tcp"), table).unwrap();
    let mut seen = Vec::new();
    listeners(proc.path(), Family::Inet { port: 9000 }, &mut |listener| {
        seen.push(listener);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen.iter().map(|seen| seen.waiting.unwrap()).collect::<Vec<_>>(), [11]);
    let mut connections = 0;
    self::connections(proc.path(), Family::Inet { port: 9000 }, &mut |_| {
        connections += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(connections, 10_000);
}

#[test]
fn only_ipv6_may_be_absent() {
    let mut see = |_| ControlFlow::Continue(());
    let nowhere = Path::new("/nonexistent");
    assert!(listeners(nowhere, Family::Inet6 { port: 1 }, &mut see).is_ok());
    assert!(listeners(nowhere, Family::Inet { port: 1 }, &mut see).is_err());
    assert!(listeners(nowhere, Family::Unix, &mut see).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(line: Vec<u8>) {
        let _ = (tcp_line(&line), unix_line(&line), tcp_connection(&line), unix_connection(&line));
    }

    #[test]
    fn almost_lines_are_parsed(line in "1: [0-9A-G:]{0,40} [0-9A-F:]{0,14} 0A [0-9A-G:]{0,20} 0 0 [0-9]{0,12}") {
        let _ = tcp_line(line.as_bytes());
    }
}
