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
    let value = |measure, arm| median(&study, measure, arm, None);
    // A kernel that is checked has all of them: requests of io_uring that serve many messages since 6.0, deferred
    // ones since 6.1.
    for (place, arm) in [
        ("helper", "posix-aio"),
        ("own call", "linux-aio"),
        ("data call", "linux-aio-poll"),
        ("own call", "uring-defer"),
        ("SQ thread", "uring-sqpoll"),
    ] {
        assert_eq!(share(&study, place, arm), 100.0, "{place} {arm}: {:?}", study.arms);
    }
    assert_eq!(share(&study, "worker", "io-uring") + share(&study, "SQ thread", "io-uring"), 0.0);
    assert!(value("other calls", "posix-aio") >= 2.0, "pread64, which fails, and read");
    assert!(value("app calls", "uring-multi") < 0.5, "one request serves all messages");
    assert_eq!(value("app calls", "uring-sqpoll"), 0.0);
    if is_emulated() {
        // Which wait falls to whom depends there on whom the one CPU is left to.
        return;
    }
    assert!(value("free", "posix-aio") > value("blocked", "posix-aio"));
    assert!(value("blocked", "linux-aio") > value("free", "linux-aio"), "io_submit blocks");
    assert!(value("free", "io-uring") > value("blocked", "io-uring"));
    assert!(value("app calls", "uring-defer") > 1.0, "one to hand over, one to fetch what had to wait");
}
