//! `iotrace selftest`: green on every kernel, and red as soon as one figure is made wrong.

#[expect(dead_code, reason = "what is repeated here is repeated by iotrace itself")]
#[path = "support/attempts.rs"]
mod attempts;
#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;

use iotrace_core::summary::{Check, Document};
use program::{Ran, iotrace};

fn selftest(args: &[&str]) -> (Ran, Document) {
    let ran = iotrace(["selftest", "--format", "json"].iter().chain(args));
    let document =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"));
    (ran, document)
}

fn failed(document: &Document) -> Vec<&Check> {
    document.checks.iter().filter(|check| check.failed()).collect()
}

/// Each scene is played until it passes, as often as cmd/selftest.rs says: its checks tell how often that was.
fn count_attempts(document: &Document) {
    let mut scenes = BTreeMap::new();
    for check in &document.checks {
        let scene = check.name.split('/').next().unwrap_or_default();
        let (made, passed) = scenes.entry(scene).or_insert((0, 1));
        *made = check.attempts.max(*made);
        *passed = if check.failed() { 0 } else { *passed };
    }
    for (made, passed) in scenes.into_values() {
        attempts::count(made, passed, 5, "a busy machine may disturb a scene of the self-test");
    }
}

/// Whether this is a virtual machine under emulation: everything but the shift is slower there.
fn in_vm() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}

/// Runs it with a fault. In a VM only the scenes that notice every one of them.
fn with_fault(fault: &str) -> (Ran, Document) {
    let scenes: &[&str] = if in_vm() { &["whole", "wait-pipe", "wait-unix"] } else { &[] };
    selftest(&[scenes, &["--fault", fault]].concat())
}

/// Runs it with a fault, which must be noticed.
fn noticed(fault: &str) -> Document {
    let (ran, document) = with_fault(fault);
    assert_eq!(ran.code, Some(1), "{fault} was not noticed: {:?}", document.checks);
    assert!(!failed(&document).is_empty(), "{fault}");
    assert!(ran.stderr.contains("not to be trusted"), "{fault}: {}", ran.stderr);
    document
}

#[test]
#[ignore = "needs root"]
fn every_check_passes_here() {
    let (ran, document) = selftest(&["-v"]);
    count_attempts(&document);
    assert_eq!(ran.code, Some(0), "{:?}: {}", failed(&document), ran.stderr);
    assert_eq!((document.command.as_str(), document.checks.len() > 90), ("selftest", true));
    assert!(in_vm() || document.elapsed_ns < 30_000_000_000, "{} ns", document.elapsed_ns);
    for check in &document.checks {
        let numbers = [check.expected, check.measured, check.error, check.allowed];
        if check.skipped.is_some() {
            assert_eq!((numbers, check.pass), ([None; 4], None), "{check:?}");
        } else {
            let (error, allowed) = check.error.zip(check.allowed).expect("measured");
            assert!(error <= allowed && check.pass == Some(true), "{check:?}");
            assert!(!check.oracle.is_empty() && !check.unit.is_empty(), "{check:?}");
        }
    }
    // What is skipped for its age is what this kernel is too old for; the newest skips nothing of that kind.
    let release = document.host.kernel.as_str();
    let running = iotrace::host::kernel::version(release).expect("a release");
    for check in document.checks.iter().filter(|check| check.skipped.is_some()) {
        let since =
            check.since.as_deref().map(|since| iotrace::host::kernel::version(since).expect("a version"));
        assert!(since.is_none_or(|since| running < since), "{release}: {check:?}");
    }
}

/// Each fault is one mark, shifted by as little as 10 us. The truth about a mark lies between two readings of the clock,
/// which are further apart than that on a busy machine: then 200 us must be noticed. To attach takes long in a VM: few
/// faults there.
#[test]
#[ignore = "needs root"]
fn a_mark_that_is_shifted_fails_it() {
    if in_vm() {
        noticed("exit=1ms");
        noticed("waking=-1ms");
        return;
    }
    for mark in ["enter", "exit", "out", "in", "waking", "copy", "ready"] {
        for sign in ["", "-"] {
            let at_once = with_fault(&format!("{mark}={sign}10us")).0.code == Some(1);
            if !at_once {
                noticed(&format!("{mark}={sign}200us"));
            }
            attempts::count(
                2 - u32::from(at_once),
                1,
                2,
                "a busy machine hides a shift of 10 us, not one of 200 us",
            );
        }
    }
}

#[test]
#[ignore = "needs root"]
fn exits_that_are_not_seen_fail_it() {
    let document = noticed("skip-exit");
    let names: Vec<&str> = failed(&document).iter().map(|check| check.name.as_str()).collect();
    assert!(names.contains(&"whole/calls-of-threads"), "{names:?}");
    assert!(document.loss.unmatched > 0 && !document.complete, "{:?}", document.loss);
}

/// The marks that tell a sleep from running, in the sums of threads. The judgement is tested with sums made by hand
/// (`selftest/time_tests.rs`), and marks do not depend on the kernel's version: on this machine only.
#[test]
#[ignore = "needs root"]
fn a_place_of_a_thread_that_is_off_fails_it() {
    if in_vm() {
        return;
    }
    for (fault, figure) in [("waking=-5ms", "sleeper-nanosleep"), ("out=3ms", "waiter-futex")] {
        let (ran, document) = selftest(&["thread-time", "--fault", fault]);
        let names: Vec<&str> = failed(&document).iter().map(|check| check.name.as_str()).collect();
        assert_eq!(ran.code, Some(1), "{fault} was not noticed: {:?}", document.checks);
        assert!(names.contains(&format!("thread-time/{figure}").as_str()), "{fault}: {names:?}");
    }
}

/// A missing probe leaves checks out; it does not make them pass.
#[test]
#[ignore = "needs root"]
fn without_a_probe_its_checks_are_skipped_with_the_reason() {
    let (_, document) = selftest(&["uring-inline", "--without", "io_uring_complete"]);
    let [check] = &document.checks[..] else { panic!("one check: {:?}", document.checks) };
    assert!(check.skipped.as_ref().is_some_and(|why| why.contains("io_uring_complete")), "{check:?}");
    assert!(check.measured.is_none() && check.pass.is_none(), "{check:?}");
    assert!(document.warnings.iter().any(|warning| warning.code == "probe_missing"));
}

#[test]
#[ignore = "needs root"]
fn the_table_names_truth_figure_and_allowance() {
    let ran = iotrace(["selftest", "wait-pipe"]);
    for words in ["expected", "measured", "allowed", "wait-pipe/wake-up", "selftest: ", "complete: "] {
        assert!(ran.stdout.contains(words), "no {words}: {}", ran.stdout);
    }
    let ran = iotrace(["selftest", "no-such-scene"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("wait-pipe"), "the scenes are named: {}", ran.stderr);
}
