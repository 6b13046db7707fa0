//! Lock waits: one thread writes many bytes to a file, and meanwhile another thread writes one byte to it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::account::{Bracket, Sent};
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Number of rounds.
const ROUNDS: usize = 6;
/// Bytes of the long write, which holds the lock of the file's inode.
const LONG: usize = 16 << 20;
/// Bytes of the long write on a fast machine, so that it takes longer than a time slice of the scheduler.
const LONGER: usize = 64 << 20;
/// A machine is fast if the long write takes less than this, ns.
const QUICK_NS: u64 = 10_000_000;

fn pwrite(fd: RawFd, bytes: &[u8]) -> Bracket {
    // SAFETY: the buffer is as long as it says.
    bracket(libc::SYS_pwrite64, Some(fd), || unsafe {
        libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), 0)
    })
}

/// Plays the scene with both threads on one CPU: on two, the waiting thread would spin while the owner of the lock
/// runs, and would not sleep (`rwsem_optimistic_spin`).
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    // SAFETY: a name that ends with a zero.
    let file =
        stage::descriptor(unsafe { libc::memfd_create(c"iotrace-selftest".as_ptr(), libc::MFD_CLOEXEC) })?;
    let fd = file.as_raw_fd();
    let mut long = vec![3u8; LONG];
    // Written once beforehand, so that the pages exist and all rounds take the same time.
    if (pwrite(fd, &long).elapsed() as u64) < QUICK_NS {
        long.resize(LONGER, 3);
        pwrite(fd, &long);
    }
    // Number of the round whose long write has begun.
    let round = Arc::new(AtomicUsize::new(0));
    stage.begin();
    // On threads of their own, because the main thread must not stay pinned.
    let holder = std::thread::spawn(move || -> std::io::Result<Vec<Bracket>> {
        let cpu = stage::pin(None)?;
        let begun = Arc::clone(&round);
        let short = std::thread::spawn(move || -> std::io::Result<Vec<Bracket>> {
            stage::pin(Some(cpu))?;
            let mut calls = Vec::new();
            for wanted in 1..=ROUNDS {
                while begun.load(Ordering::SeqCst) < wanted {
                    sleep_until(now_ns() + 200_000);
                }
                let before = stage::run_delay_ns();
                let own = pwrite(fd, &[1]);
                let delay = before.zip(stage::run_delay_ns()).map(|(before, after)| after - before);
                calls.push(Bracket { delay_ns: delay, ..own });
            }
            Ok(calls)
        });
        let mut calls = Vec::new();
        for number in 1..=ROUNDS {
            sleep_until(now_ns() + 2_000_000);
            round.store(number, Ordering::SeqCst);
            calls.push(pwrite(fd, &long));
        }
        let mut all = stage::joined(short)?;
        for (waiter, holder) in all.iter_mut().zip(&calls) {
            waiter.sent = Some(Sent { before_ns: holder.before_ns, after_ns: holder.after_ns });
        }
        all.extend(calls);
        Ok(all)
    });
    stage.scene.calls = stage::joined(holder)?;
    stage.end();
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let seen = evidence.pairs(|own| own.ret == 1);
    // The short writes that began during the long write.
    let met: Vec<_> = seen
        .iter()
        .filter(|one| {
            one.own
                .sent
                .is_some_and(|long| long.before_ns < one.own.before_ns && one.own.before_ns < long.after_ns)
        })
        .collect();
    evidence.at_least("met", "clocks of both threads", "calls", 2, met.len() as i64);
    evidence.ranges(
        "off-cpu",
        "CLOCK_MONOTONIC less CLOCK_THREAD_CPUTIME_ID",
        met.iter().map(|one| (one.off(), one.off_range())).collect(),
    );
    if met.iter().any(|one| one.own.delay_ns.is_none()) {
        evidence.skip("lock", "this kernel keeps no /proc/PID/schedstat (CONFIG_SCHED_INFO)", None);
    } else {
        evidence.ranges(
            "lock",
            "time off the CPU by the clocks, less the run-queue time of /proc/TID/schedstat, within a twentieth",
            met.iter()
                .map(|one| {
                    let delay = one.own.delay_ns.unwrap_or(0) as i64;
                    // schedstat is read outside the clocks, so it may count a wait for a CPU that they do not.
                    let beside = one.own.elapsed() / 20;
                    let (low, high) = (one.off_range().0 - beside, one.off_range().1 + beside);
                    (one.record.parts.lock as i64, ((low - delay).max(0), high - delay))
                })
                .collect(),
        );
    }
    let wait: u64 = met.iter().map(|one| one.record.parts.wait).sum();
    evidence.near("wait", "a write to a file does not wait for data", "ns", (0, wait as i64), CLOCK_NS);
}
