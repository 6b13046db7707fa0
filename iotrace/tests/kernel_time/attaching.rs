//! What goes on while iotrace attaches: threads that end, and threads that sleep since before.

use std::time::Duration;

use iotrace_core::summary::Document;

use crate::children::Child;
use crate::programs::{compute, nanosleep};
use crate::trace::{Trace, process};

const MS: u64 = 1_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The longest that a thread other than the first was observed, ns.
fn longest(document: &Document, pid: i32) -> u64 {
    let threads = &process(document, pid).thread_times;
    threads.iter().filter(|one| one.tid != pid as u32).map(|one| one.time.observed_ns).max().unwrap_or(0)
}

/// A thread that ends between the look at it and its taking over has no life, and one that is on its way out ends.
#[test]
#[ignore = "needs root and eBPF"]
fn threads_that_end_while_it_attaches_do_not_live_on() {
    let child = Child::fork(|page| {
        page.gate();
        while page.noted(0) == 0 {
            let one = std::thread::spawn(|| compute(Duration::from_micros(500)));
            one.join().unwrap();
        }
    });
    child.go();
    std::thread::sleep(ms(50));
    let trace = Trace::of(&[child.pid], &["--per", "thread"]);
    std::thread::sleep(ms(500));
    let document = trace.stop();
    let time = process(&document, child.pid).time.clone().unwrap();
    // One of its threads computes at a time, for half a millisecond.
    let lived = longest(&document, child.pid);
    let first = process(&document, child.pid).thread_times.iter().find(|one| one.tid == child.pid as u32);
    let first = first.map_or(0, |one| one.time.observed_ns);
    child.page.note(0, 1);
    child.leave();
    assert!(first > 0 && first < document.elapsed_ns + 50 * MS, "{first} ns of {}", document.elapsed_ns);
    assert!(lived < document.elapsed_ns / 2, "{lived} ns of {}", document.elapsed_ns);
    assert!(time.own_ns < document.elapsed_ns + 100 * MS, "{time:?}");
    assert!(time.observed_ns < 3 * document.elapsed_ns, "{time:?}");
}

/// A thread that sleeps when it is observed first sleeps, whether it made a traced call just before or not.
#[test]
#[ignore = "needs root and eBPF"]
fn a_sleep_since_before_is_no_computing() {
    let child = Child::fork(|page| {
        page.gate();
        while page.noted(0) == 0 {
            nanosleep(ms(20));
            // SAFETY: nothing is written.
            unsafe { libc::write(1, std::ptr::null(), 0) };
        }
    });
    child.go();
    let pid = child.pid;
    for _ in 0..3 {
        let trace = Trace::of(&[pid], &[]);
        std::thread::sleep(ms(200));
        let document = trace.stop();
        let time = process(&document, pid).time.clone().unwrap();
        assert!(time.own_ns < 15 * MS, "{time:?}");
        assert!(time.observed_ns < document.elapsed_ns + 50 * MS, "{} of {time:?}", document.elapsed_ns);
    }
    child.page.note(0, 1);
    child.leave();
}
