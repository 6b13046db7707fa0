//! What the time of a process means: rules over its sums, each with its threshold, its evidence, and what to look at
//! next. `docs/diagnosis.md` explains each rule, and what can mislead it.
//!
//! A rule that is wrong is worse than none: each asks for much of the time on the clock, and none rests on copies that
//! are estimated. Rules about what a process is busy with come first; only where none of them fires is it said what it
//! waits for.

use crate::domain::{CopySource, Direction, Role};
use crate::rows::disks::{durable, reads};
use crate::rows::finding::{Case, ms, percent};
use crate::rows::idle::{IDLE, idle, none};
use crate::summary::{Call, Code, Diagnosis, Process, Taker};

/// Most findings that are told of a process.
const MOST: usize = 3;
/// A read that starts this long after its data was ready is late, ns.
const LATE_NS: u64 = 1_000_000;
/// Calls that move fewer bytes each than this are small.
const SMALL_BYTES: u64 = 64;
/// Calls that return "not yet" for each that does not, from which on a process polls.
const POLLS: u64 = 4;

/// What the time of a process means, the most important first.
pub fn of_process(process: &Process, elapsed_ns: u64) -> Vec<Diagnosis> {
    let Some(time) = &process.time else { return Vec::new() };
    // One that lived for a part of it only is judged by that part, as far as it is known.
    let threads = process.threads.max(1);
    let wall_ns = elapsed_ns.min(if threads == 1 { time.observed_ns } else { elapsed_ns }).max(1);
    let case = Case { process, time, wall_ns };
    let rules: [fn(&Case<'_>) -> Option<Diagnosis>; 11] =
        [throttled, starved, late, locks, durable, reads, room, polling, small, copying, reply];
    let found: Vec<Diagnosis> = rules.iter().filter_map(|rule| rule(&case)).collect();
    let weights: Vec<f64> = found.iter().map(|one| weight(one, &found)).collect();
    let mut weighed: Vec<(f64, Diagnosis)> = weights.into_iter().zip(found).collect();
    weighed.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut found: Vec<Diagnosis> = weighed.into_iter().map(|(_, one)| one).collect();
    found.extend(computing(&case));
    if found.is_empty() {
        found.extend(idle(&case));
    }
    if found.is_empty() {
        found.push(none(&case));
    }
    found.truncate(MOST);
    found
}

/// How important a finding is among others: what keeps a process from its work comes before what it works on. Without a
/// CPU it may wait since a disk or a peer woke it: of these the longer one comes first.
fn weight(one: &Diagnosis, among: &[Diagnosis]) -> f64 {
    let is_sleep = |code| {
        let sleeps = [Code::DiskReads, Code::DurableWrites, Code::WaitingForReply, Code::WaitingForRoom];
        sleeps.contains(&code)
    };
    let first = match one.code {
        Code::Throttled | Code::Late => true,
        Code::CpuStarved => !among.iter().any(|other| is_sleep(other.code) && other.share > one.share),
        _ => false,
    };
    one.share + if first { 1e6 } else { 0.0 }
}

/// The quota of the cgroup kept it from running (`cpu.stat`).
fn throttled(case: &Case<'_>) -> Option<Diagnosis> {
    let ns = case.process.throttled_ns?;
    // The figure is a sum over CPUs: what its threads waited bounds their part of it.
    let waited = ns.min(case.time.runnable_ns());
    case.is_much(waited).then(|| {
        case.finding(
            Code::Throttled,
            waited,
            format!(
                "throttled: its threads were ready to run for {} and its cgroup had used up its CPU quota for {}",
                ms(case.time.runnable_ns()),
                ms(ns)
            ),
            &[("throttled_ns", ns), ("runnable_ns", case.time.runnable_ns())],
            format!("raise cpu.max of its cgroup (/proc/{}/cgroup names it), or run fewer threads", case.process.pid),
        )
    })
}

/// Time for which its threads may have been runnable since they were throttled, ns: the figure of the cgroup counts a
/// CPU once, however many of its threads wait there.
fn held_back_ns(case: &Case<'_>) -> u64 {
    let ns = case.process.throttled_ns.unwrap_or(0);
    let much = case.is_much(ns.min(case.time.runnable_ns()));
    if much { ns.saturating_mul(case.process.threads.max(1)) } else { 0 }
}

/// Others had the CPU while it was runnable.
fn starved(case: &Case<'_>) -> Option<Diagnosis> {
    let on_cpu = case.time.on_cpu_ns();
    let runnable = case.time.runnable_ns().saturating_sub(held_back_ns(case));
    if !case.is_much(runnable) || runnable.saturating_mul(5) < on_cpu {
        return None;
    }
    let own = case.process.pid;
    let named = case.time.cpu_taken_by.iter().take(3);
    let who = |taker: &Taker| {
        let share = percent((taker.ns as f64 / runnable as f64).min(1.0));
        match taker.pid {
            pid if pid == own => format!("its own other threads {share}"),
            pid => format!("{} ({pid}) {share}", taker.comm),
        }
    };
    let who: Vec<String> = named.map(who).collect();
    let by = match who.is_empty() {
        true => "which nobody had for long: CPUs were slow to take it".to_owned(),
        false => format!("which had, at least: {}", who.join(", ")),
    };
    let mut evidence = vec![("runnable_ns", runnable), ("on_cpu_ns", on_cpu)];
    if let Some(most) = case.time.cpu_taken_by.first() {
        evidence.extend([("most_by_pid", u64::from(most.pid)), ("most_by_ns", most.ns)]);
    }
    Some(case.finding(
        Code::CpuStarved,
        runnable,
        format!("starved of CPU: ready to run without one for {}, {by}", ms(runnable)),
        &evidence,
        "move one of them to other CPUs (taskset -p), or give it less weight (nice, cpu.weight)".to_owned(),
    ))
}

/// Data lay ready while its threads did something else.
fn late(case: &Case<'_>) -> Option<Diagnosis> {
    let pickups = case.process.calls.iter().filter_map(|call| call.pickup.as_ref());
    let (times, ns) = pickups
        .clone()
        .fold((0, 0u64), |(times, ns), one| (one.count.saturating_add(times), one.sum_ns.saturating_add(ns)));
    let mean = ns.checked_div(times)?;
    let worst = pickups.map(|one| one.p99_ns).max().unwrap_or(0);
    if times < 3 || mean < LATE_NS || !case.is_much(ns) {
        return None;
    }
    let time = case.time;
    let calls = &time.in_calls;
    let sleep = time.elsewhere.first();
    // Waiting for the data of others is what a server does; it is no reason to be late.
    let mut did = vec![
        (time.on_cpu_ns(), "ran its own code".to_owned()),
        (calls.disk_ns, "waited for a disk".to_owned()),
        (time.runnable_ns(), "had no CPU".to_owned()),
    ];
    did.extend(sleep.map(|sleep| (sleep.ns, format!("slept in {}", sleep.what))));
    did.sort_by_key(|one| std::cmp::Reverse(one.0));
    let meanwhile = did.first().filter(|one| case.is_much(one.0));
    let meanwhile =
        meanwhile.map_or_else(String::new, |(ns, what)| format!("; the process {what} for {}", ms(*ns)));
    Some(case.finding(
        Code::Late,
        ns.min(case.wall_ns),
        format!(
            "late: data lay ready for {} on average before it was read ({times} times, p99 {}){meanwhile}",
            ms(mean),
            ms(worst)
        ),
        &[("pickups", times), ("pickup_mean_ns", mean), ("pickup_p99_ns", worst), ("own_ns", time.own_ns)],
        format!("what its threads do between two reads: {}", case.command("--per thread")),
    ))
}

/// Its threads wait for a lock that another thread holds.
fn locks(case: &Case<'_>) -> Option<Diagnosis> {
    let held = || case.time.elsewhere.iter().filter(|one| one.held_lock || one.what == "flock");
    // With `-e` these waits are in a row. Of a traced `futex` it is not known which were for a held lock.
    let rows = |of: fn(&Call) -> u64| case.sum(|call| if call.syscall == "flock" { of(call) } else { 0 });
    let ns = held().map(|one| one.ns).fold(rows(|call| call.lock_ns), u64::saturating_add);
    let sleeps: u64 = held().map(|one| one.sleeps).fold(rows(|call| call.slept_calls), u64::saturating_add);
    if !case.is_much(ns) || sleeps == 0 {
        return None;
    }
    let holder = held().flat_map(|one| &one.woken_by).find(|one| one.tid != 0);
    let by = holder.map_or_else(String::new, |one| {
        format!("; most often released by {} (thread {})", one.comm, one.tid)
    });
    Some(case.finding(
        Code::LockContention,
        ns,
        format!(
            "lock contention: its threads waited {} for a held lock, {} a time{by}",
            ms(ns),
            ms(ns / sleeps)
        ),
        &[("lock_ns", ns), ("sleeps", sleeps), ("holder_tid", holder.map_or(0, |one| u64::from(one.tid)))],
        format!("what the holder does with the lock: {}", case.command("--per thread")),
    ))
}

/// Its peers read slowly.
fn room(case: &Case<'_>) -> Option<Diagnosis> {
    let out = |call: &Call| call.direction == Some(Direction::Out);
    let ns = case.sum(|call| if out(call) { call.wait_ns } else { 0 });
    case.is_much(ns).then(|| {
        let bytes = case.sum(|call| if out(call) { call.bytes } else { 0 });
        case.finding(
            Code::WaitingForRoom,
            ns,
            format!("waiting for room: {} asleep in writing, as who reads is slower", ms(ns)),
            &[("output_wait_ns", ns), ("bytes", bytes)],
            format!("which peer: {}", case.command("--per fd")),
        )
    })
}

/// It asks again and again.
fn polling(case: &Case<'_>) -> Option<Diagnosis> {
    let not_yet = |call: &Call| call.not_yet().saturating_add(call.empty);
    let asks =
        |call: &&Call| not_yet(call) > (call.calls - not_yet(call).min(call.calls)).saturating_mul(POLLS);
    let rows = || case.process.calls.iter().filter(asks);
    let calls = rows().map(not_yet).fold(0, u64::saturating_add);
    let ns = rows().map(|call| call.work_ns).fold(0, u64::saturating_add);
    let most = rows().max_by_key(|call| not_yet(call))?;
    (case.is_much(ns) && calls >= 100).then(|| {
        case.finding(
            Code::Polling,
            ns,
            format!(
                "polling: {calls} calls found nothing to do yet, most of them {}, and cost {} of CPU",
                most.syscall,
                ms(ns)
            ),
            &[("not_yet_calls", calls), ("not_yet_cpu_ns", ns)],
            "wait instead: a blocking call, or epoll_wait with a timeout".to_owned(),
        )
    })
}

/// It moves few bytes with each call.
fn small(case: &Case<'_>) -> Option<Diagnosis> {
    let done = |call: &Call| call.calls.saturating_sub(call.errors.values().sum());
    // A call that sleeps brings what a peer sent just then: a message, however small.
    let is_small = |call: &&Call| {
        call.role == Role::Data
            && call.bytes > 0
            && done(call) >= 1000
            && call.slept_calls.saturating_mul(4) < done(call)
            && call.bytes / done(call) <= SMALL_BYTES
    };
    let rows = || case.process.calls.iter().filter(is_small);
    let ns = rows().map(|call| call.work_ns.saturating_add(call.copy_ns)).fold(0, u64::saturating_add);
    let most = rows().max_by_key(|call| call.calls)?;
    // Of the time on a CPU it must be notable, too, or something else is the matter.
    let notable = ns.saturating_mul(5) >= case.time.on_cpu_ns();
    (case.is_much(ns) && notable).then(|| {
        let (calls, bytes) = (done(most), most.bytes);
        case.finding(
            Code::SmallIo,
            ns,
            format!(
                "small I/O: {calls} calls of {} moved {} bytes each, for {} of CPU",
                most.syscall,
                bytes / calls,
                ms(ns)
            ),
            &[("calls", calls), ("bytes", bytes), ("calls_cpu_ns", ns)],
            "read and write by larger buffers (BufReader, setvbuf, readv)".to_owned(),
        )
    })
}

/// It copies much, as far as that is measured.
fn copying(case: &Case<'_>) -> Option<Diagnosis> {
    let known = |call: &Call| matches!(call.copy_source, CopySource::Exact | CopySource::Marked);
    let ns = case.sum(|call| if known(call) { call.copy_ns } else { 0 });
    let much = ns.saturating_mul(3) >= case.time.on_cpu_ns();
    (case.is_much(ns) && much).then(|| {
        let bytes = case.sum(|call| if known(call) { call.bytes } else { 0 });
        case.finding(
            Code::Copying,
            ns,
            format!("copying: {} of CPU to copy {bytes} bytes out of sockets", ms(ns)),
            &[("copy_ns", ns), ("bytes", bytes)],
            "move fewer bytes, or past the process (splice, sendfile)".to_owned(),
        )
    })
}

/// It waits for the answers of others.
fn reply(case: &Case<'_>) -> Option<Diagnosis> {
    let replies = &case.process.replies;
    let connects = case.sum(|call| if call.syscall == "connect" { call.wait_ns } else { 0 });
    let ns = replies.iter().map(|one| one.wait_ns).fold(connects, u64::saturating_add);
    if !case.is_much(ns) {
        return None;
    }
    let waits: u64 = replies.iter().map(|one| one.waits).fold(0, u64::saturating_add);
    let whom = replies.first().filter(|one| one.wait_ns >= connects);
    let text = match whom {
        Some(most) => format!(
            "waiting for a reply: {} asleep until data came on connections that it made, {} a time, {} of it from {}",
            ms(ns),
            ms(ns / waits.max(1)),
            percent(most.wait_ns as f64 / ns as f64),
            most.endpoint
        ),
        None => format!("waiting for a reply: {} asleep until connections were made", ms(ns)),
    };
    Some(case.finding(
        Code::WaitingForReply,
        ns,
        text,
        &[("reply_wait_ns", ns), ("reply_waits", waits), ("connect_wait_ns", connects)],
        format!(
            "why the other side takes so long: trace it there; by connection: {}",
            case.command("--per fd")
        ),
    ))
}

/// It runs its own code.
fn computing(case: &Case<'_>) -> Option<Diagnosis> {
    let ns = case.time.own_ns;
    (case.share(ns) >= IDLE).then(|| {
        case.finding(
            Code::Computing,
            ns,
            format!("computing: {} of its own code on a CPU", ms(ns)),
            &[("own_ns", ns), ("on_cpu_ns", case.time.on_cpu_ns())],
            format!("a profiler tells in what: perf record -g -p {}", case.process.pid),
        )
    })
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
