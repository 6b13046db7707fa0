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
