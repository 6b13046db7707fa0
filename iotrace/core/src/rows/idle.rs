//! The last rules of diagnosis: what a process waits for that has nothing to do.

use iotrace_ebpf::abi::traits::OTHER;

use crate::domain::syscall;
use crate::rows::finding::{Case, ms};
use crate::summary::{Class, Code, Diagnosis};

/// Share of the time of all threads that a process must wait for one thing to be called idle.
pub const IDLE: f64 = 0.5;

/// What a process waits for that has nothing to do.
pub fn idle(case: &Case<'_>) -> Option<Diagnosis> {
    let time = case.time;
    // Asleep in calls of these names, and outside of traced calls for the same.
    let asleep = |of: &dyn Fn(&str) -> bool, class: Option<Class>| {
        let rows = case.sum(|call| if of(&call.syscall) { call.wait_ns } else { 0 });
        // A wait that goes on since before it was observed is in no row.
        let open = case.process.in_flight.iter().filter(|call| of(&call.syscall));
        let open = open.map(|call| call.at_least_ns.min(case.wall_ns)).fold(0, u64::saturating_add);
        let in_calls = rows.saturating_add(open).min(rows.max(time.in_calls.wait_ns));
        (in_calls, in_calls.saturating_add(class.map_or(0, |class| time.asleep_ns(class))))
    };
    let (accepting, accepts) = asleep(&|name| name.starts_with("accept"), Some(Class::Connection));
    let (sleeping, timers) = asleep(&|name| name.ends_with("nanosleep"), Some(Class::Timer));
    // A child, or the other end of a FIFO that is opened: neither is a request.
    let (for_others, _) = asleep(&|name| !name.ends_with("nanosleep") && is_other(name), None);
    // What is in no row was open before tracing began, and still is.
    let in_calls =
        time.in_calls.wait_ns.saturating_sub(accepting).saturating_sub(sleeping).saturating_sub(for_others);
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

/// Whether a call of this name has a purpose of its own, beside data and connections.
fn is_other(name: &str) -> bool {
    syscall::named(name).iter().any(|&nr| syscall::is(nr, OTHER))
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
