//! Rules of diagnosis: what keeps runnable threads from a CPU.

use crate::rows::finding::{Case, ms, percent};
use crate::summary::{Code, Diagnosis, Taker};

/// Mean wait for a CPU from which on it is no mere wake-up, ns: an idle CPU needs some 10 us to leave its sleep.
const LONG_NS: u64 = 100_000;
/// Where the quota of a cgroup is set, in both versions of the hierarchy.
const QUOTA: &str = "raise the CPU quota of its cgroup: cpu.max, or cpu.cfs_quota_us on cgroup v1";

/// The quota of the cgroup kept it from running (`cpu.stat`).
pub fn throttled(case: &Case<'_>) -> Option<Diagnosis> {
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
            match case.process.pid {
                0 => format!("{QUOTA}, or run fewer threads"),
                pid => format!("{QUOTA} (/proc/{pid}/cgroup names the cgroup), or run fewer threads"),
            },
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

/// Whether the CPU was taken mostly by threads of the process itself.
pub fn by_itself(case: &Case<'_>) -> bool {
    let taken = &case.time.cpu_taken_by;
    let own = taken.iter().filter(|one| one.pid == case.process.pid).map(|one| one.ns);
    let all = taken.iter().map(|one| one.ns).fold(0, u64::saturating_add);
    own.fold(0, u64::saturating_add).saturating_mul(2) > all
}

/// Others had the CPU while it was runnable. Many short waits that nobody is known to have used are wake-ups of idle
/// CPUs, and the probes: no starvation.
pub fn starved(case: &Case<'_>) -> Option<Diagnosis> {
    let on_cpu = case.time.on_cpu_ns();
    let runnable = case.time.runnable_ns().saturating_sub(held_back_ns(case));
    let taken = case.time.cpu_taken_by.iter().map(|one| one.ns).fold(0, u64::saturating_add);
    let sleeps = case.time.elsewhere.iter().map(|one| one.sleeps).fold(0, u64::saturating_add);
    let sleeps = sleeps.saturating_add(case.sum(|call| call.sleeps.max(call.slept_calls)));
    // Preempted threads wait without a sleep before.
    let long = runnable.checked_div(sleeps).is_none_or(|mean| mean >= LONG_NS);
    let used = taken.saturating_mul(10) >= runnable.saturating_mul(3);
    if !case.is_much(runnable) || runnable.saturating_mul(5) < on_cpu || !(long || used) {
        return None;
    }
    let own = case.process.pid;
    // Who had it for less than a twentieth is not the reason.
    let named = case.time.cpu_taken_by.iter().filter(|taker| taker.ns.saturating_mul(20) >= runnable).take(3);
    let who = |taker: &Taker| {
        let share = percent((taker.ns as f64 / runnable as f64).min(1.0));
        match taker.pid {
            pid if pid == own => format!("its own other threads {share}"),
            pid => format!("{} ({pid}) {share}", taker.comm),
        }
    };
    let who: Vec<String> = named.map(who).collect();
    // Whoever ran between two that are known to have run may have had most of it.
    let known = taken.saturating_mul(2) >= runnable;
    let text = match (by_itself(case) && known, who.is_empty()) {
        (true, _) => format!(
            "too few CPUs for its threads: ready to run without one for {}, which had, at least: {}",
            ms(runnable),
            who.join(", ")
        ),
        (_, true) => format!(
            "starved of CPU: ready to run without one for {}, and who had the CPUs meanwhile is not known",
            ms(runnable)
        ),
        (_, false) if known => format!(
            "starved of CPU: ready to run without one for {}, which had, at least: {}",
            ms(runnable),
            who.join(", ")
        ),
        (_, false) => format!(
            "starved of CPU: ready to run without one for {}, and who had most of that is not known; of the rest: {}",
            ms(runnable),
            who.join(", ")
        ),
    };
    let next = match by_itself(case) {
        true => "run fewer threads at once, or allow the process more CPUs (taskset -p shows which it has)",
        false => "move one of them to other CPUs (taskset -p), or give it less weight (nice, cpu.weight)",
    };
    let mut evidence = vec![("runnable_ns", runnable), ("on_cpu_ns", on_cpu)];
    if let Some(most) = case.time.cpu_taken_by.first() {
        evidence.extend([("most_by_pid", u64::from(most.pid)), ("most_by_ns", most.ns)]);
    }
    Some(case.finding(Code::CpuStarved, runnable, text, &evidence, next.to_owned()))
}
