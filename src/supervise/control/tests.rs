use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

fn specification() -> Specification {
    Specification {
        lsphp: "/opt/lsphp".into(),
        environment: vec![
            ("A".into(), OsString::from_vec(vec![0xff, b'x'])),
            ("LONG".into(), "x".repeat(1 << 20).into()),
        ],
        address_space: AddressSpace { soft_mib: Some(1024), hard_mib: None },
        size: Size { workers: 7, fixed_mib: 80, estimate_mib: 130, budget_mib: 1024 },
        probe_mib: 80,
        supervision: SupervisionPlan { stop_timeout_s: 8, reload_grace_s: 2, watch_memory_s: None },
    }
}

#[test]
fn a_message_and_its_descriptor_arrive_as_they_were_sent() {
    let (mut one, other) = UnixStream::pair().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("private");
    let listener: OwnedFd = UnixListener::bind(&path).unwrap().into();
    let sender = std::thread::spawn(move || {
        send(&mut one, &Request::Prove(Box::new(specification())), Some(&listener)).unwrap();
        send(&mut one, &Request::Replace, None).unwrap();
    });
    let (request, descriptor) = receive_request(&other, LIMIT).unwrap();
    assert_eq!(request, Request::Prove(Box::new(specification())));
    let listener = UnixListener::from(descriptor.unwrap());
    let _client = UnixStream::connect(&path).unwrap();
    listener.accept().unwrap();
    assert_eq!(receive_request(&other, LIMIT).unwrap().0, Request::Replace);
    sender.join().unwrap();
    assert!(receive_request(&other, LIMIT).is_err(), "the end is an error");
}

#[test]
fn what_is_too_long_or_makes_no_sense_is_refused() {
    for bytes in [&u32::MAX.to_le_bytes()[..], &[2, 0, 0, 0, b'{', b'x'], &[9, 0, 0, 0, b'{'], &[1, 0]] {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(bytes).unwrap();
        drop(one);
        assert!(receive_answer(&other, LIMIT).is_err(), "{bytes:?}");
    }
}

#[test]
fn numbers_that_no_plan_has_are_refused() {
    let most = Size { workers: LARGEST, fixed_mib: LARGEST, estimate_mib: LARGEST, budget_mib: u64::MAX };
    let sizes = [
        (most, true),
        (Size { workers: LARGEST + 1, ..most }, false),
        (Size { fixed_mib: u32::MAX, ..most }, false),
        (Size { estimate_mib: u32::MAX, ..most }, false),
    ];
    for (size, is_taken) in sizes {
        let (mut one, other) = UnixStream::pair().unwrap();
        let specification = Specification { size, environment: Vec::new(), ..specification() };
        send(&mut one, &Request::Prove(Box::new(specification)), None).unwrap();
        assert_eq!(receive_request(&other, LIMIT).is_ok(), is_taken, "{size:?}");
    }
}

#[test]
fn no_descriptor_stays_open_however_many_come() {
    let (one, other) = UnixStream::pair().unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    let descriptors = [write.as_raw_fd(); MOST_DESCRIPTORS];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let length = [IoSlice::new(&[1, 0, 0, 0, b'x'])];
    sendmsg::<()>(one.as_raw_fd(), &length, &control, MsgFlags::empty(), None).unwrap();
    assert!(receive_request(&other, LIMIT).is_err());
    drop(write);
    // The end of the pipe comes when nobody has the other one any more.
    let mut end = [PollFd::new(read.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut end, PollTimeout::ZERO).unwrap(), 1);
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let (mut one, other) = UnixStream::pair().unwrap();
    assert!(receive_answer(&other, Duration::from_millis(20)).is_err());
    one.write_all(&[200, 0]).unwrap();
    assert!(receive_answer(&other, Duration::from_millis(20)).is_err());
}
