//! The whole time of the threads of a process: from the sums of its calls, of its sleeps elsewhere, and of their lives.
//!
//! What a thread did on a CPU outside traced calls is what all other places leave of its life. These are read one after
//! the other while the thread goes on: should they add up to more than its life by the time that takes, the life counts
//! as that much longer.

use std::collections::BTreeMap;

use iotrace_ebpf::abi::traits::{DURABLE, SYNC};
use iotrace_ebpf::abi::{LifeKey, LifeSum, TakenKey, WAKE_OUTSIDE, WakeKey, place};
use iotrace_ebpf::arch::i386;
use iotrace_ebpf::span::Parts;

use crate::domain::syscall;
use crate::rows::disks;
use crate::rows::in_flight::InFlightCalls;
use crate::rows::names::Names;
use crate::rows::parts::plus;
use crate::rows::sums::Snapshot;
use crate::summary::{Class, Elsewhere, InCalls, Process, Taker, ThreadTime, Time, WokenBy};

/// Largest number of holders of a lock, and of processes that had the CPU, that are told.
const TOLD: usize = 8;

/// The time of the threads of a process, which are given where each has its own; `None`: nothing tells how long they were observed.
pub fn of_process(
    pid: u32,
    threads: &[ThreadTime],
    snapshot: &Snapshot,
    names: &Names,
    open: &InFlightCalls,
) -> Option<Time> {
    let lives: Vec<_> = snapshot.lives.iter().filter(|(key, _)| key.tgid == pid).collect();
    if lives.is_empty() {
        return None;
    }
    let mut time = if threads.is_empty() {
        let rows = snapshot.rows.iter().filter(|(key, _)| key.tgid == pid).map(|(_, row)| row.parts);
        let calls = open.open.iter().filter(|call| !open.booked && call.tgid == pid).map(|call| call.parts);
        time(rows.chain(calls), &lives, names)
    } else {
        // Each thread's life counts as at least what its places add up to, so theirs are added, not the sums.
        threads.iter().fold(Time::default(), |mut all, one| {
            all.add(&one.time);
            all
        })
    };
    for one in &mut time.elsewhere {
        one.woken_by = woken_by(pid, one, snapshot, names);
    }
    time.cpu_taken_by = takers(pid, snapshot, names);
    Some(time)
}

/// The time of each thread of a process, where rows are by thread; the one with the most time that is not asleep first.
pub fn of_threads(pid: u32, snapshot: &Snapshot, names: &Names, open: &InFlightCalls) -> Vec<ThreadTime> {
    let mut lives: BTreeMap<u32, Vec<(&LifeKey, &LifeSum)>> = BTreeMap::new();
    for (key, sum) in snapshot.lives.iter().filter(|(key, _)| key.tgid == pid && key.tid != 0) {
        lives.entry(key.tid).or_default().push((key, sum));
    }
    let mut calls: BTreeMap<u32, Vec<Parts>> = BTreeMap::new();
    if !lives.is_empty() {
        for (key, row) in snapshot.rows.iter().filter(|(key, _)| key.tgid == pid) {
            calls.entry(key.tid).or_default().push(row.parts);
        }
        for call in open.open.iter().filter(|call| !open.booked && call.tgid == pid) {
            calls.entry(call.tid).or_default().push(call.parts);
        }
    }
    let of = |(tid, lives): (u32, Vec<(&LifeKey, &LifeSum)>)| {
        let parts = calls.remove(&tid).unwrap_or_default();
        let name = names.threads.get(&tid).map_or_else(String::new, |thread| thread.name.clone());
        ThreadTime { tid, name, time: time(parts.into_iter(), &lives, names) }
    };
    let mut all: Vec<ThreadTime> = lives.into_iter().map(of).collect();
    let active = |time: &Time| time.on_cpu_ns().saturating_add(time.runnable_ns());
    all.sort_by_key(|one| std::cmp::Reverse((active(&one.time), one.time.observed_ns)));
    all
}

/// The time of all processes together.
pub fn of_all(processes: &[Process]) -> Option<Time> {
    let mut times = processes.iter().filter_map(|process| process.time.as_ref()).peekable();
    times.peek()?;
    let mut all = Time::default();
    times.for_each(|time| all.add(time));
    all.cpu_taken_by.truncate(TOLD);
    Some(all)
}

fn time(calls: impl Iterator<Item = Parts>, lives: &[(&LifeKey, &LifeSum)], names: &Names) -> Time {
    let mut parts = calls.fold(Parts::default(), |sum, one| plus(&sum, &one));
    let mut time = Time::default();
    let mut elsewhere: BTreeMap<(String, Class, bool), (u64, u64)> = BTreeMap::new();
    for (key, sum) in lives {
        // A call that was open already when its thread was observed first is a traced call, too.
        if key.what == LifeKey::SHORT {
            parts = plus(&parts, &part(key.place, sum.ns));
            continue;
        }
        if let Some(nr) = number(key.what).filter(|nr| names.traced.contains(nr)) {
            parts = plus(&parts, &part(slept_for(nr, key.place), sum.ns));
            continue;
        }
        let to = match key.place {
            place::OBSERVED => &mut time.observed_ns,
            place::RUNQ => &mut time.runq_ns,
            place::STOPPED => &mut time.stopped_ns,
            place::WAIT | place::LOCK | place::DISK => {
                let (ns, sleeps) =
                    elsewhere.entry((what(key.what), class(key), is_held(key.what))).or_default();
                *sleeps = sleeps.saturating_add(sum.times);
                ns
            }
            // Of short calls only.
            _ => continue,
        };
        *to = to.saturating_add(sum.ns);
    }
    time.in_calls = InCalls {
        wait_ns: parts.wait,
        disk_ns: parts.disk,
        lock_ns: parts.lock,
        runq_ns: parts.runq,
        copy_ns: parts.copy,
        work_ns: parts.work,
    };
    let one = |((what, class, held_lock), (ns, sleeps))| Elsewhere {
        what,
        class,
        held_lock,
        ns,
        sleeps,
        woken_by: Vec::new(),
    };
    time.elsewhere = elsewhere.into_iter().map(one).filter(|one| one.ns > 0).collect();
    time.elsewhere.sort_by_key(|one| std::cmp::Reverse(one.ns));
    let claimed = time.accounted_ns();
    time.own_ns = time.observed_ns.saturating_sub(claimed);
    time.observed_ns = time.observed_ns.max(claimed);
    time
}

