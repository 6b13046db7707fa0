//! `-i`: what happened in an interval is in it, also of calls that last longer.

use std::time::{Duration, Instant};

use iotrace_core::summary::{Call, Document};

use crate::children::{Child, ok, pipe, readv_one, write};
use crate::trace::{Trace, holds, process, whole_time};

/// The documents that an ended iotrace printed, one a line: of the intervals, and the last of the whole.
fn documents(stdout: &str) -> (Vec<Document>, Document) {
    let mut all: Vec<Document> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect();
    all.iter().for_each(whole_time);
    let whole = all.pop().expect("the whole comes last");
    (all, whole)
}

fn rows<'a>(document: &'a Document, pid: i32, syscall: &'a str) -> impl Iterator<Item = &'a Call> {
    let of = document.processes.iter().filter(move |process| process.pid == pid as u32);
    of.flat_map(|process| &process.calls).filter(move |call| call.syscall == syscall)
}

/// What two clocks and the way to a line of output may differ by, ns; an emulated machine is slow.
const SLACK: u64 = 30_000_000;

#[test]
#[ignore = "needs root"]
fn a_call_longer_than_the_interval_is_shared_out_among_intervals() {
    const LASTS: Duration = Duration::from_millis(1300);
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        let began = Instant::now();
        assert_eq!(readv_one(from), 1);
        page.note(0, began.elapsed().as_nanos() as u64);
    });
    let trace = Trace::of(&[child.pid], &["-i", "200ms"]);
    child.go();
    std::thread::sleep(LASTS);
    ok(write(to, 1));
    child.finished();
    trace.signal(libc::SIGINT);
    let (intervals, whole) = documents(&trace.end().stdout);
    holds(&whole);
    let lasted = child.page.noted(0);
    assert!(intervals.len() >= 6, "{}", intervals.len());
    let (mut sum, mut calls, mut open) = (0, 0, 0);
    for interval in &intervals {
        let stretch = interval.interval.expect("an interval says when it was");
        assert_eq!(stretch.to_ns - stretch.from_ns, interval.elapsed_ns);
        assert!(stretch.ended_unix_ns.is_some());
        for row in rows(interval, child.pid, "readv") {
            assert!(row.total_ns <= interval.elapsed_ns + SLACK, "{} {row:?}", interval.elapsed_ns);
            let parts = row.wait_ns + row.lock_ns + row.runq_ns + row.copy_ns + row.work_ns;
            assert_eq!(parts, row.total_ns, "{row:?}");
            (sum, calls, open) = (sum + row.total_ns, calls + row.calls, open + row.open);
        }
    }
    let row = rows(&whole, child.pid, "readv").next().expect("it has returned");
    assert_eq!((calls, row.calls, row.open), (1, 1, 0));
    assert_eq!(sum, row.total_ns, "the intervals add up to the whole");
    assert!(row.total_ns.abs_diff(lasted) <= SLACK, "{lasted} {row:?}");
    assert!(open >= 5, "it was open at the end of most intervals: {open}");
}

/// Where it never ends, each interval has its share all the same, and so has the whole.
#[test]
#[ignore = "needs root"]
fn a_call_that_does_not_end_is_in_every_interval() {
    let (from, _to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        readv_one(from);
    });
    let trace = Trace::of(&[child.pid], &["-i", "200ms", "-d", "1s"]);
    child.go();
    let (intervals, whole) = documents(&trace.end().stdout);
    holds(&whole);
    let row = rows(&whole, child.pid, "readv").next().expect("its time so far is there");
    assert_eq!((row.calls, row.open), (0, 1));
    assert!(row.total_ns <= whole.elapsed_ns + SLACK, "{row:?}");
    let shares = intervals.iter().flat_map(|interval| rows(interval, child.pid, "readv"));
    let shares: Vec<u64> = shares.map(|row| row.total_ns).collect();
    assert!(shares.len() >= 3 && shares.iter().sum::<u64>() == row.total_ns, "{shares:?} {row:?}");
    assert_eq!(process(&whole, child.pid).in_flight.len(), 1);
}

/// More rows than there is room for, in the first interval only.
#[test]
#[ignore = "needs root"]
fn a_loss_in_one_interval_does_not_spoil_the_next() {
    let child = Child::fork(|page| {
        page.gate();
        let (from, to) = pipe();
        // Its rows are there before those of the others.
        ok(write(to, 1));
        assert_eq!(readv_one(from), 1);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| ok(write(to, 1)));
            }
        });
        // Then no new row is wanted.
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until {
            ok(write(to, 1));
            assert_eq!(readv_one(from), 1);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let trace = Trace::of(&[child.pid], &["-i", "300ms", "--per", "thread", "--rows", "16"]);
    child.run();
    trace.signal(libc::SIGINT);
    let (intervals, whole) = documents(&trace.end().stdout);
    assert!(!whole.complete && whole.loss.map_full > 0, "{:?}", whole.loss);
    let lost: u64 = intervals.iter().map(|interval| interval.loss.map_full).sum();
    assert_eq!(lost, whole.loss.map_full);
    let first_good = intervals.iter().position(|interval| interval.complete);
    assert!(first_good.is_some(), "{:?}", intervals.iter().map(|one| one.loss).collect::<Vec<_>>());
}
