//! The whole: every call has one record, its parts add up, its edges lie between the clocks of the program, and the
//! sums of the kernel are those of its records.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use iotrace_ebpf::abi::CallRecord;
use iotrace_ebpf::book::Prices;

use super::account::Bracket;
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::gettid;
use iotrace_core::rows::booked::{By, book_entry};
use iotrace_core::rows::sums::Snapshot;

/// Number of threads that make calls as fast as they can.
const THREADS: usize = 3;
/// Number of reads and of writes that each thread makes.
const CALLS: usize = 400;
/// Number of calls that return at once, each between two readings of the clock.
const QUICK: usize = 200;

/// Makes many calls in several threads, which are counted, and calls that return at once, which are timed.
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, _writer) = stage::unix_pair()?;
    stage.begin();
    let work = || {
        std::thread::spawn(|| -> std::io::Result<u32> {
            let (reader, writer) = stage::pipe()?;
            let mut byte = [0];
            for _ in 0..CALLS {
                stage::write(&writer, &[1])?;
                // Not kept in the account: these calls are counted, not timed.
                let taken = stage::read(&reader, &mut byte);
                if taken.ret != 1 {
                    return Err(std::io::Error::from_raw_os_error(-taken.ret as i32));
                }
            }
            Ok(gettid())
        })
    };
    let threads: Vec<_> = (0..THREADS).map(|_| work()).collect();
    for (index, thread) in threads.into_iter().enumerate() {
        let tid = stage::joined(thread)?;
        stage.note(&format!("thread-{index}"), u64::from(tid));
    }
    for _ in 0..QUICK {
        stage.scene.calls.push(quick(&reader));
    }
    stage.end();
    Ok(())
}

/// A `poll` for room to write. There is room, so it returns 1; polls that return 0 would be folded into one record.
fn quick(reader: &std::os::fd::OwnedFd) -> Bracket {
    use std::os::fd::AsRawFd;
    let fd = reader.as_raw_fd();
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one descriptor to look at.
    bracket(libc::SYS_poll, None, || unsafe { libc::syscall(libc::SYS_poll, &raw mut poll, 1, -1) as isize })
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    counts(evidence);
    edges(evidence);
    sums(evidence);
    losses(evidence);
}

fn counts(evidence: &Evidence) {
    let own = "the program's own count";
    let entries = |tid: u32, nr: u32| {
        let of =
            evidence.journal.calls.iter().filter(move |one| (one.call.head.tid, one.call.nr) == (tid, nr));
        of.map(|one| one.count).sum::<u64>()
    };
    let mut counted = 0;
    for index in 0..THREADS {
        let tid = evidence.scene.fact(&format!("thread-{index}")) as u32;
        let by_size = evidence.journal.calls.iter().filter(|one| {
            (one.call.head.tid, one.call.nr) == (tid, libc::SYS_read as u32)
                && one.call.ret == 1
                && one.call.arg2 == 1
        });
        counted += by_size.count() as u64 + entries(tid, libc::SYS_write as u32);
    }
    evidence.exactly("calls-of-threads", own, "calls", (2 * THREADS * CALLS) as u64, counted);
    let quick = evidence.pairs(|_| true);
    let seen = evidence.scene.calls.first().map_or(0, |own| evidence.recorded(own.tid, own.nr, None).len());
    evidence.exactly("calls", own, "calls", QUICK as u64, seen as u64);
    // A call that returns at once takes more than 0 ns, and at most the time between the clocks around it.
    evidence.ranges(
        "quick-total",
        "CLOCK_MONOTONIC around a call that returns at once",
        quick.iter().map(|one| (one.record.parts.total as i64, (1, one.own.elapsed()))).collect(),
    );
}

/// Checks that no call begins before the first reading of the clock, or ends after the second.
fn edges(evidence: &Evidence) {
    let beyond = |one: &super::evidence::Seen| {
        let early = one.own.before_ns as i64 - one.record.enter as i64;
        let late = one.record.head.at as i64 - one.own.after_ns as i64;
        early.max(late)
    };
    let pairs = evidence.pairs(|_| true);
    let worst = pairs.iter().map(beyond).max().unwrap_or(i64::MAX).max(0);
    evidence.near(
        "edges",
        "CLOCK_MONOTONIC around each call: the most that an edge lies outside",
        "ns",
        (0, worst),
        CLOCK_NS,
    );
}

/// What must be true of every call.
pub const INVARIANTS: [&str; 3] = ["whole/parts", "whole/exit-less-enter", "whole/order"];

/// Checks the records of all scenes: the parts of each call, their order, and the sums.
fn sums(evidence: &Evidence) {
    let mut summed = Snapshot::default();
    let (mut wrong, mut elapsed, mut disordered) = (0, 0, 0);
    for entry in &evidence.journal.calls {
        let (call, parts) = (&entry.call, &entry.call.parts);
        let sum = parts.wait + parts.disk + parts.lock + parts.runq + parts.copy + parts.work;
        wrong += u64::from(sum != parts.total);
        disordered += u64::from(!in_order(call));
        // Folded polls are left out: there are pauses between them.
        elapsed += u64::from(entry.count == 1 && call.head.at.wrapping_sub(call.enter) != parts.total);
        book_entry(&mut summed, entry, By::Thread, Prices::default());
    }
    evidence.exactly(
        "parts",
        "wait + disk + lock + runq + copy + work is the total of each call",
        "calls",
        0,
        wrong,
    );
    evidence.exactly("exit-less-enter", "is the total of each call", "calls", 0, elapsed);
    evidence.exactly(
        "order",
        "enter, sleep, wake-up, switch-in, copy, exit of each call",
        "calls",
        0,
        disordered,
    );
    let Some(snapshot) = evidence.summed("sums") else { return };
    let differing = differing(&snapshot.rows, &summed.rows) + differing(&snapshot.errors, &summed.errors);
    evidence.exactly(
        "sums",
        "the kernel's sums are, field by field, those of its records",
        "rows",
        0,
        differing as u64,
    );
}

