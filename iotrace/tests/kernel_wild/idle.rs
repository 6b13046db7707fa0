//! Threads that never run beside others that do.

use std::time::{Duration, Instant};

use crate::children::Child;
use crate::trace::Trace;

/// The idle threads have id 0, which marks a free place among the threads of the target: they are none of them.
#[test]
#[ignore = "needs root"]
fn idle_cpus_are_no_unseen_switches_of_a_thread_that_sleeps() {
    let asleep = Child::fork(|page| {
        page.gate();
        std::thread::sleep(Duration::from_secs(600));
    });
    let nappers = [0, 1].map(|cpu| {
        let napper = Child::fork(move |page| {
            // A machine of one CPU has no second; both share it then.
            let _ = iotrace::workload::pin(cpu);
            page.gate();
            let until = Instant::now() + Duration::from_millis(800);
            while Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        napper.go();
        napper
    });
    asleep.go();
    let trace = Trace::of(&[asleep.pid], &[]);
    nappers.iter().for_each(Child::finished);
    let document = trace.stop();
    let codes: Vec<_> = document.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert!(!codes.contains(&"switches_unseen"), "{:?}", document.warnings);
    assert!(document.complete, "{:?}", document.warnings);
}
