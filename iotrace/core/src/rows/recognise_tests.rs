use std::collections::BTreeMap;

use super::*;
use crate::domain::dist::Dist;
use crate::domain::syscall::{direction, named, role_of};
use crate::domain::{CopySource, ThreadRole};

fn call(name: &str, calls: u64, sleeps: u64, again: u64) -> Call {
    let nr = named(name)[0];
    let errors = if again > 0 { BTreeMap::from([("EAGAIN".to_owned(), again)]) } else { BTreeMap::new() };
    Call {
        syscall: name.to_owned(),
        role: role_of(nr, 0, 0),
        direction: direction(nr),
        thread_role: ThreadRole::App,
        tid: None,
        thread_name: None,
        fd: None,
        calls,
        bytes: 0,
        returned: 0,
        open: 0,
        errors,
        peeked_bytes: 0,
        denied: 0,
        timeouts: 0,
        empty: 0,
        restarts: 0,
        slept_calls: sleeps,
        sleeps,
        total_ns: 0,
        wait_ns: 0,
        disk_ns: 0,
        lock_ns: 0,
        runq_ns: 0,
        copy_ns: 0,
        work_ns: 0,
        copy_source: CopySource::None,
        copy_upper_ns: None,
        copy_floor_ns: None,
        phase1: Dist::default(),
        phase2: None,
        latency: Dist::default(),
        waits_for: None,
        pickup: None,
    }
}

fn main_model(calls: &[Call], triggers: Triggers) -> (String, f64) {
    let models = models(calls, &Ways::new(), triggers);
    let total: f64 = models.iter().map(|one| one.share).sum();
    assert!((total - 1.0).abs() < 1e-9, "shares add up: {models:?}");
    (models[0].model.clone(), models[0].share)
}

/// A call that returned this many events or requests.
fn returned(call: Call, returned: u64) -> Call {
    Call { returned, ..call }
}

/// A readiness call that returned one event each time.
fn wait(name: &str, calls: u64) -> Call {
    returned(call(name, calls, calls, 0), calls)
}

/// The models of calls of which the kernel part looked at these reads, with their shares in percent.
fn told(calls: &[Call], came: &[(&str, u16, u64)]) -> Vec<(String, u64)> {
    let came = came.iter().map(|&(name, way, times)| ((name.to_owned(), way), times)).collect();
    let models = models(calls, &came, Triggers { edge: 9, level: 0 });
    models.into_iter().map(|one| (one.model, (one.share * 100.0).round() as u64)).collect()
}

#[test]
fn each_model_is_known_by_what_it_does() {
    let none = Triggers::default();
    assert_eq!(main_model(&[call("recvfrom", 100, 100, 0)], none), ("blocking".into(), 1.0));
    let spin = [call("recvfrom", 100_100, 0, 100_000)];
    assert_eq!(main_model(&spin, none).0, "nonblocking");
    for (name, model) in
        [("select", "select"), ("pselect6", "select"), ("poll", "poll"), ("epoll_wait", "epoll")]
    {
        let calls = [wait(name, 100), call("recvfrom", 100, 0, 0)];
        assert_eq!(main_model(&calls, none), (model.into(), 1.0), "{name}");
    }
    let edge = [wait("epoll_wait", 100), call("recvfrom", 200, 0, 100)];
    assert_eq!(main_model(&edge, Triggers { edge: 4, level: 1 }), ("epoll-et".into(), 1.0));
    let ring = returned(call("io_uring_enter", 50, 50, 0), 800);
    assert_eq!(main_model(&[ring], none), ("io-uring".into(), 1.0));
    let aio = returned(call("io_submit", 50, 0, 0), 50);
    assert_eq!(main_model(&[aio], none), ("linux-aio".into(), 1.0));
}

