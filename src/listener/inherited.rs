//! A listener that somebody handed over, as sd_listen_fds(3) describes it: systemd and podman do.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockType, getsockopt, sockopt};

use crate::failure::Failure;
use crate::fault::Object;
use crate::settings::environment::Environment;
use crate::sys;

/// Takes the one listener that was handed over to this process, descriptor 3.
///
/// # Errors
/// It is for another process, or not a listening stream socket.
pub fn take(environment: &Environment) -> Result<OwnedFd, Failure> {
    const HINT: &str = "hand one listening stream socket over, or unset it";
    let pid = environment.get("LISTEN_PID").unwrap_or_default().to_string_lossy().into_owned();
    if pid != std::process::id().to_string() {
        let own = std::process::id();
        let cause = format!("LISTEN_PID is {pid:?}, and this process is {own}");
        return Err(Failure::refused("reading", Object::variable("LISTEN_FDS"), cause, HINT));
    }
    let taken = sys::take_handed_over().and_then(|descriptor| judge(&descriptor).map(|()| descriptor));
    taken.map_err(|cause| Failure::refused("taking descriptor 3", Object::Nothing, cause, HINT))
}

fn judge(descriptor: &impl AsFd) -> io::Result<()> {
    let no_socket = |errno| match errno {
        Errno::ENOTSOCK => io::Error::other("it is not a socket"),
        errno => errno.into(),
    };
    if getsockopt(descriptor, sockopt::SockType).map_err(no_socket)? != SockType::Stream {
        return Err(io::Error::other("it is not a stream socket"));
    }
    if !getsockopt(descriptor, sockopt::AcceptConn)? {
        return Err(io::Error::other("it does not listen"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_a_listening_stream_socket_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(judge(&listener).is_ok());
        let folder = tempfile::tempdir().unwrap();
        assert!(judge(&UnixListener::bind(folder.path().join("s")).unwrap()).is_ok());

        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for (fault, expected) in [
            (judge(&connected), "does not listen"),
            (judge(&UdpSocket::bind("127.0.0.1:0").unwrap()), "not a stream"),
            (judge(&UnixDatagram::unbound().unwrap()), "not a stream"),
            (judge(&std::fs::File::open("/dev/null").unwrap()), "not a socket"),
        ] {
            let fault = fault.unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn what_is_for_another_process_is_refused() {
        let own = std::process::id().to_string();
        for pid in [None, Some(""), Some("1"), Some("x")] {
            assert_ne!(pid, Some(own.as_str()));
            let pid = pid.map(|pid| ("LISTEN_PID", pid));
            let refused = take(&pid.into_iter().chain([("LISTEN_FDS", "1")]).collect()).unwrap_err();
            assert_eq!((refused.exit, refused.faults[0].variable()), (Exit::Refused, Some("LISTEN_FDS")));
            assert!(refused.faults[0].cause.text.starts_with("LISTEN_PID is "), "{refused}");
        }
    }
}
