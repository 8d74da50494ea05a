//! The few system calls that no crate of ours wraps, or not as they are needed: the only module with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Pid, SysconfVar, sysconf};
use nix::{setsockopt_impl, sockopt_impl};

/// Marks every descriptor above 2 to be closed at exec.
///
/// # Errors
/// `ENOSYS` before Linux 5.11, or `EPERM` from a seccomp profile that does not know the call.
pub fn close_descriptors_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes three integers and touches no memory; with CLOSE_RANGE_CLOEXEC it
    // closes nothing now, so no descriptor that somebody owns goes away.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Marks one descriptor to be closed at exec.
pub fn close_on_exec(descriptor: i32) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer and touches no memory; a number that is not a descriptor
    // is answered with EBADF.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// An instruction of a classic BPF program, see bpf(2) and linux/filter.h.
pub type BpfInstruction = libc::sock_filter;

/// Starts to listen. Not by nix, whose backlog ends at 4096.
pub fn start_listening(socket: BorrowedFd, backlog: u32) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: the call takes two integers and touches no memory.
    Errno::result(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop).map_err(io::Error::from)
}

/// A descriptor of our own for what was handed over as descriptor 3.
///
/// # Errors
/// `EBADF` where nothing was.
pub fn take_handed_over() -> io::Result<OwnedFd> {
    const HANDED_OVER: RawFd = 3;
    // SAFETY: integers only; a number that is not a descriptor is answered with EBADF.
    let copy = unsafe { libc::fcntl(HANDED_OVER, libc::F_DUPFD_CLOEXEC, HANDED_OVER + 1) };
    // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
    Errno::result(copy).map(|copy| unsafe { OwnedFd::from_raw_fd(copy) }).map_err(io::Error::from)
}

/// Makes `descriptor` descriptor 3 too, where it stays open at exec. What was there is closed.
pub fn keep_as_descriptor_3(descriptor: BorrowedFd) -> io::Result<()> {
    const KEPT: libc::c_int = 3;
    if descriptor.as_raw_fd() == KEPT {
        return Ok(fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)?);
    }
    // SAFETY: two integers. Whoever owns descriptor 3 loses it, which is why this is for the moment
    // before exec, when nothing of this process is used any more.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), KEPT) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

sockopt_impl!(LeastTtl, SetOnly, libc::IPPROTO_IP, libc::IP_MINTTL, libc::c_int);
sockopt_impl!(LeastHops, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, libc::c_int);

/// Has a TCP socket drop every packet whose time to live, or hop limit, is less: IP_MINTTL of ip(7), which a
/// socket for both families has beside IPV6_MINHOPCOUNT.
pub fn accept_only_ttl(socket: BorrowedFd, least: libc::c_int, ipv6: bool) -> io::Result<()> {
    setsockopt(&socket, LeastTtl, &least)?;
    if ipv6 { Ok(setsockopt(&socket, LeastHops, &least)?) } else { Ok(()) }
}

/// Puts a program on the reuseport group of `socket`, in the place of the one before: what it returns for a
/// new connection's packet is the number of the listener that gets it.
pub fn attach_reuseport_program(socket: BorrowedFd, program: &[BpfInstruction]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // The kernel copies the instructions, and writes nothing.
    Ok(setsockopt(&socket, sockopt::AttachReusePortCbpf, &program)?)
}

/// What the kernel tells of a TCP socket (TCP_INFO of tcp(7)). Of one that listens `tcpi_unacked` is how many connections
/// wait to be accepted, and `tcpi_sacked` how many may.
pub fn tcp_info(socket: BorrowedFd) -> io::Result<libc::tcp_info> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes into `info`, which has room for them and outlives
    // the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    // SAFETY: all bytes were zero, of which every field has a value, or were written by the kernel.
    Ok(unsafe { info.assume_init() })
}

