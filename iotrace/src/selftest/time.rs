//! The whole time of threads: one that sleeps, one that waits for another, and one that shares its CPU. Every moment of
//! each is in one place, and the places are as long as the program and the scheduler say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use iotrace_core::rows::in_flight::InFlightCalls;
use iotrace_core::rows::names::Names;
use iotrace_core::rows::time::of_threads;
use iotrace_core::summary::Time;

use super::evidence::Evidence;
use super::stage::{self, Stage, Stop};
use crate::workload::{gettid, now_ns, own_work, sleep_until};

/// Number of sleeps, and the length of each in ns.
const SLEEPS: u64 = 10;
const SLEEP_NS: u64 = 10_000_000;
/// How often a thread waits for another, and for how long at a time, ns.
const WAITS: u32 = 8;
const WAIT_NS: u64 = 10_000_000;
/// For how long two threads share a CPU, ns.
const SHARED_NS: u64 = 200_000_000;
/// Least that two clocks may differ by: what a thread does before its first and after its last look at a clock, and
/// what the scheduler counts at its ticks only, ns.
const BESIDE_NS: u64 = 2_000_000;
/// Names of the threads, and of the syscall that each sleeps in.
const THREADS: [(&str, Option<&str>); 3] =
    [("sleeper", Some("nanosleep")), ("waiter", Some("futex")), ("sharer", None)];

/// The account of a thread, by its own clocks.
struct Own {
    tid: u32,
    /// CLOCK_MONOTONIC at its beginning and at its end, ns.
    from_ns: u64,
    to_ns: u64,
    /// CLOCK_MONOTONIC right before the clocks below were read, ns.
    told_ns: u64,
    /// Its time on a CPU, ns.
    cpu_ns: u64,
    /// What it waited for a CPU, ns; `None` where the kernel keeps no account of that.
    delay_ns: Option<u64>,
    /// Around its sleeps, ns: CLOCK_MONOTONIC, and what of that it was on a CPU or waited for one.
    slept_ns: u64,
    awake_ns: u64,
}

/// Runs `body` in a thread that keeps an account of itself; `body` returns the time around its sleeps.
fn thread(body: impl FnOnce() -> io::Result<u64> + Send + 'static) -> JoinHandle<io::Result<(u64, Own)>> {
    let before = now_ns();
    std::thread::spawn(move || {
        let from_ns = now_ns();
        let awake = || stage::thread_cpu_ns() + stage::run_delay_ns().unwrap_or(0);
        let before_sleeps = awake();
        let slept_ns = body()?;
        let awake_ns = awake() - before_sleeps;
        let told_ns = now_ns();
        let delay_ns = stage::run_delay_ns();
        let own = Own {
            tid: gettid(),
            from_ns,
            told_ns,
            cpu_ns: stage::thread_cpu_ns(),
            delay_ns,
            slept_ns,
            awake_ns,
            to_ns: now_ns(),
        };
        Ok((before, own))
    })
}

fn sleeps() -> io::Result<u64> {
    let long = libc::timespec { tv_sec: 0, tv_nsec: SLEEP_NS as i64 };
    let mut slept = 0;
    for _ in 0..SLEEPS {
        let began = now_ns();
        // Not by the C library, whose `nanosleep` is `clock_nanosleep`, as other waiting of this process is.
        // SAFETY: a valid time to sleep, and no place for what is left.
        stage::ok(unsafe { libc::syscall(libc::SYS_nanosleep, &raw const long, 0) } as i32)?;
        slept += now_ns() - began;
    }
    Ok(slept)
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: a word that lives as long as the call; whether it slept, the word tells.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation | libc::FUTEX_PRIVATE_FLAG, value, 0) };
}

fn waits(word: &AtomicU32) -> u64 {
    let began = now_ns();
    let mut told = 0;
    while told < WAITS {
        futex(word, libc::FUTEX_WAIT, told);
        told = word.load(Ordering::SeqCst);
    }
    now_ns() - began
}

fn computes(cpu: usize) -> io::Result<u64> {
    stage::pin(Some(cpu))?;
    let began = now_ns();
    while now_ns() < began + SHARED_NS {
        own_work(100);
    }
    Ok(0)
}

/// Lets each thread do its part, one after the other, so that they do not disturb each other.
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    stage.begin();
    stage.note("pid", std::process::id().into());
    let stolen = stage::steal_ns();
    keep(stage, "sleeper", thread(sleeps))?;

    let word = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&word);
    let waiter = thread(move || Ok(waits(&told)));
    for told in 1..=WAITS {
        sleep_until(now_ns() + WAIT_NS);
        word.store(told, Ordering::SeqCst);
        futex(&word, libc::FUTEX_WAKE, 1);
    }
    keep(stage, "waiter", waiter)?;

    // SAFETY: no arguments.
    let cpu = unsafe { libc::sched_getcpu() }.max(0) as usize;
    let sharers = [thread(move || computes(cpu)), thread(move || computes(cpu))];
    for sharer in sharers {
        keep(stage, "sharer", sharer)?;
    }
    stage.note("stolen", stage::steal_ns().saturating_sub(stolen));
    stage.end();
    Ok(())
}

