//! `/proc/net/tcp`, `tcp6` and `unix`, line by line: they have a line for every connection. They do not
//! show how many may wait.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::socket::{Family, Listener};
use crate::address::Address;

const TCP_LISTEN: &str = "0A";
/// `__SO_ACCEPTCON` in the flags of `/proc/net/unix`.
const ACCEPTS: u32 = 1 << 16;

type Parse = fn(&[u8]) -> Option<Listener>;

/// Hands every listening socket of `family` to `see` until that has seen enough.
pub(super) fn listeners(
    proc: &Path,
    family: Family,
    see: &mut dyn FnMut(Listener) -> ControlFlow<()>,
) -> io::Result<()> {
    let (name, parse) = match family {
        Family::Inet { .. } => ("net/tcp", tcp_line as Parse),
        Family::Inet6 { .. } => ("net/tcp6", tcp_line as Parse),
        Family::Unix => ("net/unix", unix_line as Parse),
    };
    let file = match File::open(proc.join(name)) {
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound && matches!(family, Family::Inet6 { .. }) => {
            return Ok(());
        }
        file => file?,
    };
    let mut file = BufReader::with_capacity(16 << 10, file);
    let mut line = Vec::with_capacity(256);
    while file.read_until(b'\n', &mut line)? > 0 {
        if parse(&line).is_some_and(|listener| see(listener).is_break()) {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// `0: 0100007F:2328 00000000:0000 0A 00000000:00000003 00:00000000 00000000 61045 …`: number,
/// local and remote address, state, send and receive queue, timer, retransmissions, uid, timeouts, inode. Of a
/// listening socket the receive queue is what waits to be accepted.
fn tcp_line(line: &[u8]) -> Option<Listener> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != TCP_LISTEN {
        return None;
    }
    let (_, waiting) = fields.next()?.split_once(':')?;
    Some(Listener {
        address: Address::Inet(socket_address(local)?),
        uid: fields.nth(2)?.parse().ok(),
        waiting: Some(u32::from_str_radix(waiting, 16).ok()?),
        backlog: None,
        inode: fields.nth(1).and_then(|inode| inode.parse().ok()),
    })
}

/// `0100007F:2328`: the address as 32-bit words in the machine's byte order.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut words = [0; 4];
    let mut used = words.iter_mut();
    for word in ip.as_bytes().chunks(8) {
        *used.next()? = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
    }
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(a).into(),
        32 => {
            let bytes = [a, b, c, d].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `ffff…: 00000002 00000000 00010000 0001 01 22881 /run/lsphp.sock`: number, references, protocol,
/// flags, type, state, inode, path. Neither uid nor queue.
fn unix_line(line: &[u8]) -> Option<Listener> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let flags = line.split(|byte| *byte == b' ').nth(3)?;
    if u32::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()? & ACCEPTS == 0 {
        return None;
    }
    // The inode is padded with blanks, and the path may hold some; an abstract name starts with `@`.
    let mut rest = line;
    for _ in 0..7 {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        rest = rest.get(end..)?.trim_ascii_start();
    }
    let path = Some(rest).filter(|path| path.starts_with(b"/"))?;
    Some(Listener {
        address: Address::Unix(OsStr::from_bytes(path).into()),
        uid: None,
        waiting: None,
        backlog: None,
        inode: None,
    })
}

#[cfg(test)]
mod tests {
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
            (
                "0000: 00000002 00000000 00010000 0001 01 22881 /run/a b.sock\n",
                Some(listener("/run/a b.sock")),
            ),
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
    fn a_table_of_ten_thousand_connections_is_read_to_its_end() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("net")).unwrap();
        let connection =
            "   1: 0100007F:1F90 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 1\n";
        let listener =
            "   1: 00000000:2328 00000000:0000 0A 00000000:0000000B 00:00000000 00000000     9        0 1\n";
        let table = HEAD.to_owned() + &connection.repeat(10_000) + listener;
        fs::write(proc.path().join("net/tcp"), table).unwrap();
        let mut seen = Vec::new();
        listeners(proc.path(), Family::Inet { port: 9000 }, &mut |listener| {
            seen.push(listener);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen.iter().map(|seen| seen.waiting.unwrap()).collect::<Vec<_>>(), [11]);
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
            let _ = (tcp_line(&line), unix_line(&line));
        }

        #[test]
        fn almost_lines_are_parsed(line in "1: [0-9A-G:]{0,40} [0-9A-F:]{0,14} 0A [0-9A-G:]{0,20} 0 0 [0-9]{0,12}") {
            let _ = tcp_line(line.as_bytes());
        }
    }
}
