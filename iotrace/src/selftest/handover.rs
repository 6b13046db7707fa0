//! One thread waits in `epoll_wait`, another one reads, as in work-stealing runtimes.

use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;

use iotrace_core::domain::ProbeId;

use super::account::{Bracket, Sent};
use super::evidence::Evidence;
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Number of messages.
const MESSAGES: usize = 10;
/// Bytes of a message.
const SIZE: usize = 500;

/// This thread calls `epoll_wait`, another one `recv`.
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::tcp_pair()?;
    // SAFETY: plain flags.
    let epoll = stage::descriptor(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // Edge-triggered: one report for each arrival. Level-triggered, the waiting thread would not sleep again before the
    // other one has read.
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: a valid event.
    stage::ok(unsafe {
        libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, reader.as_raw_fd(), &raw mut event)
    })?;
    let (tell, told) = channel::<()>();
    let (taken, next) = channel::<()>();
    let interval = stage::pace_ns();
    let taker = std::thread::spawn(move || -> std::io::Result<Vec<Bracket>> {
        let mut buffer = [0; SIZE];
        let mut calls = Vec::new();
        for () in told {
            calls.push(stage::recv(&reader, &mut buffer, 0));
            // Fails after the last message, when the sender has ended.
            let _ = taken.send(());
        }
        Ok(calls)
    });
    // Each message is sent after the one before was read, because two arrivals may become one event.
    let sender = std::thread::spawn(move || -> std::io::Result<Vec<Sent>> {
        let mut sent = Vec::new();
        for index in 0..MESSAGES {
            if index > 0 {
                next.recv().map_err(std::io::Error::other)?;
            }
            sleep_until(now_ns() + interval);
            let before_ns = now_ns();
            stage::write(&writer, &[9; SIZE])?;
            sent.push(Sent { before_ns, after_ns: now_ns() });
        }
        Ok(sent)
    });
    let fd = epoll.as_raw_fd();
    stage.begin();
    let mut calls = Vec::new();
    for _ in 0..MESSAGES {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        calls.push(bracket(libc::SYS_epoll_wait, Some(fd), || unsafe {
            libc::syscall(libc::SYS_epoll_wait, fd, &raw mut event, 1, -1) as isize
        }));
        // Cannot fail: the other thread receives until this side is dropped.
        let _ = tell.send(());
    }
    drop(tell);
    for (call, sent) in calls.iter_mut().zip(stage::joined(sender)?) {
        call.sent = Some(sent);
    }
    calls.extend(stage::joined(taker)?);
    stage.end();
    stage.scene.calls = calls;
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let waits = evidence.pairs(|own| own.nr == libc::SYS_epoll_wait as u32);
    let reads = evidence.pairs(|own| own.nr == libc::SYS_recvfrom as u32);
    evidence.exactly(
        "calls",
        "the program's own count",
        "calls",
        2 * MESSAGES as u64,
        (waits.len() + reads.len()) as u64,
    );
    evidence.ranges(
        "wake-up",
        "the sender's clock before and after its call (0: before)",
        waits
            .iter()
            .filter(|one| one.waited())
            .filter_map(|one| {
                let Sent { before_ns: before, after_ns: after } = one.own.sent?;
                let end = after.min(one.own.after_ns) as i64 - before as i64;
                Some((one.record.wake.at as i64 - before as i64, (0, end.max(0))))
            })
            .collect(),
    );
    let slept: u64 = reads.iter().map(|one| one.record.parts.wait).sum();
    evidence.exactly("wait-of-the-reader", "the data was there before the call", "ns", 0, slept);
    let bytes: u64 = reads.iter().map(|one| one.record.ret.max(0) as u64).sum();
    evidence.exactly("bytes", "the program's own count", "bytes", (MESSAGES * SIZE) as u64, bytes);
    if (evidence.attached)(ProbeId::SkDataReady) && (evidence.attached)(ProbeId::TcpRcvSpaceAdjust) {
        let slept = || waits.iter().filter(|one| one.record.sleeps > 0);
        let joined = slept().filter(|one| {
            let sock = one.record.wake.sock;
            sock != 0 && reads.iter().any(|read| read.record.sock == sock)
        });
        // Readiness and wake-up are joined if they are at most 20 us apart; under emulation they may be further apart.
        let least = slept().count().div_ceil(4);
        evidence.at_least(
            "joined-by-socket",
            "there is one socket: at least a quarter of the sleeps",
            "messages",
            least as i64,
            joined.count() as i64,
        );
    } else {
        evidence.skip("joined-by-socket", "this kernel has no tracepoint sk_data_ready", Some((6, 3)));
    }
}
