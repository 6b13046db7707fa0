//! What every storm must leave: a complete result, or one that says what it lacks.

use iotrace::host::check::programs_are_preemptible;
use iotrace_core::summary::Document;

/// That nothing was lost. Where the kernel may skip probes (from 7.0) it may have skipped a mark, a fork or the end
/// of a call: then that is said, and nothing else is missing.
pub fn assert_complete(document: &Document) {
    let loss = &document.loss;
    let skipped = loss.recursion_misses.unwrap_or(0);
    assert_eq!((loss.records, loss.map_full), (0, 0), "{:?}", document.warnings);
    assert!(skipped == 0 || programs_are_preemptible(), "{loss:?}");
    assert!(loss.unmatched <= skipped, "{loss:?} {:?}", document.warnings);
    assert_eq!(document.complete, skipped == 0, "{loss:?} {:?}", document.warnings);
}

/// That every one of `truth` was counted. Where the kernel may skip probes, also the second chance of one: a
/// tracepoint's programs by perf do not run while a thread that changes a map (iotrace's own) was preempted on
/// this CPU (`bpf_disable_instrumentation`). Then what is missing is no more than what is said to be lost.
pub fn assert_counted(document: &Document, counted: u64, truth: u64) {
    assert_complete(document);
    let loss = &document.loss;
    let said = loss.recursion_misses.unwrap_or(0) + loss.unmatched;
    assert!(counted <= truth && truth - counted <= said, "{counted} of {truth}: {loss:?}");
}
