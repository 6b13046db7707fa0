//! What the observed programs do, and their own clocks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time now, ns of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    iotrace::host::clock::monotonic_ns()
}

/// CPU time of the calling thread, ns.
pub fn cpu() -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut at) };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

/// Computes until the thread has had the CPU for so long.
pub fn compute(long: Duration) {
    let end = cpu() + long.as_nanos() as u64;
    while cpu() < end {}
}

/// Computes for so long by the clock on the wall.
pub fn busy(long: Duration) {
    let began = Instant::now();
    while began.elapsed() < long {}
}

/// Sleeps by `nanosleep`, which the tests' own waiting does not use; returns how long it took, ns.
pub fn nanosleep(long: Duration) -> u64 {
    let wanted = libc::timespec { tv_sec: 0, tv_nsec: long.subsec_nanos().into() };
    let began = now();
    // SAFETY: a valid time to sleep, and no place for what is left.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const wanted, 0) };
    now() - began
}

/// `futex`, on a word of our own.
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: a word that lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, 0, 0, 0) };
}

/// Sleeps until the word is not 0; returns how long it took, ns.
pub fn wait_for(word: &AtomicU32) -> u64 {
    let began = now();
    while word.load(Ordering::SeqCst) == 0 {
        futex(word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0);
    }
    now() - began
}

/// Ends such a sleep.
pub fn wake(word: &AtomicU32) {
    word.store(1, Ordering::SeqCst);
    futex(word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
}

/// Puts the calling thread on one CPU, the first that it may use.
pub fn on_one_cpu() {
    // SAFETY: room for a set of CPUs.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &set)).unwrap_or(0);
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(first, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// Time on a CPU and time ready without one of a thread, by its `schedstat`, ns.
pub fn schedstat(pid: i32, tid: i32) -> [u64; 2] {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).expect("it lives");
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    [numbers.next().expect("time on a CPU"), numbers.next().expect("time ready")]
}

/// Time that the hypervisor took from all CPUs, ns: `schedstat` leaves it out where the kernel knows of it.
pub fn steal() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").expect("it is there");
    let ticks = text.lines().next().and_then(|line| line.split_whitespace().nth(8)).expect("eight columns");
    ticks.parse::<u64>().expect("a number") * 10_000_000
}
