//! Calls that are open when an interval ends: the part of each that lies in the interval belongs to it.

use iotrace_ebpf::abi::AggKey;
use iotrace_ebpf::span::{Off, Parts, Span};

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
            let sums = as_array(&row.parts);
            let parts = as_array(&call.parts);
            row.parts = of_array(std::array::from_fn(|part| sums[part].saturating_add(parts[part])));
        }
    }
}

/// Number of parts.
const PARTS: usize = 5;
const _: () = assert!(size_of::<Parts>() == (PARTS + 1) * size_of::<u64>(), "a part is missing below");

fn as_array(parts: &Parts) -> [u64; PARTS] {
    [parts.wait, parts.lock, parts.runq, parts.copy, parts.work]
}

fn of_array(parts: [u64; PARTS]) -> Parts {
    let [wait, lock, runq, copy, work] = parts;
    let total = parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
    Parts { total, wait, lock, runq, copy, work }
}

/// What each part has now that it had not before. What was booked of an open call as work turns out to be a copy when
/// the call ends, and a sleep whose wake-up the kernel did not show a wait for a CPU: what one part has too little
/// then is taken from the others, the largest first, so that the total is right.
pub fn parts_since(now: &Parts, before: &Parts) -> Parts {
    let (now, before) = (as_array(now), as_array(before));
    let mut parts: [u64; PARTS] = std::array::from_fn(|part| now[part].saturating_sub(before[part]));
    let mut debt: u64 = (0..PARTS).map(|part| before[part].saturating_sub(now[part])).sum();
    while debt > 0 {
        let Some(largest) = parts.iter_mut().max().filter(|part| **part > 0) else { break };
        let paid = debt.min(*largest);
        *largest -= paid;
        debt -= paid;
    }
    of_array(parts)
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

    #[test]
    fn the_parts_of_intervals_add_up_to_the_call() {
        let parts = |wait, runq, copy, work| Parts {
            total: wait + runq + copy + work,
            wait,
            lock: 0,
            runq,
            copy,
            work,
        };
        // Half a second of work in the first interval was a copy after all.
        let (first, last) = (parts(1_000, 0, 0, 500), parts(2_500, 20, 480, 40));
        let rest = parts_since(&last, &first);
        assert_eq!(rest.total, last.total - first.total);
        assert_eq!(rest, parts(1_500 - 460, 20, 480, 0));
        assert_eq!(parts_since(&first, &Parts::default()), first);
    }
}