/// Waits until a thread that is joined is gone: `exit_mm` wakes who joins it, and on some kernels `do_exit`
/// (`kernel/exit.c`) tells of its end after that only.
fn gone(tid: u32) {
    let place = format!("/proc/self/task/{tid}");
    let latest = now_ns() + 1_000_000_000;
    while std::path::Path::new(&place).exists() && now_ns() < latest {
        std::thread::yield_now();
    }
}

/// Waits for a thread, and notes its account, with the time from before its birth to after its end.
fn keep(stage: &mut Stage, name: &str, thread: JoinHandle<io::Result<(u64, Own)>>) -> io::Result<()> {
    let (before, own) = stage::joined(thread)?;
    gone(own.tid);
    let after = now_ns();
    let facts = [
        ("tid", u64::from(own.tid)),
        ("least", own.to_ns - own.from_ns),
        ("most", after - before),
        ("untold", after - own.told_ns),
        ("cpu", own.cpu_ns),
        ("slept", own.slept_ns),
        ("awake", own.awake_ns),
    ];
    for (fact, number) in facts {
        stage.note(&format!("{name}-{fact}"), number);
    }
    if let Some(delay) = own.delay_ns {
        stage.note(&format!("{name}-delay"), delay);
    }
    Ok(())
}

/// Compares the whole time of each thread with what it says itself.
pub fn judge(evidence: &Evidence) {
    let scene = evidence.scene;
    let Some(sums) = evidence.sums else {
        return evidence.skip("identity", "the kernel made no sums", None);
    };
    let all = of_threads(scene.fact("pid") as u32, sums, &Names::default(), &InFlightCalls::default());
    for (name, sleeps_in) in THREADS {
        let tid = scene.fact(&format!("{name}-tid")) as u32;
        match all.iter().find(|one| one.tid == tid) {
            Some(found) => whole(evidence, name, &found.time, sleeps_in),
            None => evidence.at_least(&format!("{name}-life"), "each thread is observed", "threads", 1, 0),
        }
    }
    let loss = evidence.loss;
    evidence.exactly("lost", "nothing may be lost", "losses", 0, loss.map_full + loss.unmatched);
}

fn whole(evidence: &Evidence, name: &str, time: &Time, sleeps_in: Option<&str>) {
    let fact = |what: &str| evidence.scene.fact(&format!("{name}-{what}"));
    let figure = |what: &str| format!("{name}-{what}");
    let stolen = evidence.scene.fact("stolen");
    evidence.exactly(
        &figure("identity"),
        "the sum of all places is the life of the thread",
        "ns",
        time.observed_ns,
        time.accounted_ns(),
    );
    let life = (time.observed_ns as i64, (fact("least").max(1) as i64, fact("most") as i64));
    evidence.ranges(&figure("life"), "CLOCK_MONOTONIC in the thread and around it", vec![life]);
    let near = |what: &str, oracle: &str, expected: u64, measured: u64| {
        let allowed = (expected / 100).max(BESIDE_NS) + stolen + fact("untold");
        evidence.near(&figure(what), oracle, "ns", (expected as i64, measured as i64), allowed as i64);
    };
    near(
        "cpu",
        "CLOCK_THREAD_CPUTIME_ID, within 1 % or 2 ms, the thread's last moments, and what the hypervisor took",
        fact("cpu"),
        time.on_cpu_ns(),
    );
    match evidence.scene.facts.get(&figure("delay")) {
        Some(&delay) => near(
            "runnable",
            "/proc/TID/schedstat, within 1 % or 2 ms, the thread's last moments, and what the hypervisor took",
            delay,
            time.runnable_ns(),
        ),
        None => evidence.skip(
            &figure("runnable"),
            "this kernel keeps no /proc/PID/schedstat (CONFIG_SCHED_INFO)",
            None,
        ),
    }
    let Some(what) = sleeps_in else { return };
    let asleep: u64 = time.elsewhere.iter().filter(|one| one.what == what).map(|one| one.ns).sum();
    let (most, awake) = (fact("slept"), fact("awake") + stolen);
    let least = most.saturating_sub(awake + most / 100);
    evidence.ranges(
        &figure(what),
        "CLOCK_MONOTONIC around each sleep, less the thread's time on a CPU and waiting for one",
        vec![(asleep as i64, (least as i64, most as i64))],
    );
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
