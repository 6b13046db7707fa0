//! Probe runs that the kernel skips: forced where it skips any, counted, and said.

use std::time::{Duration, Instant};

use iotrace::host::check::programs_are_preemptible;

use crate::children::Child;
use crate::support;
use crate::trace::{Trace, calls, process};

/// Threads on one CPU that do nothing but traced calls: whoever is preempted in the middle of a probe keeps it
/// from the others, and here it has no second chance.
#[test]
#[ignore = "needs root"]
fn what_the_kernel_skips_is_counted_and_strict_fails() {
    const THREADS: usize = 4;
    if !support::has("preemption in the middle of probes", (7, 0), programs_are_preemptible()) {
        return;
    }
    let child = Child::fork(|page| {
        iotrace::workload::pin(0).expect("there is a CPU 0");
        page.gate();
        let until = Instant::now() + Duration::from_secs(2);
        let spin = || {
            let mut made = 0;
            while Instant::now() < until {
                let mut byte = 0u8;
                // SAFETY: a descriptor that is none.
                assert_eq!(unsafe { libc::read(-1, (&raw mut byte).cast(), 1) }, -1);
                made += 1;
            }
            made
        };
        let made: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(spin)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not fail")).sum()
        });
        page.note(0, made);
    });
    let trace = Trace::of(
        &[child.pid],
        &["-e", "trace=read", "--strict", "--without", "sys_enter_again", "--without", "sys_exit_again"],
    );
    child.run();
    trace.signal(libc::SIGINT);
    let outcome = trace.end();
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    let document = outcome.document();
    let loss = &document.loss;
    let skipped = loss.recursion_misses.expect("counted since 5.12");
    assert!(skipped > 0 && !document.complete, "{loss:?}");
    let (made, seen) = (child.page.noted(0), calls(process(&document, child.pid), "read"));
    assert!(seen <= made && made - seen <= skipped, "{seen} of {made} calls: {loss:?}");
}
