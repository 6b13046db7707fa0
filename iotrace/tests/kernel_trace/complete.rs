//! What every storm must leave: a complete result, or one that says what it lacks.

use iotrace::bpf::loader::programs_are_preemptible;
use iotrace::summary::Document;

/// That nothing was lost. Where the kernel may skip probes (from 7.0) it may have skipped a mark or a fork:
/// then that is said, and nothing else is missing.
pub fn assert_complete(document: &Document) {
    let loss = &document.loss;
    let skipped = loss.recursion_misses.unwrap_or(0) > 0;
    assert_eq!((loss.records, loss.map_full, loss.unmatched), (0, 0, 0), "{:?}", document.warnings);
    assert_eq!(document.complete, !skipped, "{loss:?} {:?}", document.warnings);
    assert!(!skipped || programs_are_preemptible(), "{loss:?}");
}

/// That every one of `truth` was counted. Where the kernel may skip probes, also the second chance of one: a
/// tracepoint's programs by perf do not run while a thread that changes a map (iotrace's own) was preempted on
/// this CPU (`bpf_disable_instrumentation`). Then what is missing is no more than what is said to be lost.
pub fn assert_counted(document: &Document, counted: u64, truth: u64) {
    let loss = &document.loss;
    let said = match loss.recursion_misses {
        Some(skipped @ 1..) if programs_are_preemptible() => skipped + loss.unmatched,
        _ => 0,
    };
    assert!(counted <= truth && truth - counted <= said, "{counted} of {truth}: {loss:?}");
    assert!(counted == truth || !document.complete, "{counted} of {truth}: {loss:?}");
    if counted == truth {
        assert_complete(document);
    }
}
