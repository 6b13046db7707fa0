//! Calls that end without data: restarted after a signal (`SA_RESTART`), or timed out.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::gettid;

/// Number of reads.
const READS: usize = 5;
/// Signals that interrupt each read.
const SIGNALS: usize = 3;
/// Timeout of a call, ns.
const TIMEOUT_NS: i64 = 5_000_000;
/// Number of calls of each kind that time out.
const TIMEOUTS: usize = 3;
/// The signal, which nothing else in this process uses.
const SIGNAL: i32 = libc::SIGUSR1;

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handled(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Makes reads; three signals interrupt each, then a byte ends it.
///
/// # Errors
/// A call of the scene failed.
pub fn restart(stage: &mut Stage) -> Result<(), Stop> {
    // SAFETY: all zeros are a valid action with an empty mask; the handler only adds to an atomic.
    stage::ok(unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handled as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut())
    })?;
    let (reader, writer) = stage::pipe()?;
    let (process, thread) = (std::process::id() as i32, gettid() as i32);
    let before = HANDLED.load(Ordering::Relaxed);
    let sender = stage::sender(READS * (SIGNALS + 1), stage::pace_ns(), move |index| {
        if index % (SIGNALS + 1) == SIGNALS {
            return stage::write(&writer, &[1]);
        }
        // SAFETY: a thread of this process, with a handler for that signal.
        stage::ok(unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGNAL) } as i32)
    });
    stage.begin();
    for _ in 0..READS {
        stage.scene.calls.push(stage::read(&reader, &mut [0]));
    }
    stage.end();
    stage::joined(sender)?;
    stage.note("handled", HANDLED.load(Ordering::Relaxed) - before);
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge_restart(evidence: &Evidence) {
    let Some(own) = evidence.scene.calls.first() else {
        return evidence.exactly("calls", "the program's own count", "calls", 1, 0);
    };
    let records = evidence.recorded(own.tid, own.nr, own.fd);
    let restarts = records.iter().map(|call| u64::from(call.restarts)).sum();
    let handled = evidence.scene.fact("handled");
    evidence.exactly("restarts", "runs of the handler", "restarts", handled, restarts);
    evidence.exactly(
        "reads",
        "each read, however often it is entered",
        "calls",
        READS as u64,
        records.len() as u64,
    );
    let (mut off, mut total) = (Vec::new(), Vec::new());
    for own in &evidence.scene.calls {
        let slack = CLOCK_NS as u64;
        let within = own.before_ns.saturating_sub(slack)..=own.after_ns + slack;
        let mine: Vec<_> = records.iter().filter(|call| within.contains(&call.head.at)).collect();
        let inside: u64 = mine
            .iter()
            .map(|call| call.parts.wait + call.parts.disk + call.parts.lock + call.parts.runq)
            .sum();
        // The CPU clock stops a moment before each switch, hence the allowance for each entry. A handler that loses the
        // CPU does so outside of the call, which is no more than what the clock says is missing.
        let entries = mine.iter().map(|call| 1 + i64::from(call.restarts)).sum::<i64>();
        let least = own.elapsed() - own.cpu_ns as i64 - CLOCK_NS * entries;
        off.push((inside as i64, (least.max(0), own.elapsed())));
        total.push((mine.iter().map(|call| call.parts.total as i64).sum(), (least.max(0), own.elapsed())));
    }
    evidence.ranges("off-cpu", "CLOCK_MONOTONIC less CLOCK_THREAD_CPUTIME_ID", off);
    evidence.ranges("total", "CLOCK_MONOTONIC around the call, less what its handlers take", total);
}

/// Makes calls of `poll` and `recv` that time out, since no data is sent.
///
/// # Errors
/// A call of the scene failed.
pub fn timeout(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, _writer) = stage::unix_pair()?;
    let fd = reader.as_raw_fd();
    let limit = libc::timeval { tv_sec: 0, tv_usec: TIMEOUT_NS / 1000 };
    // SAFETY: a timeval, as long as it says.
    stage::ok(unsafe {
        let (option, length) = (libc::SO_RCVTIMEO, size_of::<libc::timeval>() as u32);
        libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const limit).cast(), length)
    })?;
    stage.begin();
    for _ in 0..TIMEOUTS {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let ms = (TIMEOUT_NS / 1_000_000) as i32;
        // SAFETY: one descriptor to look at.
        let own = bracket(libc::SYS_poll, None, || unsafe {
            libc::syscall(libc::SYS_poll, &raw mut poll, 1, ms) as isize
        });
        stage.scene.calls.push(own);
        stage.scene.calls.push(stage::recv(&reader, &mut [0], 0));
    }
    stage.end();
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge_timeout(evidence: &Evidence) {
    let again = -i64::from(libc::EAGAIN);
    let (poll, recv) = (libc::SYS_poll as u32, libc::SYS_recvfrom as u32);
    for (name, nr, ret) in [("poll", poll, 0), ("recv", recv, again)] {
        let seen = evidence.pairs(|own| own.nr == nr);
        let timed_out =
            seen.iter().filter(|one| one.record.ret == ret && one.own.ret == ret && one.record.sleeps > 0);
        let count = timed_out.count() as u64;
        evidence.exactly(
            &format!("{name}-timeouts"),
            "the program's own count",
            "calls",
            TIMEOUTS as u64,
            count,
        );
        evidence.ranges(
            &format!("{name}-total"),
            "at least the timeout that was asked for, at most the clock around the call",
            seen.iter()
                // Socket timeouts count ticks (`sock_rcvtimeo`), so they may take up to 10 ms more: the clock says how
                // much.
                .map(|one| {
                    let least = (one.own.elapsed() - one.own.cpu_ns as i64).max(TIMEOUT_NS - CLOCK_NS);
                    (one.record.parts.total as i64, (least, one.own.elapsed()))
                })
                .collect(),
        );
    }
    let Some(snapshot) = evidence.summed("poll-timeouts-summed") else { return };
    let sums = snapshot.rows.iter().filter(|(key, _)| key.nr == poll);
    let empty: u64 = sums.map(|(_, row)| row.timeouts).sum();
    evidence.exactly("poll-timeouts-summed", "the program's own count", "calls", TIMEOUTS as u64, empty);
}
