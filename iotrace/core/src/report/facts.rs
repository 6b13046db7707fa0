//! Words and shares derived from the numbers of a run, for several renderers.

use super::units::percent;
use crate::domain::{CopySource, Loss, Meant, Phase1, Role, ThreadRole};
use crate::report::units;
use crate::summary::{Call, Phase2, Run};

/// The mean per message of a sum over all messages; `None` if no message was seen.
pub fn per_message(run: &Run, sum: u64) -> Option<u64> {
    sum.checked_div(run.operations.count)
}

/// The parts of phase 1 in ns: blocked, polling, free.
pub fn phase1_parts(phase: &Phase1) -> [u64; 3] {
    [phase.blocked_ns, phase.polling_ns, phase.free_ns]
}

/// The parts of phase 2 in ns: blocked, polling (always 0), free; `None` if the copy was not measured.
pub fn phase2_parts(phase: &Phase2) -> Option<[u64; 3]> {
    let measured = phase.blocked_ns.is_some() || phase.free_ns.is_some();
    measured.then(|| [phase.blocked_ns.unwrap_or(0), 0, phase.free_ns.unwrap_or(0)])
}

/// Sum of the parts, ns.
pub fn total(parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

/// The share of the part that `meant` names, in percent.
pub fn share(meant: Meant, parts: [u64; 3]) -> String {
    let [blocked, polling, free] = parts;
    let part = match meant {
        Meant::Blocked => blocked,
        Meant::Polling => polling,
        Meant::Free => free,
    };
    percent(part, total(parts))
}

/// The word for what a thread did.
pub fn word(meant: Meant) -> &'static str {
    match meant {
        Meant::Blocked => "blocked",
        Meant::Polling => "polling",
        Meant::Free => "free",
    }
}

/// The name of a process or thread, or that it has none: a program may call itself by nothing but spaces.
pub fn named(name: &str) -> &str {
    if name.trim().is_empty() { "(no name)" } else { name }
}

/// The word for a kind of thread.
pub fn thread(role: ThreadRole) -> &'static str {
    match role {
        ThreadRole::App => "app",
        ThreadRole::Helper => "helper",
        ThreadRole::Worker => "worker",
        ThreadRole::Sqpoll => "sqpoll",
    }
}

/// The word for the purpose of a call.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Readiness => "readiness",
        Role::Completion => "completion",
        Role::Submit => "submit",
        Role::Connection => "connection",
        Role::Sync => "sync",
        Role::Durable => "durable",
        Role::Other => "other",
    }
}

/// The sign after the time of a copy that says how the time is known.
pub fn mark(source: Option<CopySource>) -> &'static str {
    match source {
        Some(CopySource::Exact) => "=",
        Some(CopySource::Estimated) => "~",
        Some(CopySource::Marked | CopySource::None) | None => "",
    }
}

fn copies(run: &Run) -> impl Iterator<Item = &Call> {
    run.calls.iter().filter(|call| call.copy_source != CopySource::None && call.copy_ns > 0)
}

/// How the copies of a run are known; `None` if they are not.
pub fn copy_source(run: &Run) -> Option<CopySource> {
    Some(run.operations.phase2.source).filter(|source| *source != CopySource::None)
}

/// The calls in which the time of phase 1 was spent, in words. `Blocked` and `Polling`: calls of the application, at
/// most two, the longer first. `Free`: the call of the thread that waited in its place.
pub fn carriers(run: &Run, meant: Meant) -> Option<String> {
    if meant == Meant::Free {
        let others = run.calls.iter().filter(|call| call.thread_role != ThreadRole::App && call.wait_ns > 0);
        let most = others.max_by_key(|call| call.wait_ns);
        return most.map(|call| format!("({} waits in {})", thread(call.thread_role), call.syscall));
    }
    let weight = |call: &Call| match meant {
        Meant::Blocked => call.wait_ns.saturating_add(call.runq_ns),
        Meant::Polling => polls(call),
        Meant::Free => 0,
    };
    let mut rows: Vec<(u64, &str)> = run
        .calls
        .iter()
        .filter(|call| call.thread_role == ThreadRole::App)
        .map(|call| (weight(call), call.syscall.as_str()))
        .collect();
    rows.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
    let heaviest = rows.first().map_or(0, |row| row.0);
    // One line of text has no room for calls with less than a tenth of the longest.
    rows.retain(|&(weight, _)| weight > 0 && weight >= heaviest / 10);
    rows.truncate(2);
    (!rows.is_empty())
        .then(|| format!("in {}", rows.iter().map(|row| row.1).collect::<Vec<_>>().join(" and ")))
}

/// Number of calls that returned "not yet" at once: EAGAIN, or nothing. One whose time was up had waited.
fn polls(call: &Call) -> u64 {
    call.not_yet().saturating_add(call.empty)
}

/// Where most of the data was copied, in words: `in recvfrom`, `on a helper thread in pread64`, `in task work`.
pub fn copier(run: &Run) -> Option<String> {
    let row = copies(run).max_by_key(|call| call.copy_ns);
    let call = row.map_or_else(|| "a call".to_owned(), |call| call.syscall.clone());
    if let Some(requests) = &run.operations.requests {
        let at = &requests.copied_in;
        let places = [
            (at.own_call, format!("in {call}")),
            (at.task_work, "in task work".to_owned()),
            (at.data_call, format!("in {call}")),
            (at.helper, format!("on a helper thread in {call}")),
            (at.worker, "on an io-wq worker".to_owned()),
            (at.sqpoll, "on the kernel's SQ thread".to_owned()),
        ];
        let most = places.into_iter().max_by_key(|place| place.0).filter(|place| place.0 > 0);
        if let Some((_, text)) = most {
            return Some(text);
        }
    }
    row.map(|row| match row.thread_role {
        ThreadRole::App => format!("in {call}"),
        ThreadRole::Helper => format!("on a helper thread in {call}"),
        ThreadRole::Worker => "on an io-wq worker".to_owned(),
        ThreadRole::Sqpoll => "on the kernel's SQ thread".to_owned(),
    })
}

/// What is missing from the figures, in words: one phrase for each cause.
pub fn lost(loss: &Loss) -> Vec<String> {
    let said = |(number, what): (u64, &str)| (number > 0).then(|| format!("{} {what}", units::count(number)));
    loss.missing().into_iter().filter_map(said).collect()
}
