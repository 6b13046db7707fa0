use std::cell::RefCell;

use iotrace_core::domain::Loss;
use iotrace_core::records::journal::Journal;
use iotrace_core::rows::sums::Snapshot;
use iotrace_ebpf::abi::{LifeKey, LifeSum, place};

use super::*;
use crate::selftest::account::Scene;

const MS: u64 = 1_000_000;

/// A sleeper that lived for 105 ms, slept for 100 of them, had no CPU for 2 and one for 3.
fn scene() -> Scene {
    let facts = [
        ("pid", 7),
        ("sleeper-tid", 8),
        ("sleeper-least", 104 * MS),
        ("sleeper-most", 106 * MS),
        ("sleeper-cpu", 3 * MS),
        ("sleeper-delay", 2 * MS),
        ("sleeper-slept", 101 * MS),
        ("sleeper-awake", MS),
    ];
    let facts = facts.map(|(name, number)| (name.to_owned(), number)).into();
    Scene { name: "thread-time".into(), to_ns: u64::MAX / 2, facts, ..Scene::default() }
}

/// What fails of the sleeper when the kernel sums its life, its sleep and its wait for a CPU up like this.
fn failing(observed: u64, asleep: u64, runq: u64) -> Vec<String> {
    let key = |what, place| LifeKey { tgid: 7, tid: 8, what, place };
    let sum = |ns| LifeSum { ns, times: 1 };
    let lives = [
        (key(LifeKey::NONE, place::OBSERVED), sum(observed)),
        (key(libc::SYS_nanosleep as u32, place::WAIT), sum(asleep)),
        (key(LifeKey::NONE, place::RUNQ), sum(runq)),
    ];
    let sums = Snapshot { lives: lives.into(), ..Snapshot::default() };
    let evidence = Evidence {
        scene: &scene(),
        journal: &Journal::default(),
        sums: Some(&sums),
        loss: &Loss::default(),
        attached: &|_| true,
        checks: RefCell::default(),
    };
    judge(&evidence);
    let checks = evidence.checks.into_inner();
    let failed = checks.iter().filter(|check| check.failed() && check.name.contains("sleeper"));
    failed.map(|check| check.name.trim_start_matches("thread-time/sleeper-").to_owned()).collect()
}

#[test]
fn a_place_that_is_off_is_noticed() {
    assert!(failing(105 * MS, 100 * MS, 2 * MS).is_empty());
    // Sleep that was booked as something else, and the other way round.
    assert_eq!(failing(105 * MS, 90 * MS, 2 * MS), ["cpu", "nanosleep"]);
    assert_eq!(failing(105 * MS, 90 * MS, 12 * MS), ["runnable", "nanosleep"]);
    // A life that is shorter or longer than the thread's.
    assert_eq!(failing(108 * MS, 100 * MS, 2 * MS), ["life", "cpu"]);
    assert_eq!(failing(103 * MS, 100 * MS, 2 * MS), ["life"]);
}

#[test]
fn a_thread_of_which_nothing_is_known_fails() {
    assert!(failing(0, 0, 0).contains(&"life".to_owned()));
}
