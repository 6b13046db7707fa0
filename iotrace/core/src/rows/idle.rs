//! The last rules of diagnosis: what a process waits for that has nothing to do.

use iotrace_ebpf::abi::traits::OTHER;

use crate::domain::syscall;
use crate::rows::events;
use crate::rows::finding::{Case, ms};
use crate::summary::{Call, Class, Code, Diagnosis, Elsewhere};

/// Share of the time of all threads that a process must wait for one thing to be called idle.
pub const IDLE: f64 = 0.5;

/// Whether it is a wait in `futex` for anything but a lock that is known to be held: for work, a semaphore, a thread.
fn is_parked(one: &&Elsewhere) -> bool {
    one.syscall().starts_with("futex") && !one.held_lock
}

/// What a process waits for that has nothing to do.
pub fn idle(case: &Case<'_>) -> Option<Diagnosis> {
    let time = case.time;
    let accepts =
        case.sum(|call| if is_accept(&call.syscall) { call.wait_ns } else { 0 }) + case.open_ns(is_accept);
    let accepts = accepts.saturating_add(time.asleep_ns(Class::Connection));
    let sleeping = case.sum(|call| if is_timer(&call.syscall) { call.wait_ns } else { 0 });
    let timers = sleeping.saturating_add(case.open_ns(is_timer)).saturating_add(time.asleep_ns(Class::Timer));
    // What is in no row was open before tracing began, and still is.
    let other = |call: &Call| is_accept(&call.syscall) || call.syscall == "connect" || !events::is_wait(call);
    let other = case.sum(|call| if other(call) { call.wait_ns } else { 0 });
    let open = case.open_ns(is_accept).saturating_add(case.open_ns(is_other));
    let in_calls = time.in_calls.wait_ns.saturating_sub(other).saturating_sub(open);
    let parked = || time.elsewhere.iter().filter(is_parked);
    let parked_ns = parked().map(|one| one.ns).fold(0, u64::saturating_add);
    let children = time.asleep_ns(Class::Child);
    // Threads that wait for work of the others say nothing of the process, as long as one of them does not.
    let rest = time.observed_ns.saturating_sub(parked_ns);
    let base = if case.share(rest) >= IDLE { rest } else { time.observed_ns };
    let all = |ns: u64| ns > 0 && ns as f64 / base.max(1) as f64 >= IDLE;
    let beside = match parked_ns.saturating_mul(5) >= time.observed_ns {
        true => format!("; other threads wait in futex to be woken ({})", ms(parked_ns)),
        false => String::new(),
    };
    let text = |what: &str, ns: u64| {
        format!(
            "{what}: its threads slept {} for that, and were on a CPU for {}{beside}",
            ms(ns),
            ms(time.on_cpu_ns())
        )
    };
    let found = |code, ns: u64, text: String, name: &str, next: &str| {
        let mut one = case.finding(code, ns, text, &[(name, ns)], next.to_owned());
        one.share = (ns as f64 / time.observed_ns.max(1) as f64 * 1000.0).round() / 1000.0;
        Some(one)
    };
    if all(accepts) {
        found(
            Code::WaitingForConnections,
            accepts,
            text("idle, waiting for connections", accepts),
            "accept_wait_ns",
            "nothing here is slow; look at who should connect",
        )
    } else if all(timers) {
        found(
            Code::Timers,
            timers,
            text("sleeping on timers", timers),
            "timer_ns",
            "where it calls sleep: strace -k -e trace=clock_nanosleep,nanosleep",
        )
    } else if all(in_calls) {
        found(
            Code::WaitingForRequests,
            in_calls,
            format!("{}{beside}", events::text(case, in_calls)),
            "wait_ns",
            &format!("which descriptors: {}", case.command("--per fd")),
        )
    } else if all(children) {
        found(
            Code::None,
            children,
            text("waiting for its children", children),
            "child_wait_ns",
            "what they do: the lines of the processes that it started",
        )
    } else if all(parked_ns) {
        let woken_by: Vec<_> = parked().flat_map(|one| &one.woken_by).filter(|one| one.tid != 0).collect();
        let most = woken_by.iter().max_by_key(|one| one.wakes);
        let by = most.map_or_else(String::new, |one| {
            format!("; most often woken by {} (thread {})", one.comm, one.tid)
        });
        found(
            Code::None,
            parked_ns,
            format!(
                "waiting in futex: its threads slept {} until another thread woke them, for work, a semaphore or a \
                 condition{by}",
                ms(parked_ns)
            ),
            "futex_wait_ns",
            &format!("what the others do: {}", case.command("--per thread")),
        )
    } else {
        None
    }
}

fn is_accept(name: &str) -> bool {
    name.starts_with("accept")
}

fn is_timer(name: &str) -> bool {
    name.ends_with("nanosleep")
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
