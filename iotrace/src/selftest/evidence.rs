//! The evidence on a scene: iotrace's records beside the account of the acting process.

use std::cell::RefCell;
use std::collections::HashMap;

use iotrace_ebpf::abi::{CallRecord, SignalRecord, UringEvent, UringRecord};

use super::account::{Bracket, Scene};
use iotrace_core::domain::{Loss, ProbeId};
use iotrace_core::records::journal::{Entry, Journal};
use iotrace_core::rows::sums::Snapshot;
use iotrace_core::summary::Check;

/// Most nanoseconds by which readings of the kernel and of user space may differ at the same moment: the kernel's fast
/// clock (`ktime_get_mono_fast_ns`) and that of the vDSO are corrected at different moments, and reading takes some
/// tens of ns.
pub const CLOCK_NS: i64 = 1_000;

/// Everything that is known when a scene is judged.
pub struct Evidence<'a> {
    /// The account of the scene.
    pub scene: &'a Scene,
    /// The records of all scenes, in order of time.
    pub journal: &'a Journal,
    /// The sums that the kernel made, by thread; `None` where the kernel takes probes that make records only.
    pub sums: Option<&'a Snapshot>,
    /// What the probes lost.
    pub loss: &'a Loss,
    /// Whether a probe is attached.
    pub attached: &'a dyn Fn(ProbeId) -> bool,
    /// The checks made so far.
    pub checks: RefCell<Vec<Check>>,
}

/// A call as both sides saw it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The account of the acting process.
    pub own: &'a Bracket,
    /// The record of iotrace.
    pub record: &'a CallRecord,
}

impl Seen<'_> {
    /// Whether the message was sent after the call had begun, and the call slept.
    pub fn waited(&self) -> bool {
        self.record.sleeps > 0 && self.own.sent.is_some_and(|sent| sent.before_ns > self.own.before_ns)
    }

    /// Nanoseconds that the call was not on the CPU, by iotrace.
    pub fn off(&self) -> i64 {
        let parts = &self.record.parts;
        (parts.wait + parts.disk + parts.lock + parts.runq) as i64
    }

    /// Least and most nanoseconds that the call was not on the CPU, by the process: at least the time in which its CPU
    /// clock stood still, at most the whole call.
    pub fn off_range(&self) -> (i64, i64) {
        ((self.own.elapsed() - self.own.cpu_ns as i64).max(0), self.own.elapsed())
    }
}

