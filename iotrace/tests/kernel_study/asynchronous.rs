//! Study async: who waits and who copies, which is no question of time.

use iotrace_core::summary::Study;

use crate::{is_checked, is_emulated, median, study};

/// How many percent of the copies were made there.
fn share(study: &Study, place: &str, arm: &str) -> f64 {
    median(study, place, arm, None)
}

#[test]
#[ignore = "needs root"]
fn who_waits_and_who_copies() {
    if !is_checked() {
        return;
    }
    let study = study("async", &[]);
    if is_emulated() {
        // Which wait falls to whom depends there on whom the one CPU is left to; that it ends is checked.
        return;
    }
    let value = |measure, arm| median(&study, measure, arm, None);
    assert_eq!(share(&study, "helper", "posix-aio"), 100.0);
    assert!(value("free", "posix-aio") > value("blocked", "posix-aio"));
    assert!(value("other calls", "posix-aio") >= 2.0, "pread64, which fails, and read");
    assert_eq!(share(&study, "own call", "linux-aio"), 100.0);
    assert!(value("blocked", "linux-aio") > value("free", "linux-aio"), "io_submit blocks");
    assert_eq!(share(&study, "data call", "linux-aio-poll"), 100.0);
    let there = |arm: &str| study.arms.iter().any(|one| one.name == arm);
    if there("io-uring") {
        assert!(value("free", "io-uring") > value("blocked", "io-uring"));
        assert_eq!(share(&study, "worker", "io-uring") + share(&study, "SQ thread", "io-uring"), 0.0);
    }
    if there("uring-multi") {
        assert!(value("app calls", "uring-multi") < 0.5, "one request serves all messages");
    }
    if there("uring-defer") {
        assert!(value("app calls", "uring-defer") > 1.0, "one to hand over, one to fetch what had to wait");
        assert_eq!(share(&study, "own call", "uring-defer"), 100.0);
    }
    if there("uring-sqpoll") {
        assert_eq!(share(&study, "SQ thread", "uring-sqpoll"), 100.0);
        assert_eq!(value("app calls", "uring-sqpoll"), 0.0);
    }
}
