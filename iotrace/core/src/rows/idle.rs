//! The last rules of diagnosis: what a process waits for that has nothing to do.

use crate::rows::finding::{Case, ms};
use crate::summary::{Call, Class, Code, Diagnosis};

/// Share of the time of all threads that a process must wait for one thing to be called idle.
pub const IDLE: f64 = 0.5;

/// What a process waits for that has nothing to do.
pub fn idle(case: &Case<'_>) -> Option<Diagnosis> {
    let time = case.time;
    let waits = |of: &dyn Fn(&Call) -> bool| case.sum(|call| if of(call) { call.wait_ns } else { 0 });
    let accepts =
        waits(&|call| call.syscall.starts_with("accept")).saturating_add(time.asleep_ns(Class::Connection));
    // A wait that goes on since before it was observed is in no row.
    let open = case.process.in_flight.iter().filter(|call| call.syscall.starts_with("accept"));
    let open = open.map(|call| call.at_least_ns.min(case.wall_ns)).fold(0, u64::saturating_add);
    let accepts = accepts.saturating_add(open).min(accepts.max(time.in_calls.wait_ns));
    let timers = time.asleep_ns(Class::Timer);
    // What is in no row was open before tracing began, and still is.
    let in_calls = time.in_calls.wait_ns.saturating_sub(accepts);
    let all = |ns: u64| ns as f64 / time.observed_ns.max(1) as f64 >= IDLE;
    let text = |what: &str, ns: u64| {
        format!(
            "{what}: its threads slept {} for that, and were on a CPU for {}",
            ms(ns),
            ms(time.on_cpu_ns())
        )
    };
    let of_all = |mut one: Diagnosis, ns: u64| {
        one.share = (ns as f64 / time.observed_ns.max(1) as f64 * 1000.0).round() / 1000.0;
        one
    };
    let found = if all(accepts) {
        case.finding(
            Code::WaitingForConnections,
            accepts,
            text("idle, waiting for connections", accepts),
            &[("accept_wait_ns", accepts)],
            "nothing here is slow; look at who should connect".to_owned(),
        )
    } else if all(timers) {
        case.finding(
            Code::Timers,
            timers,
            text("sleeping on timers", timers),
            &[("timer_ns", timers)],
            "where it calls sleep: strace -k -e trace=clock_nanosleep,nanosleep".to_owned(),
        )
    } else if all(in_calls) {
        case.finding(
            Code::WaitingForRequests,
            in_calls,
            text("idle, waiting for the next request or event", in_calls),
            &[("wait_ns", in_calls)],
            format!("whether it waits for requests or for replies: {}", case.command("--per fd")),
        )
    } else {
        return None;
    };
    let ns = *found.evidence.values().next().unwrap_or(&0);
    Some(of_all(found, ns))
}

/// No rule fits.
pub fn none(case: &Case<'_>) -> Diagnosis {
    case.finding(
        Code::None,
        0,
        "no rule fits: the time is spread, or spent on what no rule knows".to_owned(),
        &[],
        format!("the rows below, by descriptor: {}", case.command("--per fd")),
    )
}
