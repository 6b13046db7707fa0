//! What the time of a process means: rules over its sums, each with its threshold, its evidence, and what to look at
//! next. `docs/diagnosis.md` explains each rule, and what can mislead it.
//!
//! A rule that is wrong is worse than none: each asks for much of the time on the clock, and none rests on copies that
//! are estimated. Rules about what a process is busy with come first; only where none of them fires is it said what it
//! waits for.

use crate::domain::{CopySource, Role};
use crate::rows::finding::{Case, ms};
use crate::rows::idle::{idle, none};
use crate::rows::{cpus, disks, peers};
use crate::summary::{Call, Class, Code, Diagnosis, Elsewhere, Process};

/// Most findings that are told of a process.
const MOST: usize = 3;
/// A read that starts this long after its data was ready is late, ns.
const LATE_NS: u64 = 1_000_000;
/// Calls that move fewer bytes each than this are small.
const SMALL_BYTES: u64 = 64;
/// Calls that return "not yet" for each that does not, from which on a process polls.
const POLLS: u64 = 4;
/// Share of the time on the clock from which on a process computes: less than that, it mostly does something else.
const COMPUTES: f64 = 0.3;
/// Own code for each call, ns, up to which it is the loop around the call, with the way into the kernel and back.
const LOOP_NS: u64 = 5_000;

/// How long a process is judged by, ns: one that lived for a part of the time only by that part, as far as it is known.
pub fn wall_ns(process: &Process, elapsed_ns: u64) -> u64 {
    let observed = process.time.as_ref().map_or(0, |time| time.observed_ns);
    elapsed_ns.min(if process.threads <= 1 { observed } else { elapsed_ns }).max(1)
}

/// What the time of a process means, the most important first.
pub fn of_process(process: &Process, elapsed_ns: u64) -> Vec<Diagnosis> {
    let Some(time) = &process.time else { return Vec::new() };
    let case = Case { process, time, wall_ns: wall_ns(process, elapsed_ns) };
    let rules: [fn(&Case<'_>) -> Option<Diagnosis>; 14] = [
        stopped,
        cpus::throttled,
        cpus::starved,
        late,
        locks,
        disks::durable,
        disks::reads,
        disks::others,
        peers::room,
        polling,
        small,
        copying,
        peers::reply,
        computing,
    ];
    let mut found = in_order(&case, rules.iter().filter_map(|rule| rule(&case)).collect());
    // A process that was stopped for a while did something in the rest of the time.
    if found.iter().all(|one| one.code == Code::None) {
        found.extend(idle(&case));
    }
    if found.is_empty() {
        found.push(none(&case));
    }
    found.truncate(MOST);
    found
}

/// What keeps a process from its work comes before what it works on; else the largest time comes first.
fn in_order(case: &Case<'_>, mut found: Vec<Diagnosis>) -> Vec<Diagnosis> {
    let share = |code: Code| found.iter().find(|one| one.code == code).map_or(0.0, |one| one.share);
    let (locks, small, polling) = (share(Code::LockContention), share(Code::SmallIo), share(Code::Polling));
    let by_itself = cpus::by_itself(case);
    // A disk or a peer wakes it before it waits for a CPU: of these the longer one comes first.
    let sleeps =
        [Code::DiskReads, Code::DurableWrites, Code::WaitingForReply, Code::WaitingForRoom].map(share);
    let longest = sleeps.into_iter().fold(0.0, f64::max);
    // Small reads that take longer than all its own code are why data lay ready.
    let late_by_calls = small > case.share(case.time.own_ns);
    // The code between two calls of a loop that does nothing else is a part of the loop.
    let loops = (small > 0.0 || polling > 0.0) && is_loop(case);
    if loops && polling > 0.0 {
        found.retain(|one| one.code != Code::Computing);
    }
    let weight = |one: &Diagnosis| match one.code {
        // Stopped.
        Code::None => 3e6,
        Code::CpuStarved if by_itself && locks > 0.0 => one.share.min(locks * 0.999),
        Code::CpuStarved if by_itself || longest > one.share => one.share,
        Code::Late if late_by_calls => one.share.min(small * 0.999),
        Code::Computing if loops && small > 0.0 => one.share.min(small * 0.998),
        Code::Throttled | Code::CpuStarved | Code::Late => 1e6 + one.share,
        _ => one.share,
    };
    found.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    found
}

/// Whether its own code is no more than what lies between two of its most frequent calls.
fn is_loop(case: &Case<'_>) -> bool {
    let calls = case.process.calls.iter().map(|call| call.calls).max().unwrap_or(0);
    case.time.own_ns.checked_div(calls).is_some_and(|each| each < LOOP_NS)
}

/// It was not allowed to run.
fn stopped(case: &Case<'_>) -> Option<Diagnosis> {
    let ns = case.time.stopped_ns;
    case.is_much(ns).then(|| {
        case.finding(
            Code::None,
            ns,
            format!(
                "stopped: {} by a signal (SIGSTOP), by a debugger or tracer, or frozen with its cgroup",
                ms(ns)
            ),
            &[("stopped_ns", ns)],
            match case.process.pid {
                0 => "State and TracerPid in /proc/PID/status".to_owned(),
                pid => format!("State and TracerPid in /proc/{pid}/status"),
            },
        )
    })
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
        (time.own_ns, "ran its own code".to_owned()),
        (calls.copy_ns.saturating_add(calls.work_ns), "was on a CPU in its calls".to_owned()),
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
    let held = || case.time.elsewhere.iter().filter(|one| one.held_lock || is_file_lock(one));
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

/// Whether a sleep was for a lock on a file: of all that `fcntl` does only `F_SETLKW` waits (class by `rows/time.rs`).
fn is_file_lock(one: &Elsewhere) -> bool {
    one.class == Class::Lock && matches!(one.syscall(), "flock" | "fcntl" | "fcntl64")
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
        let each = match (bytes.saturating_add(calls / 2)) / calls {
            0 => "less than 1 byte".to_owned(),
            1 => "1 byte".to_owned(),
            each => format!("{each} bytes"),
        };
        case.finding(
            Code::SmallIo,
            ns,
            format!("small I/O: {calls} calls of {} moved {each} each, for {} of CPU", most.syscall, ms(ns)),
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

/// It runs its own code.
fn computing(case: &Case<'_>) -> Option<Diagnosis> {
    let ns = case.time.own_ns;
    (case.share(ns) >= COMPUTES).then(|| {
        case.finding(
            Code::Computing,
            ns,
            format!("computing: {} of its own code on a CPU", ms(ns)),
            &[("own_ns", ns), ("on_cpu_ns", case.time.on_cpu_ns())],
            match case.process.pid {
                0 => "a profiler tells in what: perf record -g -a".to_owned(),
                pid => format!("a profiler tells in what: perf record -g -p {pid}"),
            },
        )
    })
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
