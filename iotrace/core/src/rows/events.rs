//! What is said of a process that waits in calls for input or events: no more than its calls tell.

use crate::domain::{Role, WaitsFor};
use crate::rows::finding::{Case, ms, percent};
use crate::rows::peers::{done, is_input, is_output};
use crate::summary::Call;

/// Bytes of a read of a timer or event descriptor (`timerfd_create(2)`, `eventfd(2)`).
const COUNTER_BYTES: u64 = 8;

/// Whether a row has waits for input or for events.
pub fn is_wait(call: &Call) -> bool {
    is_input(call) || matches!(call.role, Role::Readiness | Role::Completion | Role::Submit)
}

/// The sentence; `wait_ns`: how long it waited for them.
pub fn text(case: &Case<'_>, wait_ns: u64) -> String {
    let calls = &case.process.calls;
    let sum = |is: &dyn Fn(&Call) -> bool, of: &dyn Fn(&Call) -> u64| {
        case.sum(|call| if is(call) { of(call) } else { 0 })
    };
    let readiness = |call: &Call| call.role == Role::Readiness;
    let (reads, writes, events) = (sum(&is_input, &done), sum(&is_output, &done), sum(&readiness, &done));
    let ended = |call: &Call| matches!(call.role, Role::Readiness | Role::Completion);
    let ended = sum(&ended, &done);
    let slept = ms(wait_ns);
    // Rings move data without a call for each.
    let rings = calls.iter().any(|call| call.role == Role::Submit || call.syscall == "io_uring_enter");
    let request = |call: &Call| call.waits_for == Some(WaitsFor::NextRequest);
    if sum(&request, &|call| call.wait_ns).saturating_mul(2) >= wait_ns {
        let cpu = ms(case.time.on_cpu_ns());
        return format!(
            "idle, waiting for the next request or event: its threads slept {slept} for that, and were on a CPU for {cpu}"
        );
    }
    let replies = &case.process.replies;
    let replied = replies.iter().map(|one| one.wait_ns).fold(0, u64::saturating_add);
    if let Some(most) =
        replies.first().filter(|_| writes == 0 && !rings && replied.saturating_mul(2) >= wait_ns)
    {
        return format!(
            "waiting for data of a peer: {} asleep until data came on connections that it made, {} of it from {}; no write \
             was seen, so that nothing tells whether it asked for the data",
            ms(replied),
            percent(most.wait_ns as f64 / replied.max(1) as f64),
            most.endpoint
        );
    }
    let open = case.process.in_flight.iter().max_by_key(|call| call.at_least_ns);
    let rows = calls.iter().filter(|call| is_wait(call)).max_by_key(|call| call.wait_ns);
    let name = rows.map(|call| call.syscall.as_str()).or(open.map(|call| call.syscall.as_str()));
    let name = name.unwrap_or("calls that wait");
    if reads == 0 && ended == 0 && !rings {
        let room = match calls.iter().any(readiness) || is_readiness(name) {
            true => ", and whether it waits for input or for room to write is not known",
            false => "",
        };
        return format!("idle, waiting for an event: {slept} asleep in {name}, and none came{room}");
    }
    let full = sum(&is_output, &Call::not_yet);
    if full > 0 && events > 0 {
        return format!(
            "waiting for input or for room to write: {slept} asleep, most of it in {name}; {full} writes found no room, so \
             that some of it is for slow readers"
        );
    }
    let waits = sum(&is_input, &|call| call.slept_calls).saturating_add(ended).max(1);
    let each = ms(wait_ns / waits);
    // A server may ask another one by what is no TCP connection.
    if calls.iter().any(|call| call.syscall.starts_with("accept") && done(call) > 0) {
        return format!(
            "waiting for requests or other input: {slept} asleep, most of it in {name}, {each} a time, as it accepts \
             connections"
        );
    }
    if writes.saturating_mul(2) >= waits && !rings {
        return format!(
            "waiting for input: {slept} asleep, most of it in {name}, {each} a time, {writes} writes beside; whether it \
             waits for requests of others or for replies to its own is not known"
        );
    }
    let bytes = sum(&is_input, &|call| call.bytes);
    if reads > 0 && writes == 0 && bytes == reads.saturating_mul(COUNTER_BYTES) {
        return format!(
            "waiting for events: {slept} asleep, most of it in {name}, {each} a time, 8 bytes each, as timer and event \
             descriptors have"
        );
    }
    format!("idle, waiting for input or events: {slept} asleep, most of it in {name}, {each} a time")
}

fn is_readiness(name: &str) -> bool {
    crate::domain::syscall::role_of_name(name) == Some(Role::Readiness)
}