/// Number of keys that only one of the two has, or that have different values.
fn differing<K: Eq + Hash, V: PartialEq>(one: &HashMap<K, V>, other: &HashMap<K, V>) -> usize {
    let keys: HashSet<&K> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(key) != other.get(key)).count()
}

/// Whether the marks of a call are in the only order in which they can happen.
fn in_order(call: &CallRecord) -> bool {
    let (enter, exit) = (call.enter, call.head.at);
    let slept = call.first_out == 0 || (enter..=exit).contains(&call.first_out);
    let woken = call.wake.at == 0 || (enter..=call.last_in).contains(&call.wake.at);
    let copied = call.copies == 0 || (enter <= call.copy_first && call.copy_last <= exit);
    slept && woken && copied && (enter..=exit).contains(&call.last_in)
}

/// Checks that nothing was lost.
fn losses(evidence: &Evidence) {
    let loss = evidence.loss;
    let lost = loss.records + loss.map_full + loss.unmatched;
    evidence.exactly("lost", "nothing may be lost", "losses", 0, lost);
    match loss.recursion_misses {
        Some(misses) => evidence.exactly("skipped-probe-runs", "nothing may be lost", "runs", 0, misses),
        None => evidence.skip("skipped-probe-runs", "this kernel does not count them", Some((5, 12))),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use iotrace_ebpf::abi::{Head, Kind};
    use iotrace_ebpf::book::Distribution as _;
    use iotrace_ebpf::span::Parts;

    use super::*;
    use crate::selftest::account::Scene;
    use iotrace_core::domain::Loss;
    use iotrace_core::records::journal::Journal;
    use iotrace_core::records::record::Record;
    use iotrace_core::rows::sums::Row;

    fn judged(exit: u64, work: u64, summed: impl FnOnce(&Journal) -> Snapshot) -> Vec<(String, bool)> {
        let own =
            Bracket { tid: 1, nr: 7, before_ns: 100_000, after_ns: 110_000, ret: 1, ..Bracket::default() };
        let scene = Scene { name: "whole".into(), to_ns: u64::MAX / 2, calls: vec![own], ..Scene::default() };
        let mut journal = Journal::default();
        let head = Head { kind: Kind::Call as u32, tid: 1, tgid: 1, reserved: 0, at: exit };
        let parts = Parts { total: exit - 101_000, work, ..Parts::default() };
        journal.add(Record::Call(CallRecord {
            head,
            enter: 101_000,
            parts,
            ret: 1,
            nr: 7,
            ..CallRecord::default()
        }));
        let evidence = Evidence {
            scene: &scene,
            journal: &journal,
            sums: Some(&summed(&journal)),
            loss: &Loss::default(),
            attached: &|_| true,
            checks: RefCell::default(),
        };
        edges(&evidence);
        sums(&evidence);
        evidence.checks.into_inner().into_iter().map(|one| (one.name, one.pass == Some(true))).collect()
    }

    #[test]
    fn a_mark_outside_its_bracket_and_parts_that_do_not_add_up_are_noticed() {
        let named =
            |checks: &[(String, bool)], name: &str| checks.iter().find(|one| one.0 == name).unwrap().1;
        let nothing = |_: &Journal| Snapshot::default();
        let fine = judged(109_000, 8_000, nothing);
        assert!(named(&fine, "whole/edges") && named(&fine, "whole/parts"), "{fine:?}");
        assert!(!named(&fine, "whole/sums"), "the kernel summed nothing up: {fine:?}");
        let late = judged(119_000, 18_000, nothing);
        assert!(!named(&late, "whole/edges") && named(&late, "whole/parts"), "{late:?}");
        let missing = judged(109_000, 7_000, nothing);
        assert!(!named(&missing, "whole/parts"), "{missing:?}");
    }
    #[test]
    fn one_field_of_the_sums_that_differs_is_noticed() {
        let kernel = |change: fn(&mut Row)| {
            move |journal: &Journal| {
                let mut sums = Snapshot::default();
                journal.calls.iter().for_each(|entry| {
                    book_entry(&mut sums, entry, By::Thread, Prices::default());
                });
                sums.rows.values_mut().for_each(change);
                sums
            }
        };
        let passed = |change| {
            let checks = judged(109_000, 8_000, kernel(change));
            checks.iter().any(|(name, passed)| name == "whole/sums" && *passed)
        };
        assert!(passed(|_| ()));
        assert!(!passed(|row| row.preempts += 1));
        assert!(!passed(|row| row.latency.count(9)), "in a distribution");
    }
}
