//! Rules of diagnosis: what a process waits for that its peers do.

use crate::domain::{Direction, Role, syscall};
use crate::rows::finding::{Case, ms, percent};
use crate::summary::{Call, Code, Diagnosis};

/// Bytes of a write from which on it may well be more than there is room for.
const LARGE_BYTES: u64 = 4096;

/// Number of calls that did what they are for: neither failed, nor timed out, nor found nothing.
pub fn done(call: &Call) -> u64 {
    let failed = call.errors.values().fold(0u64, |sum, times| sum.saturating_add(*times));
    // Those that timed out with an error are among the errors.
    let nothing = if call.role == Role::Readiness { call.timeouts.saturating_add(call.empty) } else { 0 };
    call.calls.saturating_sub(failed).saturating_sub(nothing)
}

/// Whether a row is of output.
pub fn is_output(call: &Call) -> bool {
    call.direction == Some(Direction::Out)
}

/// Whether a row is of input.
pub fn is_input(call: &Call) -> bool {
    call.direction == Some(Direction::In)
}

/// Time asleep in readiness calls that end with room, as far as the calls tell: writes follow, and no reads
/// do. Without a write that found no room, large writes must show that room was short.
fn by_readiness(case: &Case<'_>) -> u64 {
    let readiness = |call: &Call| call.role == Role::Readiness;
    let of = |is: &dyn Fn(&Call) -> bool| case.sum(|call| if is(call) { done(call) } else { 0 });
    // Some may have told of connections.
    let connections = case.sum(|call| if call.role == Role::Connection { call.calls } else { 0 });
    let (events, writes) = (of(&readiness).saturating_sub(connections), of(&is_output));
    let input = |call: &Call| is_input(call) || call.role == Role::Submit;
    let late = case.sum(|call| if readiness(call) { call.timeouts } else { 0 });
    if of(&input) > 0 || events == 0 || late.saturating_mul(4) > events || writes.saturating_mul(2) < events {
        return 0;
    }
    let full = case.sum(|call| if is_output(call) { call.not_yet() } else { 0 });
    let bytes = case.sum(|call| if is_output(call) { call.bytes } else { 0 });
    if full == 0 && bytes / writes.max(1) < LARGE_BYTES {
        return 0;
    }
    let ended = case.sum(|call| if readiness(call) { call.wait_ns } else { 0 });
    ended.saturating_add(case.open_ns(|name| syscall::role_of_name(name) == Some(Role::Readiness)))
}

/// Its peers read slowly.
pub fn room(case: &Case<'_>) -> Option<Diagnosis> {
    let ended = case.sum(|call| if is_output(call) { call.wait_ns } else { 0 });
    // A write that is still open is in no row.
    let open = case.open_ns(|name| syscall::direction_of_name(name) == Some(Direction::Out));
    let direct = ended.saturating_add(open);
    let by_readiness = by_readiness(case);
    let ns = direct.saturating_add(by_readiness).min(case.time.in_calls.wait_ns.max(ended));
    case.is_much(ns).then(|| {
        let bytes = case.sum(|call| if is_output(call) { call.bytes } else { 0 });
        let how = match by_readiness > direct {
            true => "readiness calls that writes follow and no reads, as who reads is slower",
            false => "writing, as who reads is slower",
        };
        case.finding(
            Code::WaitingForRoom,
            ns,
            format!("waiting for room: {} asleep in {how}", ms(ns)),
            &[("output_wait_ns", ns), ("bytes", bytes)],
            format!("which peer: {}", case.command("--per fd")),
        )
    })
}

/// It waits for the answers of others. Data that comes without that anything was sent is no answer.
pub fn reply(case: &Case<'_>) -> Option<Diagnosis> {
    let sends = case.process.calls.iter().any(|call| is_output(call) || call.role == Role::Submit);
    let replies = if sends { case.process.replies.as_slice() } else { &[] };
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
