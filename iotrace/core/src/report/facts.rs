//! What a reader wants to know of a run, derived from its numbers.

use super::units::percent;
use crate::domain::{CopySource, Loss, Meant, Phase1, Role, ThreadRole};
use crate::report::units;
use crate::summary::{Call, Phase2, Run};

/// A sum over all messages, for one of them; `None` when there was none.
pub fn per_message(run: &Run, sum: u64) -> Option<u64> {
    sum.checked_div(run.operations.count)
}

/// Blocked, polling, free.
pub fn phase1_parts(phase: &Phase1) -> [u64; 3] {
    [phase.blocked_ns, phase.polling_ns, phase.free_ns]
}

/// Blocked, polling (never), free; `None` when neither was measured.
pub fn phase2_parts(phase: &Phase2) -> Option<[u64; 3]> {
    let measured = phase.blocked_ns.is_some() || phase.free_ns.is_some();
    measured.then(|| [phase.blocked_ns.unwrap_or(0), 0, phase.free_ns.unwrap_or(0)])
}

/// Sum of the parts.
pub fn total(parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

/// The share of one of the parts.
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

/// The word for a thread.
pub fn thread(role: ThreadRole) -> &'static str {
    match role {
        ThreadRole::App => "app",
        ThreadRole::Helper => "helper",
        ThreadRole::Worker => "worker",
        ThreadRole::Sqpoll => "sqpoll",
    }
}

/// The word for what a call is for.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Readiness => "readiness",
        Role::Completion => "completion",
        Role::Submit => "submit",
    }
}

/// The sign after a copy time that tells how it is known.
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

/// How the copies of a run are known.
pub fn copy_source(run: &Run) -> Option<CopySource> {
    Some(run.operations.phase2.source).filter(|source| *source != CopySource::None)
}

/// The calls that carried phase 1 in the way `meant` says: the application's own, the heaviest first, or,
/// where it was free, those of the thread that waited in its place.
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
    // A call that carried less than a tenth of the heaviest is noise in one line of text.
    rows.retain(|&(weight, _)| weight > 0 && weight >= heaviest / 10);
    rows.truncate(2);
    (!rows.is_empty())
        .then(|| format!("in {}", rows.iter().map(|row| row.1).collect::<Vec<_>>().join(" and ")))
}

/// Calls that came back with "not yet".
fn polls(call: &Call) -> u64 {
    let errors = |name| call.errors.get(name).copied().unwrap_or(0);
    errors("EAGAIN").saturating_add(errors("EWOULDBLOCK")).saturating_add(call.timeouts)
}

/// Where the data was copied: `in recvfrom`, `on a helper thread in pread64`, `in task work`.
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

/// Everything that is missing from the figures, in words.
pub fn lost(loss: &Loss) -> Vec<String> {
    let counts = [
        (loss.records, "records because the ring buffer was full"),
        (loss.map_full, "threads or sockets because a map was full"),
        (loss.recursion_misses.unwrap_or(0), "probe runs that the kernel skipped"),
        (loss.unmatched, "calls of which only the enter or only the exit was seen"),
    ];
    let said = |(count, text): (u64, &str)| (count > 0).then(|| format!("{} {text}", units::count(count)));
    counts.into_iter().filter_map(said).collect()
}
