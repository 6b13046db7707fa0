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
        errors,
        timeouts: 0,
        restarts: 0,
        sleeps,
        total_ns: 0,
        wait_ns: 0,
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
    let models = models(calls, triggers);
    let total: f64 = models.iter().map(|one| one.share).sum();
    assert!((total - 1.0).abs() < 1e-9, "shares add up: {models:?}");
    (models[0].model.clone(), models[0].share)
}

#[test]
fn each_model_is_known_by_what_it_does() {
    let none = Triggers::default();
    assert_eq!(main_model(&[call("recvfrom", 100, 100, 0)], none), ("blocking".into(), 1.0));
    let spin = [call("recvfrom", 100_100, 0, 100_000)];
    assert_eq!(main_model(&spin, none).0, "nonblocking");
    for (wait, model) in
        [("select", "select"), ("pselect6", "select"), ("poll", "poll"), ("epoll_wait", "epoll")]
    {
        let calls = [call(wait, 100, 100, 0), call("recvfrom", 100, 0, 0)];
        assert_eq!(main_model(&calls, none), (model.into(), 1.0), "{wait}");
    }
    let edge = [call("epoll_wait", 100, 90, 0), call("recvfrom", 200, 0, 100)];
    assert_eq!(main_model(&edge, Triggers { edge: 4, level: 1 }), ("epoll-et".into(), 1.0));
    assert_eq!(main_model(&[call("io_uring_enter", 50, 50, 0)], none), ("io-uring".into(), 1.0));
    assert_eq!(main_model(&[call("io_submit", 50, 0, 0)], none), ("linux-aio".into(), 1.0));
}

#[test]
fn a_mixture_is_shared_out() {
    let calls = [call("recvfrom", 100, 25, 0), call("epoll_wait", 75, 75, 0)];
    let models = models(&calls, Triggers::default());
    assert_eq!((models[0].model.as_str(), models[0].share), ("epoll", 0.75));
    assert_eq!((models[1].model.as_str(), models[1].share), ("blocking", 0.25));
    assert!(models[0].evidence.contains("1.00 reads per event"), "{}", models[0].evidence);
}

#[test]
fn no_data_no_model() {
    assert!(models(&[call("write", 10, 0, 0)], Triggers::default()).is_empty());
    assert!(models(&[], Triggers::default()).is_empty());
}