/// Time of traced calls that are in no row.
fn part(at: u32, ns: u64) -> Parts {
    let mut parts = Parts { total: ns, ..Parts::default() };
    *match at {
        place::DISK => &mut parts.disk,
        place::LOCK => &mut parts.lock,
        place::RUNQ => &mut parts.runq,
        place::COPY => &mut parts.copy,
        place::WORK => &mut parts.work,
        _ => &mut parts.wait,
    } = ns;
    parts
}

/// The native number of the syscall that a thread slept in, if it was in one that can be traced.
fn number(what: u32) -> Option<u32> {
    match what {
        LifeKey::FAULT | LifeKey::NONE | LifeKey::SHORT => None,
        nr if nr & LifeKey::COMPAT != 0 => i386::native_of(nr & !LifeKey::COMPAT),
        nr => Some(nr & !LifeKey::HELD),
    }
}

/// The place of a sleep in a traced call, which is made to sleep for one thing only: as the probes book it
/// (`left`, `iotrace-ebpf/src/probes/sched.rs`).
fn slept_for(nr: u32, at: u32) -> u32 {
    match at {
        place::WAIT | place::LOCK | place::DISK if syscall::is(nr, SYNC) => place::LOCK,
        place::WAIT | place::LOCK | place::DISK if syscall::is(nr, DURABLE) => place::DISK,
        at => at,
    }
}

/// What a thread slept in.
fn what(what: u32) -> String {
    match what {
        LifeKey::FAULT => "page fault".to_owned(),
        LifeKey::NONE | LifeKey::SHORT => "not known".to_owned(),
        nr if nr & LifeKey::COMPAT != 0 => {
            format!("32-bit {}", syscall::name_of_32_bit(nr & !LifeKey::COMPAT))
        }
        nr => syscall::name(nr & !LifeKey::HELD),
    }
}

/// Whether a thread slept for a lock that is held. Constants and 32-bit numbers have that bit by chance.
fn is_held(what: u32) -> bool {
    what & LifeKey::HELD != 0 && what < LifeKey::COMPAT
}

/// What kind of sleep it was. Some syscalls sleep for one thing only, whatever the state of the thread says; else an
/// uninterruptible sleep is for a disk or for a lock.
fn class(key: &LifeKey) -> Class {
    let name = what(key.what);
    match name.trim_start_matches("32-bit ") {
        name if disks::DURABLE.contains(&name) => Class::Disk,
        _ if key.place == place::DISK => Class::Disk,
        "futex" | "futex_wait" | "futex_waitv" | "flock" | "fcntl" | "fcntl64" | "semop" | "semtimedop" => {
            Class::Lock
        }
        _ if key.place == place::LOCK && !name.contains("fork") && !name.contains("clone") => Class::Lock,
        "nanosleep" | "clock_nanosleep" => Class::Timer,
        "accept" | "accept4" | "connect" => Class::Connection,
        // `wait_for_vfork_done` (`kernel/fork.c`)
        "wait4" | "waitid" | "waitpid" | "vfork" | "clone" | "clone3" => Class::Child,
        _ => Class::Other,
    }
}

fn woken_by(pid: u32, sleep: &Elsewhere, snapshot: &Snapshot, names: &Names) -> Vec<WokenBy> {
    let mine = snapshot.wakes.iter().filter(|(key, _)| key.tgid == pid && key.nr & WAKE_OUTSIDE != 0);
    let of_it = mine.filter(|(key, _)| {
        let nr = key.nr & !WAKE_OUTSIDE;
        is_held(nr) == sleep.held_lock && what(nr) == sleep.what
    });
    let mut all: Vec<WokenBy> = of_it
        .map(|(key, &wakes)| WokenBy {
            tid: key.thread().unwrap_or(0),
            comm: match (key.waker, key.thread()) {
                (_, Some(tid)) => {
                    names.threads.get(&tid).map_or_else(|| "unknown".to_owned(), |thread| thread.name.clone())
                }
                (WakeKey::MANY, None) => "several".to_owned(),
                (WakeKey::OUTSIDE, None) => "outside".to_owned(),
                (_, None) => "timer".to_owned(),
            },
            wakes,
        })
        .collect();
    all.sort_by_key(|one| (std::cmp::Reverse(one.wakes), one.tid));
    all.truncate(TOLD);
    all
}

fn takers(pid: u32, snapshot: &Snapshot, names: &Names) -> Vec<Taker> {
    let mine = snapshot.taken.iter().filter(|(key, _)| key.tgid == pid);
    let taker = |(key, &ns): (&TakenKey, &u64)| {
        let comm = names.process(key.taker);
        Taker { pid: key.taker, comm, ns }
    };
    let mut all: Vec<Taker> = mine.map(taker).collect();
    all.sort_by_key(|one| (std::cmp::Reverse(one.ns), one.pid));
    all.truncate(TOLD);
    all
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
