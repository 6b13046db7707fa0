//! Clocks of this machine and this process.

use std::sync::OnceLock;

use iotrace_core::rows::ledger::WallClock;

use super::namespaces;

/// CLOCK_MONOTONIC of the initial time namespace in ns: the clock of the probes (`bpf_ktime_get_ns`).
pub fn monotonic_ns() -> u64 {
    of_kernel(read(libc::CLOCK_MONOTONIC).unwrap_or(0))
}

/// A time of the probes' clock, ns, as CLOCK_MONOTONIC of this process shows it, for calls that wait for a time.
pub fn shown_here(at_ns: u64) -> u64 {
    at_ns.saturating_add_signed(offset_ns())
}

fn of_kernel(shown_ns: u64) -> u64 {
    shown_ns.saturating_add_signed(-offset_ns())
}

/// How far CLOCK_MONOTONIC of this process is ahead of the probes' clock, ns: 0 but in a time namespace. It does not
/// change while a process runs.
fn offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    // Where it is not known iotrace refuses to measure (`check::prerequisites`).
    *OFFSET.get_or_init(|| namespaces::time_offset_ns().unwrap_or(0))
}

/// CPU time of this process so far in ns, user and system.
pub fn own_cpu_ns() -> Option<u64> {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// What time of day it was when CLOCK_MONOTONIC was `at`, ns; `None` where the clocks cannot be read.
pub fn wall_clock(at: u64) -> Option<WallClock> {
    let now = read(libc::CLOCK_REALTIME)?;
    let unix_ns = now.saturating_sub(monotonic_ns().saturating_sub(at));
    let seconds = (now / 1_000_000_000) as libc::time_t;
    // SAFETY: a valid place for the answer, which all zeros are; of its text nothing is read.
    let utc_offset_s = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut local).is_null() {
            0
        } else {
            local.tm_gmtoff as i32
        }
    };
    Some(WallClock { unix_ns, utc_offset_s })
}

fn read(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (rc == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
