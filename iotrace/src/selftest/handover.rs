//! One thread waits, another one reads: as in work-stealing runtimes.

use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;

use super::account::Bracket;
use super::evidence::Evidence;
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Messages.
const MESSAGES: usize = 10;
/// Bytes of each.
const SIZE: usize = 500;

/// `epoll_wait` here, `recv` there.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::tcp_pair()?;
    // SAFETY: plain flags.
    let epoll = stage::descriptor(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // Once for each arrival, or the waiting thread would not sleep before the other one has read.
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
            // After its last message the sender is gone.
            let _ = taken.send(());
        }
        Ok(calls)
    });
    // Not before the one before was taken: two arrivals may be one event.
    let sender = std::thread::spawn(move || -> std::io::Result<Vec<(u64, u64)>> {
        let mut sent = Vec::new();
        for index in 0..MESSAGES {
            if index > 0 {
                next.recv().map_err(std::io::Error::other)?;
            }
            sleep_until(now_ns() + interval);
            let before = now_ns();
            stage::write(&writer, &[9; SIZE])?;
            sent.push((before, now_ns()));
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
        // The other side has an end only after this one.
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

/// What iotrace makes of it.
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
                let (before, after) = one.own.sent?;
                let end = after.min(one.own.after_ns) as i64 - before as i64;
                Some((one.record.wake.at as i64 - before as i64, (0, end.max(0))))
            })
            .collect(),
    );
    let slept: u64 = reads.iter().map(|one| one.record.parts.wait).sum();
    evidence.exactly("wait-of-the-reader", "the data was there", "ns", 0, slept);
    let bytes: u64 = reads.iter().map(|one| one.record.ret.max(0) as u64).sum();
    evidence.exactly("bytes", "the program's own count", "bytes", (MESSAGES * SIZE) as u64, bytes);
    if (evidence.attached)("sk_data_ready") && (evidence.attached)("tcp_rcv_space_adjust") {
        let slept = || waits.iter().filter(|one| one.record.sleeps > 0);
        let joined = slept().filter(|one| {
            let sock = one.record.wake.sock;
            sock != 0 && reads.iter().any(|read| read.record.sock == sock)
        });
        // Readiness and wake-up are joined if no more than 20 us apart, which emulation may make of them.
        let least = slept().count().div_ceil(4);
        evidence.at_least(
            "joined-by-socket",
            "there is one socket; at least a quarter of the sleeps",
            "messages",
            least as i64,
            joined.count() as i64,
        );
    } else {
        evidence.skip("joined-by-socket", "this kernel has no tracepoint sk_data_ready", Some((6, 3)));
    }
}
