//! Calls that are open when an interval ends: the part of each that lies in the interval belongs to it.

use iotrace_ebpf::abi::AggKey;
use iotrace_ebpf::span::{Off, Parts, Span};

use super::parts::plus;
use super::sums::{Row, Snapshot};

/// A call that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Syscall number.
    pub nr: u32,
    /// When the call was entered, ns.
    pub since: u64,
    /// The row that it will be added to.
    pub key: AggKey,
    /// Where its time went so far, ns. What a copy without marks took is part of `work` until the call ends.
    pub parts: Parts,
}

/// Where the time of an open call went until `now`, by the state of its thread; `waking` is the thread's last wake-up.
/// A thread that sleeps, and that nothing has woken since, has slept until now.
pub fn so_far(mut span: Span, now: u64, waking: u64) -> Parts {
    let asleep = span.off != Off::Running as u32 && span.off != Off::Preempted as u32;
    let waking = if asleep && waking <= span.out { now } else { waking };
    span.runs(now, waking);
    span.exit(now)
}

impl Snapshot {
    /// Adds what open calls have taken so far, without counting them as calls.
    pub fn book_open(&mut self, open: &[Open]) {
        for call in open {
            let row: &mut Row = self.rows.entry(call.key).or_default();
            row.parts = plus(&row.parts, &call.parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_goes_on_has_lasted_until_now() {
        let mut span = Span::default();
        span.enter(1_000);
        span.switch_out(1_300, Off::Wait);
        let parts = so_far(span, 9_000, 200);
        assert_eq!(parts, Parts { total: 8_000, wait: 7_700, work: 300, ..Parts::default() });
        // Woken at 5,000, and without a CPU since.
        let parts = so_far(span, 9_000, 5_000);
        assert_eq!(parts, Parts { total: 8_000, wait: 3_700, runq: 4_000, work: 300, ..Parts::default() });
    }

    #[test]
    fn a_thread_that_runs_or_lost_its_cpu_does_not_wait() {
        let mut span = Span::default();
        span.enter(1_000);
        assert_eq!(so_far(span, 4_000, 0), Parts { total: 3_000, work: 3_000, ..Parts::default() });
        span.switch_out(2_000, Off::Preempted);
        let parts = so_far(span, 4_000, 0);
        assert_eq!(parts, Parts { total: 3_000, runq: 2_000, work: 1_000, ..Parts::default() });
    }
}
