//! Lock waits: a thread that writes one byte to a file which another is in the midst of writing much to.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::account::Bracket;
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Rounds.
const ROUNDS: usize = 6;
/// Bytes of the long write, which holds the lock of the file's inode: on a fast machine more, so that it takes
/// longer than a turn of the scheduler.
const LONG: usize = 16 << 20;
const LONGER: usize = 64 << 20;
/// Faster than this is fast.
const QUICK_NS: u64 = 10_000_000;

fn pwrite(fd: RawFd, bytes: &[u8]) -> Bracket {
    // SAFETY: the buffer is as long as it says.
    bracket(libc::SYS_pwrite64, Some(fd), || unsafe {
        libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), 0)
    })
}

/// Both threads on one CPU: a thread that waits for a lock whose owner runs would spin instead of sleeping.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    // SAFETY: a name that ends with a zero.
    let file =
        stage::descriptor(unsafe { libc::memfd_create(c"iotrace-selftest".as_ptr(), libc::MFD_CLOEXEC) })?;
    let fd = file.as_raw_fd();
    let mut long = vec![3u8; LONG];
    // Once, so that the pages are there and all rounds take as long.
    if (pwrite(fd, &long).elapsed() as u64) < QUICK_NS {
        long.resize(LONGER, 3);
        pwrite(fd, &long);
    }
    // The round whose long write begins now.
    let round = Arc::new(AtomicUsize::new(0));
    stage.begin();
    // Not on the main thread: its CPU must stay its own choice.
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
            waiter.sent = Some((holder.before_ns, holder.after_ns));
        }
        all.extend(calls);
        Ok(all)
    });
    stage.scene.calls = stage::joined(holder)?;
    stage.end();
    Ok(())
}

/// What iotrace makes of it.
pub fn judge(evidence: &Evidence) {
    let seen = evidence.pairs(|own| own.ret == 1);
    // Those that came while the other held the lock.
    let met: Vec<_> = seen
        .iter()
        .filter(|one| {
            one.own.sent.is_some_and(|(from, to)| from < one.own.before_ns && one.own.before_ns < to)
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
                    // A wait for a CPU between that account and the clock counts there, and not here.
                    let beside = one.own.elapsed() / 20;
                    let (low, high) = (one.off_range().0 - beside, one.off_range().1 + beside);
                    (one.record.parts.lock as i64, ((low - delay).max(0), high - delay))
                })
                .collect(),
        );
    }
    let wait: u64 = met.iter().map(|one| one.record.parts.wait).sum();
    evidence.near("wait", "nobody waits for data there", "ns", (0, wait as i64), CLOCK_NS);
}
