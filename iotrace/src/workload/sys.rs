//! Small wrappers around the calls that every loop needs: clocks, sleeping, errors, own work.
//!
//! The loops make exactly the system calls that a reader of the man pages expects, because the probes count them.
//! So clocks are read through the vDSO (vdso(7)), and no function here makes a system call that its name does not
//! announce.

use std::fmt;
use std::hint::black_box;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};

use iotrace_core::domain::spec::Failure;
use iotrace_core::domain::spec::UNIT_STEPS;

use crate::host::clock::{monotonic_ns, shown_here};
use crate::host::cpus;

/// Why a loop stopped early. It is `Copy` and allocates nothing, so that a signal handler can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A call failed: the name of the call, and errno.
    Call(&'static str, i32),
    /// The connection ended before its last message.
    Closed,
    /// More bytes arrived than the sender was asked to send.
    Surplus,
    /// The kernel or the C library lacks a call of the model: the name of the call, and errno.
    Lacking(&'static str, i32),
    /// `io_uring_setup(2)` failed with this errno.
    NoRing(i32),
    /// This descriptor does not fit into an `fd_set`.
    FdTooHigh(RawFd),
}

impl Stop {
    /// The call `name` failed, with the errno of the calling thread.
    pub fn call(name: &'static str) -> Stop {
        Stop::Call(name, errno())
    }
}

/// A [`Failure`] from its code and text.
pub fn failure(code: &str, text: impl fmt::Display) -> Failure {
    Failure { code: code.into(), text: text.to_string() }
}

/// A [`Failure`] with code `io` whose text says that `what` failed with `error`.
pub fn io_failure(what: impl fmt::Display, error: &io::Error) -> Failure {
    failure("io", format_args!("{what} failed: {error}"))
}

/// The calling thread's errno.
pub fn errno() -> i32 {
    // SAFETY: the pointer is to this thread's errno and always valid, errno(3).
    unsafe { *libc::__errno_location() }
}

/// Nanoseconds of `clock`.
fn clock(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec to write to; the clocks used here exist on every kernel.
    unsafe { libc::clock_gettime(clock, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The clock of the probes in ns, read in user space: CLOCK_MONOTONIC of the initial time namespace.
pub fn now_ns() -> u64 {
    monotonic_ns()
}

/// CPU time of all threads of the process in ns. Unlike [`now_ns`] this is a system call.
pub fn cpu_ns() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// A timespec of `ns` nanoseconds.
fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ }
}

/// Sleeps for `ns` with `nanosleep(2)`; a signal may cut it short.
pub fn nanosleep(ns: u64) {
    let t = timespec(ns);
    // SAFETY: `t` is valid to read, and the remaining time is not asked for.
    unsafe { libc::nanosleep(&raw const t, std::ptr::null_mut()) };
}

/// Sleeps until the time `at_ns` of [`now_ns`].
pub fn sleep_until(at_ns: u64) {
    let t = timespec(shown_here(at_ns));
    loop {
        // SAFETY: `t` is valid to read; with TIMER_ABSTIME no remaining time is written.
        let error = unsafe {
            let (clock, flags) = (libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME);
            libc::clock_nanosleep(clock, flags, &raw const t, std::ptr::null_mut())
        };
        if error != libc::EINTR {
            return;
        }
    }
}

/// The id of the calling thread.
pub fn gettid() -> u32 {
    // SAFETY: gettid(2) takes no arguments and cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Names the calling thread, `PR_SET_NAME` in prctl(2): what `comm` shows.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: `name` is terminated by a zero byte; the kernel reads at most 16 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Has the kernel kill this process when the thread that made it ends, `PR_SET_PDEATHSIG`.
///
/// Returns `false` if `parent` is not the parent (any more): then the signal would never come.
pub fn die_with_parent(parent: libc::pid_t) -> bool {
    // SAFETY: PR_SET_PDEATHSIG takes the signal by value; getppid(2) cannot fail.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid() == parent
    }
}

/// Adds flags such as `O_NONBLOCK` to a descriptor, `F_SETFL` in fcntl(2).
///
/// # Errors
/// `fcntl` failed.
pub fn add_flags(fd: RawFd, flags: libc::c_int) -> Result<(), Stop> {
    // SAFETY: F_GETFL and F_SETFL take and return plain integers.
    let done = unsafe {
        let old = libc::fcntl(fd, libc::F_GETFL);
        old >= 0 && libc::fcntl(fd, libc::F_SETFL, old | flags) >= 0
    };
    if done { Ok(()) } else { Err(Stop::call("fcntl(F_SETFL)")) }
}

/// Two CPUs that this process may run on: `own` (`None`: the current one), and another. `None` if it may run on one
/// CPU only.
pub fn two_cpus(own: Option<usize>) -> Option<(usize, u32)> {
    // SAFETY: no arguments.
    let own = own.or_else(|| usize::try_from(unsafe { libc::sched_getcpu() }).ok())?;
    let other = cpus::allowed().into_iter().find(|&cpu| cpu != own)?;
    Some((own, other as u32))
}

/// Keeps the calling thread on CPU `cpu`, sched_setaffinity(2).
///
/// # Errors
/// errno of the call: the CPU is offline, or the process may not use it.
pub fn pin(cpu: usize) -> Result<(), i32> {
    cpus::pin(cpu).map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))
}

/// Does `units` units of the application's own work: pure arithmetic, no call, no memory.
///
/// One unit is [`UNIT_STEPS`] dependent multiply-add steps, about half a microsecond in a release build. The factor is
/// hidden from the compiler, which would otherwise fold the whole chain into a single step.
pub fn own_work(units: u64) -> u64 {
    let mut x = black_box(0x9e37_79b9_7f4a_7c15u64);
    let factor = black_box(6_364_136_223_846_793_005);
    for _ in 0..units {
        for _ in 0..UNIT_STEPS {
            x = x.wrapping_mul(factor).wrapping_add(1_442_695_040_888_963_407);
        }
        x = black_box(x);
    }
    x
}

/// Time of an empty call on this machine, in ns: `recv` on an empty UDP socket, which returns `EAGAIN`.
///
/// It is the smallest mean of many windows, so that an interrupt does not count, nor a few ms in which another program
/// takes a share of the processor. The difference between this time with and without the probes attached is the cost of
/// observing a call.
///
/// # Errors
/// No UDP socket could be made on loopback.
pub fn empty_call_ns() -> io::Result<u64> {
    empty_calls_ns(32, 64)
}

/// The same with so many windows of so many calls.
///
/// # Errors
/// No UDP socket could be made on loopback.
pub fn empty_calls_ns(windows: u32, calls: u64) -> io::Result<u64> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let mut byte = 0u8;
    let mut best = u64::MAX;
    for _ in 0..windows {
        let start = now_ns();
        for _ in 0..calls {
            // SAFETY: `byte` is one writable byte, and the socket is open.
            unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) };
        }
        best = best.min((now_ns() - start) / calls);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_work_depends_on_the_units() {
        assert_eq!(own_work(3), own_work(3));
        assert_ne!(own_work(3), own_work(4));
    }

    #[test]
    fn an_empty_call_takes_some_time() {
        let ns = empty_call_ns().unwrap();
        assert!((1..10_000_000).contains(&ns), "{ns} ns");
    }

    #[test]
    fn sleep_until_does_not_return_early() {
        let at = now_ns() + 2_000_000;
        sleep_until(at);
        assert!(now_ns() >= at);
        sleep_until(at);
    }
}