#[test]
fn events_are_what_the_waits_returned() {
    let calls = [returned(call("epoll_wait", 20, 3, 0), 1000), call("recvfrom", 1000, 0, 0)];
    for came in [Ways::new(), Ways::from([(("recvfrom".to_owned(), ways::LEVEL), 640)])] {
        let models = models(&calls, &came, Triggers::default());
        assert_eq!(
            models[0].evidence,
            "1000 events from 20 waits, 1.00 reads per event, 0 % EAGAIN, 0 % of waits empty"
        );
    }
}

#[test]
fn requests_are_what_was_submitted() {
    let enters = [returned(call("io_uring_enter", 40, 20, 0), 180)];
    let one = &models(&enters, &Ways::new(), Triggers::default())[0];
    assert_eq!(one.evidence, "180 requests handed to io_uring_enter");
    let waits_only = [call("io_uring_enter", 40, 40, 0)];
    assert!(models(&waits_only, &Ways::new(), Triggers::default()).is_empty(), "a wait is no request");
    // What an enter returns for a ring with an SQ thread is what it was told, not what it submitted.
    assert_eq!(
        told(&enters, &[("", ways::SQPOLL, 300), ("", ways::SUBMITTED, 100)]),
        [("io-uring-sqpoll".into(), 75), ("io-uring".into(), 25)]
    );
}

#[test]
fn a_read_belongs_to_what_told_of_its_descriptor_not_to_the_process() {
    // One thread selects on a pipe, others read files: no read of a file is by select.
    let fio = [wait("select", 10), call("pread64", 78_900, 70_000, 0), call("read", 10, 0, 0)];
    assert_eq!(
        told(&fio, &[("pread64", ways::FILE, 5_000), ("read", ways::SELECT, 10)])[0],
        ("file".into(), 100)
    );
    // One thread of several waits by epoll; another reads what is always there.
    let mixed = [wait("epoll_wait", 100), call("recvfrom", 400, 0, 0)];
    assert_eq!(
        told(&mixed, &[("recvfrom", ways::LEVEL, 10), ("recvfrom", ways::UNTOLD, 30)]),
        [("ready".into(), 75), ("epoll".into(), 25)]
    );
    // Most registrations are edge-triggered, and what was read is not.
    assert_eq!(told(&mixed, &[("recvfrom", ways::LEVEL, 40)]), [("epoll".into(), 100)]);
    assert_eq!(
        told(&mixed, &[("recvfrom", ways::EDGE, 30), ("recvfrom", ways::LEVEL, 10)])[0],
        ("epoll-et".into(), 75)
    );
    // Registered with an epoll instance that nobody of the process waits for.
    assert_eq!(
        told(&[call("recvfrom", 10, 0, 0)], &[("recvfrom", ways::LEVEL, 10)]),
        [("ready".into(), 100)]
    );
    // One thread spins on a socket of its own beside an event loop.
    let spins = [wait("epoll_wait", 100), call("recvfrom", 50_200, 0, 50_000)];
    assert_eq!(
        told(&spins, &[("recvfrom", ways::LEVEL, 100), ("recvfrom", ways::UNTOLD, 100)]),
        [("epoll".into(), 50), ("nonblocking".into(), 50)]
    );
    // Reading each socket empty is no polling.
    let drains = [returned(call("epoll_wait", 10, 1, 0), 1000), call("recvfrom", 2000, 0, 1000)];
    assert_eq!(told(&drains, &[("recvfrom", ways::EDGE, 100)]), [("epoll-et".into(), 100)]);
}

#[test]
fn a_mixture_is_shared_out() {
    let calls = [call("recvfrom", 100, 25, 0), wait("epoll_wait", 75)];
    let models = models(&calls, &Ways::new(), Triggers::default());
    assert_eq!((models[0].model.as_str(), models[0].share), ("epoll", 0.75));
    assert_eq!((models[1].model.as_str(), models[1].share), ("blocking", 0.25));
    assert!(models[0].evidence.contains("1.00 reads per event"), "{}", models[0].evidence);
}

#[test]
fn no_data_no_model() {
    assert!(models(&[call("write", 10, 0, 0)], &Ways::new(), Triggers::default()).is_empty());
    assert!(models(&[], &Ways::new(), Triggers::default()).is_empty());
}