impl<'a> Evidence<'a> {
    /// The records of calls of this thread, syscall and descriptor (`None`: any) within the time of the scene.
    pub fn recorded(&self, tid: u32, nr: u32, fd: Option<i32>) -> Vec<&'a CallRecord> {
        let within = |entry: &&Entry| {
            entry.exit() + CLOCK_NS as u64 >= self.scene.from_ns
                && entry.enter() <= self.scene.to_ns + CLOCK_NS as u64
        };
        let of =
            |call: &&CallRecord| (call.head.tid, call.nr) == (tid, nr) && fd.is_none_or(|fd| call.fd == fd);
        self.journal.calls.iter().filter(within).map(|entry| &entry.call).filter(of).collect()
    }

    /// Pairs the `wanted` calls of the account with their records. If there are as many records as calls, they are
    /// paired in order; else each call with the record that began nearest to it. Calls without a record are left out.
    pub fn pairs(&self, wanted: impl Fn(&Bracket) -> bool) -> Vec<Seen<'a>> {
        let mut groups: HashMap<(u32, u32, Option<i32>), Vec<&'a Bracket>> = HashMap::new();
        for own in self.scene.calls.iter().filter(|own| wanted(own)) {
            groups.entry((own.tid, own.nr, own.fd)).or_default().push(own);
        }
        let mut pairs = Vec::new();
        for ((tid, nr, fd), calls) in groups {
            let records = self.recorded(tid, nr, fd);
            for (index, own) in calls.iter().enumerate() {
                let distance = |record: &&&CallRecord| record.enter.abs_diff(own.before_ns);
                let record = if records.len() == calls.len() {
                    records.get(index)
                } else {
                    records.iter().min_by_key(distance)
                };
                pairs.extend(record.map(|record| Seen { own, record }));
            }
        }
        pairs.sort_by_key(|seen| seen.own.before_ns);
        pairs
    }

    /// The io_uring events of this kind within the time of the scene, of requests with this user data.
    pub fn uring(&self, event: UringEvent, user_data: u64) -> Vec<&'a UringRecord> {
        let within = |record: &&UringRecord| {
            (self.scene.from_ns..=self.scene.to_ns + CLOCK_NS as u64).contains(&record.head.at)
        };
        let events = || self.journal.uring.iter().filter(within);
        let requests: Vec<u64> = events()
            .filter(|record| record.user_data == user_data && record.req != 0)
            .map(|record| record.req)
            .collect();
        let of = |record: &&UringRecord| {
            record.event == event as u32
                && (record.user_data == user_data
                    || (record.user_data == 0 && requests.contains(&record.req)))
        };
        events().filter(of).collect()
    }

    /// The records of signals of this kind within the time of the scene.
    pub fn signals(&self, event: u32) -> impl Iterator<Item = &'a SignalRecord> {
        let (from, to) = (self.scene.from_ns, self.scene.to_ns + CLOCK_NS as u64);
        let within = move |one: &&SignalRecord| one.event == event && (from..=to).contains(&one.head.at);
        self.journal.signals.iter().filter(within)
    }

    fn check(&self, figure: &str, oracle: &str, unit: &str) -> Check {
        Check {
            name: format!("{}/{figure}", self.scene.name),
            oracle: oracle.to_owned(),
            expected: None,
            measured: None,
            error: None,
            allowed: None,
            unit: unit.to_owned(),
            pass: None,
            skipped: None,
            since: None,
            attempts: 1,
        }
    }

    /// Checks that measured differs from expected by at most `allowed`; `numbers` are expected and measured.
    pub fn near(&self, figure: &str, oracle: &str, unit: &str, numbers: (i64, i64), allowed: i64) {
        let (expected, measured) = numbers;
        self.judged(figure, oracle, unit, [expected, measured, (measured - expected).abs(), allowed]);
    }

    /// Checks that `measured` is `expected`.
    pub fn exactly(&self, figure: &str, oracle: &str, unit: &str, expected: u64, measured: u64) {
        self.near(figure, oracle, unit, (expected as i64, measured as i64), 0);
    }

    /// Checks that `measured` is not below `least`.
    pub fn at_least(&self, figure: &str, oracle: &str, unit: &str, least: i64, measured: i64) {
        self.judged(figure, oracle, unit, [least, measured, (least - measured).max(0), 0]);
    }

    /// Checks the times of repeated calls, in ns: each is the measured time and the range in which the truth lies. The
    /// medians are judged, because on a busy machine some calls are disturbed between the clock and the mark.
    pub fn ranges(&self, figure: &str, oracle: &str, times: Vec<(i64, (i64, i64))>) {
        if times.is_empty() {
            return self.judged(figure, oracle, "ns", [1, 0, 1, 0]);
        }
        let middle = |(low, high): (i64, i64)| low + (high - low) / 2;
        let each = |of: &dyn Fn((i64, (i64, i64))) -> i64| median(times.iter().map(|&one| of(one)).collect());
        let expected = each(&|(_, range)| middle(range));
        let measured = each(&|(time, _)| time);
        let error = each(&|(time, range)| (time - middle(range)).abs());
        let allowed = each(&|(_, (low, high))| (high - low) / 2) + CLOCK_NS;
        self.judged(figure, oracle, "ns", [expected, measured, error, allowed]);
    }

    fn judged(&self, figure: &str, oracle: &str, unit: &str, numbers: [i64; 4]) {
        let [expected, measured, error, allowed] = numbers;
        let check = self.check(figure, oracle, unit);
        self.checks.borrow_mut().push(Check {
            expected: Some(expected),
            measured: Some(measured),
            error: Some(error),
            allowed: Some(allowed),
            pass: Some(error <= allowed),
            ..check
        });
    }

    /// The sums of the kernel; where there are none, a skipped check `figure` says why.
    pub fn summed(&self, figure: &str) -> Option<&'a Snapshot> {
        if self.sums.is_none() {
            let why = "the verifier of this kernel does not accept probes that make records and sums at once: their \
             stacks are too large";
            self.skip(figure, why, Some(super::BOTH_SINKS));
        }
        self.sums
    }

    /// Skips the check `figure`, which cannot be made here; `since` is the first kernel on which it can.
    pub fn skip(&self, figure: &str, why: &str, since: Option<(u32, u32)>) {
        let since = since.map(|(major, minor)| format!("{major}.{minor}"));
        let check = self.check(figure, "", "");
        self.checks.borrow_mut().push(Check { skipped: Some(why.to_owned()), since, ..check });
    }
}

/// The median of the values (of an even number the upper one); 0 if there are none.
pub fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
