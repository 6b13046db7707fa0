//! The few system calls that std does not have.

use std::io;
use std::time::Duration;

/// CLOCK_MONOTONIC, ns: the clock that load and driver share.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer; this clock exists everywhere.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The value of a system call, or its error.
pub fn check(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// The highest CPU: interrupts and the tools' own work tend to be on the lowest.
pub fn last_cpu() -> usize {
    std::thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1)
}

/// Keeps the calling thread, and the threads it makes later, on one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: a set of CPUs is plain bits.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is as long as it says; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }.into()).map(drop)
}

/// SIGKILL once the parent is gone: nothing of a benchmark may be left behind, however it ends.
pub fn die_with_parent() {
    // SAFETY: sets an attribute of this process and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Runs `child` in a process of its own, which dies with this one; returns its pid.
pub fn forked(child: impl FnOnce() -> io::Result<()>) -> io::Result<u32> {
    // SAFETY: loads fork before they make threads, so the child may do anything.
    let pid = check(unsafe { libc::fork() }.into())?;
    if pid == 0 {
        die_with_parent();
        let code = i32::from(child().is_err());
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(code) };
    }
    Ok(pid as u32)
}

/// Waits until `word` is no longer `old`.
pub fn futex_wait(word: &std::sync::atomic::AtomicU32, old: u32) {
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call; no timeout. Why it returned does not matter: the caller looks.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, old, std::ptr::null::<libc::timespec>()) };
}

/// Wakes one thread that waits for `word`.
pub fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wake, 1) };
}

/// Context switches of the calling thread so far.
pub fn switches() -> u64 {
    // SAFETY: plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a valid place for the answer.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    (usage.ru_nvcsw + usage.ru_nivcsw) as u64
}

/// Allows this process as many descriptors.
pub fn allow_descriptors(count: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: a valid limit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into()).map(drop)
}

/// Sleeps for good.
pub fn idle() -> io::Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
