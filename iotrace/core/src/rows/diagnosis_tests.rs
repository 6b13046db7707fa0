use super::*;
use crate::summary::{Elsewhere, InCalls, Reply, Time, WokenBy};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// A process of one thread that nothing is known of.
fn bare() -> Process {
    let json = r#"{"pid": 7, "comm": "it", "processes": 1, "threads": 1, "calls": [], "operations": null, "models": [],
        "wakers": [], "in_flight": []}"#;
    serde_json::from_str(json).expect("a process")
}

/// A process of one thread that was observed for a second.
fn process(time: Time, calls: Vec<Call>) -> Process {
    let mut process = bare();
    process.calls = calls;
    process.time = Some(Time { observed_ns: SECOND, ..time });
    process
}

fn codes(process: &Process) -> Vec<Code> {
    of_process(process, SECOND).into_iter().map(|one| one.code).collect()
}

fn asleep(what: &str, class: Class, held_lock: bool, ns: u64) -> Vec<Elsewhere> {
    let woken_by = vec![WokenBy { tid: 9, comm: "holder".to_owned(), wakes: 4 }];
    vec![Elsewhere { what: what.to_owned(), class, held_lock, ns, sleeps: 10, woken_by }]
}

#[test]
fn a_lock_that_is_held_is_told_and_a_wait_for_work_is_not() {
    let of = |held| Time { elsewhere: asleep("futex", Class::Lock, held, 300 * MS), ..Time::default() };
    let found = of_process(&process(of(true), Vec::new()), SECOND);
    assert_eq!((found[0].code, found[0].share), (Code::LockContention, 0.3));
    assert!(found[0].text.contains("holder (thread 9)"), "{}", found[0].text);
    assert_eq!(codes(&process(of(false), Vec::new())), [Code::None]);
}

#[test]
fn who_has_no_cpu_hears_of_that_first() {
    let cpu_taken_by = vec![Taker { pid: 5, comm: "hog".to_owned(), ns: 400 * MS }];
    let time = Time { runq_ns: 450 * MS, own_ns: 550 * MS, cpu_taken_by, ..Time::default() };
    let mut process = process(time, Vec::new());
    assert_eq!(codes(&process), [Code::CpuStarved, Code::Computing]);
    assert!(of_process(&process, SECOND)[0].text.contains("hog (5) 89 %"));
    process.throttled_ns = Some(400 * MS);
    assert_eq!(codes(&process), [Code::Throttled, Code::Computing]);
    process.throttled_ns = Some(0);
    assert_eq!(codes(&process)[0], Code::CpuStarved);
}

#[test]
fn idle_processes_are_told_what_for() {
    let timers = Time { elsewhere: asleep("nanosleep", Class::Timer, false, 900 * MS), ..Time::default() };
    assert_eq!(codes(&process(timers, Vec::new())), [Code::Timers]);
    let in_calls = InCalls { wait_ns: 980 * MS, ..InCalls::default() };
    let waits = Time { in_calls, ..Time::default() };
    assert_eq!(codes(&process(waits.clone(), Vec::new())), [Code::WaitingForRequests]);
    let mut client = process(waits, Vec::new());
    client.replies = vec![Reply { endpoint: "tcp 127.0.0.1:5432".to_owned(), wait_ns: 900 * MS, waits: 30 }];
    assert_eq!(codes(&client), [Code::WaitingForReply]);
    assert!(of_process(&client, SECOND)[0].text.contains("127.0.0.1:5432"));
}

#[test]
fn without_a_time_nothing_is_said() {
    assert!(of_process(&bare(), SECOND).is_empty());
}

/// A row of calls that were traced with `-e`.
fn row(syscall: &str, wait_ns: u64, lock_ns: u64) -> Call {
    let mut call =
        crate::report::sample::call(syscall, Role::Other, 10, [wait_ns, lock_ns, 0, 0, 0], CopySource::None);
    call.slept_calls = 10;
    call
}

/// What is said of a process does not depend on which calls are traced.
#[test]
fn a_call_that_is_asked_for_is_no_request() {
    let of = |call: Call| {
        let in_calls = InCalls { wait_ns: call.wait_ns, lock_ns: call.lock_ns, ..InCalls::default() };
        codes(&process(Time { in_calls, ..Time::default() }, vec![call]))
    };
    for timer in ["nanosleep", "clock_nanosleep"] {
        assert_eq!(of(row(timer, 900 * MS, 0)), [Code::Timers]);
    }
    assert_eq!(of(row("wait4", 900 * MS, 0)), [Code::None], "a child is no request");
    assert_eq!(of(row("flock", 0, 900 * MS)), [Code::LockContention]);
    assert_eq!(of(row("futex", 0, 900 * MS)), [Code::None], "which locks are held is not known there");
    assert_eq!(of(row("epoll_wait", 900 * MS, 0)), [Code::WaitingForRequests]);
}