/// A descriptor of our own for what process `pid` has as `descriptor`: pidfd_getfd(2).
///
/// # Errors
/// `ESRCH` and `EBADF`: there is none. `EPERM` without CAP_SYS_PTRACE, or from a seccomp profile; `ENOSYS` before Linux 5.6.
pub fn descriptor_of(pid: u32, descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: two integers; a pid that nobody has is answered with ESRCH.
    let process = new_descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: three integers; a number that is no descriptor there is answered with EBADF.
    new_descriptor(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

/// What a system call returned that makes a descriptor.
fn new_descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(Errno::result(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Rows and columns of a terminal.
///
/// # Errors
/// `ENOTTY`: it is none.
pub fn window_size(terminal: BorrowedFd) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes to `size`, which outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// Takes on a descriptor that has just come over a unix socket.
pub fn own_received(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has made this descriptor for the message that was received, so nobody else
    // in this process owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Lets go of the pages of this program's code and constants, most of which a start needs once: those that are
/// needed again come back from the file, one minor fault for 64 KiB.
pub fn forget_code() -> io::Result<()> {
    unsafe extern "C" {
        // The linker's: where the program begins, and where its code ends.
        static __executable_start: u8;
        static etext: u8;
    }
    let page = sysconf(SysconfVar::PAGE_SIZE)?.ok_or(Errno::ENOSYS)?;
    let page = usize::try_from(page).map_err(io::Error::other)?;
    let start = (&raw const __executable_start).addr();
    let end = (&raw const etext).addr() / page * page;
    let length = end.saturating_sub(start);
    // SAFETY: what lies between the two is mapped from the file, read-only and private, and never written to:
    // the kernel gives the same bytes again at the next access.
    let result = unsafe {
        libc::madvise((&raw const __executable_start).cast_mut().cast(), length, libc::MADV_DONTNEED)
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Has `in_child` run between fork and exec; its error comes back from `spawn`.
pub fn before_exec(command: &mut Command, in_child: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the process that supervises has one thread, so the child may do whatever its parent could:
    // no lock can be held by a thread that is not there.
    unsafe { command.pre_exec(in_child) };
}

/// The next child that has ended, and the code that a shell has for its end; `None`: there is none. Not by nix, which
/// takes a child that a real-time signal ended off the kernel's list and then fails: it has no name for that signal.
pub fn reap() -> Option<(Pid, u8)> {
    const SIGNALLED: libc::c_int = 128;
    let mut status = 0;
    // SAFETY: the kernel writes to `status`, which outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let code = if libc::WIFSIGNALED(status) {
        SIGNALLED | libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    (pid > 0).then(|| (Pid::from_raw(pid), u8::try_from(code).unwrap_or(u8::MAX)))
}

/// The kernel's own `struct sigaction`, all zero: SIG_DFL, no flags, empty mask. glibc's differs.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// Puts the signals of a mask, as `SigIgn` of `/proc/self/status` shows it, back to their default
/// action, the two that glibc reserves for itself included. Handlers need nothing: exec resets them.
pub fn default_signal_actions(ignored: u64) -> io::Result<()> {
    let default = KernelSigaction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in (1..=u64::BITS).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        // SAFETY: `default` has the layout that rt_sigaction(2) reads and outlives the call, the
        // old action is not asked for, and SIG_DFL runs no code of this process.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                std::ptr::null::<KernelSigaction>(),
                size_of::<u64>(),
            )
        };
        Errno::result(result)?;
    }
    Ok(())
}

/// Capabilities as bit masks, the lowest bit for number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// What this thread may do, as capget(2) says it.
pub fn capability_sets() -> io::Result<CapabilitySets> {
    // _LINUX_CAPABILITY_VERSION_3 and the calling thread, see linux/capability.h.
    let mut header = [0x2008_0522_u32, 0];
    // Two structs of effective, permitted and inheritable, the lower halves first.
    let mut data = [[0_u32; 3]; 2];
    // SAFETY: the kernel writes to the two integers of the header, where it does not know the version, and
    // six integers of data.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    let [low, high] = data;
    let [effective, permitted, inheritable] = [0, 1, 2].map(|set: usize| {
        let half = |half: [u32; 3]| half.get(set).copied().map(u64::from).unwrap_or_default();
        half(high) << 32 | half(low)
    });
    Ok(CapabilitySets { effective, permitted, inheritable })
}

/// Takes one capability, by number, out of the bounding set.
pub fn drop_from_bounding_set(capability: u32) -> io::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability, 0).map(drop)
}

/// Whether a capability, by number, is in the bounding set.
///
/// # Errors
/// `EINVAL` for one that the kernel does not know.
pub fn is_in_bounding_set(capability: u32) -> io::Result<bool> {
    Ok(prctl(libc::PR_CAPBSET_READ, capability, 0)? == 1)
}

/// The same of the ambient set.
pub fn is_ambient(capability: u32) -> io::Result<bool> {
    Ok(prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET.cast_unsigned(), capability)? == 1)
}

/// For options that take integers only.
fn prctl(option: libc::c_int, first: u32, second: u32) -> io::Result<libc::c_int> {
    let [first, second, unused] = [first, second, 0].map(libc::c_ulong::from);
    // SAFETY: those above take integers only and touch no memory.
    Ok(Errno::result(unsafe { libc::prctl(option, first, second, unused, unused) })?)
}

/// The supplementary groups, `expected` of them and one more at most. Not by nix, which asks the system
/// how many there could be, as a file of `/proc`.
///
/// # Errors
/// `EINVAL` when there are more.
pub fn groups(expected: usize) -> io::Result<Vec<u32>> {
    // With room for none, getgroups(2) would only count them.
    let mut groups: Vec<libc::gid_t> = vec![0; expected.saturating_add(1)];
    let room = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
    // SAFETY: the call writes at most `room` ids, which `groups` has room for.
    let count = Errno::result(unsafe { libc::getgroups(room, groups.as_mut_ptr()) })?;
    groups.truncate(usize::try_from(count).map_err(io::Error::other)?);
    Ok(groups)
}

/// What is said to stdout when the time is up, and the code to exit with.
static LAST_WORDS: OnceLock<(Vec<u8>, i32)> = OnceLock::new();

/// Ends the process after `limit`, whatever it is doing then: with `last_words` on stdout, if that
/// takes them at once, and `code`. The first call counts.
pub fn exit_after(limit: Duration, last_words: Vec<u8>, code: i32) -> io::Result<()> {
    LAST_WORDS.get_or_init(|| (last_words, code));
    let action = SigAction::new(SigHandler::Handler(on_alarm), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only makes async-signal-safe calls, see there.
    unsafe { sigaction(Signal::SIGALRM, &action) }?;
    SigSet::from_iter([Signal::SIGALRM]).thread_unblock()?;
    let once = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval {
            tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: limit.subsec_micros().into(),
        },
    };
    // SAFETY: `once` outlives the call, which reads it and is not asked for the old value.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

extern "C" fn on_alarm(_: libc::c_int) {
    let Some((words, code)) = LAST_WORDS.get() else { return };
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: poll, write and _exit may be called in a signal handler; `stdout` and `words` outlive
    // the calls, and `words` is never changed once it is set. A reader that does not read is not
    // waited for: a pipe that is ready takes PIPE_BUF bytes.
    unsafe {
        if libc::poll(&raw mut stdout, 1, 0) == 1 {
            libc::write(libc::STDOUT_FILENO, words.as_ptr().cast(), words.len());
        }
        libc::_exit(*code)
    }
}

/// Sets the file mode creation mask. Not by nix, which panics where a seccomp profile refuses the
/// call: umask(2) itself cannot fail.
pub fn set_umask(mask: libc::mode_t) -> io::Result<()> {
    const ALL_MODES: libc::mode_t = 0o7777;
    // SAFETY: the call takes an integer and touches no memory.
    let previous = unsafe { libc::umask(mask) };
    if previous > ALL_MODES { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_is_overlooked() {
        let all: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(groups(all.len()).unwrap(), all);
        if let Some(expected) = all.len().checked_sub(1) {
            assert_eq!(groups(expected).unwrap(), all, "one more than expected");
        }
        if let Some(expected) = all.len().checked_sub(2) {
            assert!(groups(expected).is_err());
        }
    }
}
