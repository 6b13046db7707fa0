//! Calls that were open when tracing began, or still are when it ends.

use std::time::Duration;

use crate::children::{Child, pipe, read, write};
use crate::trace::{Trace, process, row};

/// How long the calls stay open while observed.
const WINDOW: Duration = Duration::from_millis(300);

#[test]
#[ignore = "needs root"]
fn a_call_that_never_returns_is_shown_with_at_least_so_long() {
    let (from, _to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        read(from, 1);
    });
    child.go();
    asleep_in(child.pid, libc::SYS_read);
    let trace = Trace::of(&[child.pid], &[]);
    std::thread::sleep(WINDOW);
    let document = trace.stop();
    let process = process(&document, child.pid);
    assert!(process.calls.is_empty(), "{process:?}");
    let [open] = &process.in_flight[..] else { panic!("one call in flight: {process:?}") };
    assert_eq!((open.tid, open.syscall.as_str(), open.since_before), (child.pid as u32, "read", true));
    assert!(Duration::from_nanos(open.at_least_ns) >= WINDOW, "{open:?}");
    assert_eq!((document.loss.in_flight_start, document.loss.in_flight_stop), (1, 1));
    assert!(document.complete, "a call in flight is no loss");
    let why = &document.warnings.iter().find(|warning| warning.code == "nothing_seen").expect("said").text;
    assert!(why.contains("in_flight"), "{why}");
}

/// Its exit must be taken for neither a call of its own nor the end of the next one.
#[test]
#[ignore = "needs root"]
fn a_call_that_returns_later_is_counted_as_such_and_paired_with_nothing() {
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..4 {
            read(from, 1);
        }
    });
    child.go();
    asleep_in(child.pid, libc::SYS_read);
    std::thread::sleep(2 * WINDOW);
    let trace = Trace::of(&[child.pid], &[]);
    for _ in 0..3 {
        assert_eq!(write(to, 1), 1);
        std::thread::sleep(WINDOW / 10);
    }
    asleep_in(child.pid, libc::SYS_read);
    let document = trace.stop();
    let process = process(&document, child.pid);
    let read = row(process, "read");
    assert_eq!((read.calls, read.bytes), (2, 2), "{read:?}");
    assert!(read.total_ns < document.elapsed_ns, "{read:?}");
    assert_eq!(document.loss.in_flight_start, 1, "{:?}", document.loss);
    assert_eq!((document.loss.unmatched, document.loss.in_flight_stop), (0, 1), "{:?}", document.loss);
    let [open] = &process.in_flight[..] else { panic!("one call in flight: {process:?}") };
    assert!(!open.since_before && open.at_least_ns < document.elapsed_ns, "{open:?}");
    assert!(document.complete);
}

/// Waits until the thread sleeps in a syscall.
fn asleep_in(pid: i32, syscall: i64) {
    let asked = std::time::Instant::now();
    while iotrace::host::proc::sleeping_in(pid as u32, pid as u32) != Some(syscall as u32) {
        assert!(asked.elapsed() < crate::trace::PATIENCE, "{pid} does not sleep in {syscall}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A call that is seen to begin must be seen to end: whichever probe comes first, the target is in the midst
/// of something.
#[test]
#[ignore = "needs root"]
fn attaching_to_a_target_that_never_rests_mispairs_nothing() {
    let child = Child::fork(|page| {
        let (from, to) = pipe();
        page.gate();
        loop {
            write(to, 1);
            read(from, 1);
        }
    });
    child.go();
    let trace = Trace::of(&[child.pid], &[]);
    std::thread::sleep(WINDOW);
    let document = trace.stop();
    assert!(document.complete && document.loss.unmatched == 0, "{:?}", document.loss);
    // The one it may have been in.
    assert!(document.loss.in_flight_start <= 1, "{:?}", document.loss);
    let process = process(&document, child.pid);
    // The two rows are read one after the other while the target goes on, so they need not agree.
    assert!(row(process, "read").calls > 0 && row(process, "write").calls > 0, "{process:?}");
}
