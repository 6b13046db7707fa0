//! Lock waits: a thread that writes one byte to a file which another is in the midst of writing much to.

use std::os::fd::{AsRawFd, RawFd};

use super::account::Bracket;
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Rounds.
const ROUNDS: usize = 6;
/// Bytes of the long write, which holds the lock of the file's inode.
const LONG: usize = 16 << 20;

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
    let long = vec![3u8; LONG];
    // Once, so that the pages are there and all rounds take as long.
    let first = pwrite(fd, &long).elapsed() as u64;
    let begin = now_ns() + 5_000_000;
    let every = 3 * first + 5_000_000;
    let at = move |round: usize| begin + round as u64 * every;
    stage.begin();
    // Not on the main thread: its CPU must stay its own choice.
    let holder = std::thread::spawn(move || -> std::io::Result<Vec<Bracket>> {
        let cpu = stage::pin(None)?;
        let short = std::thread::spawn(move || -> std::io::Result<Vec<Bracket>> {
            stage::pin(Some(cpu))?;
            Ok((0..ROUNDS)
                .map(|round| {
                    // A quarter into the long write.
                    sleep_until(at(round) + first / 4);
                    let before = stage::run_delay_ns();
                    let own = pwrite(fd, &[1]);
                    let delay = before.zip(stage::run_delay_ns()).map(|(before, after)| after - before);
                    Bracket { delay_ns: delay, ..own }
                })
                .collect())
        });
        let mut calls = Vec::new();
        for round in 0..ROUNDS {
            sleep_until(at(round));
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
    evidence.at_least("met", "clocks of both threads", "calls", ROUNDS as i64 / 2, met.len() as i64);
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
