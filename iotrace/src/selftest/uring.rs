//! io_uring: the six ways in which the kernel may carry out a request, each recognised by its events.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{Builder, IoUring, cqueue, opcode, squeue, types};
use iotrace_ebpf::abi::UringEvent;

use super::account::Sent;
use super::evidence::Evidence;
use super::stage::{self, Stage, Stop, bracket, unable};
use crate::workload::{now_ns, own_work};
use iotrace_core::domain::{ProbeId, syscall};
use iotrace_ebpf::abi::traits::REQUESTS;

/// User data of the requests of the self-test.
const REQUEST: u64 = 0x5e1f_7e57;
/// User data of requests that are not checked.
const OTHER: u64 = 1;
/// Bytes of a message.
const SIZE: usize = 256;
/// Number of messages of the multishot request.
const SHOTS: usize = 4;
/// Number of requests that are polled, one after the other.
const POLLED: usize = 5;
/// Longest wait for a completion, ns: more than it takes under emulation.
const PATIENCE_NS: u64 = 5_000_000_000;

/// A ring with `flags`. The scene cannot be played where the kernel is older than `since` or io_uring is switched off.
fn ring(since: Option<(u32, u32)>, flags: impl FnOnce(&mut Builder)) -> Result<IoUring, Stop> {
    // First a ring without flags, to see whether the process may make rings at all.
    if let Err(error) = IoUring::new(4) {
        return Err(unable(
            format!("io_uring_setup: {error} (see kernel.io_uring_disabled, or a seccomp filter)"),
            None,
        ));
    }
    let mut builder = IoUring::builder();
    flags(&mut builder);
    builder.build(8).map_err(|error| unable(format!("io_uring_setup with these flags: {error}"), since))
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: every scene keeps its buffers until the request has completed or the ring is closed.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::Error::other("the submission queue is full"))
}

fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> squeue::Entry {
    opcode::Recv::new(types::Fd(fd.as_raw_fd()), buffer.as_mut_ptr(), buffer.len() as u32)
        .build()
        .user_data(REQUEST)
}

/// `io_uring_enter(2)` in a bracket: submits the requests in the ring, and waits for `want` completions.
fn enter(ring: &IoUring, want: usize) -> super::account::Bracket {
    bracket(libc::SYS_io_uring_enter, Some(ring.as_raw_fd()), || {
        let entered = if want == 0 { ring.submit() } else { ring.submit_and_wait(want) };
        entered.map_or(-1, |count| count as isize)
    })
}

/// Waits for the next completion of a request, without `io_uring_enter`.
fn completion(ring: &mut IoUring) -> io::Result<cqueue::Entry> {
    let limit = now_ns() + PATIENCE_NS;
    loop {
        if let Some(entry) = ring.completion().find(|entry| entry.user_data() == REQUEST) {
            return Ok(entry);
        }
        if now_ns() > limit {
            return Err(io::Error::other("an io_uring request did not complete"));
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

/// Receives data that is there already: the request completes in the submitting call.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn inline(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(None, |_| {})?;
    let (reader, writer) = stage::unix_pair()?;
    let mut buffer = [0; SIZE];
    stage::write(&writer, &[1; SIZE])?;
    stage.begin();
    push(&mut ring, &receive(&reader, &mut buffer))?;
    stage.scene.calls.push(enter(&ring, 1));
    stage.end();
    stage.note("result", completion(&mut ring)?.result().max(0) as u64);
    Ok(())
}

/// Receives data that comes later: the kernel polls the socket while the thread waits in `io_uring_enter`.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn poll(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(None, |_| {})?;
    let (reader, writer) = stage::tcp_pair()?;
    let mut buffer = [0; SIZE];
    let sender = stage::sender(POLLED, 2 * stage::pace_ns(), move |_| stage::write(&writer, &[1; SIZE]));
    stage.begin();
    let (mut calls, mut bytes) = (Vec::new(), 0);
    for _ in 0..POLLED {
        push(&mut ring, &receive(&reader, &mut buffer))?;
        calls.push(enter(&ring, 1));
        bytes += completion(&mut ring)?.result().max(0) as u64;
    }
    stage.end();
    for (call, sent) in calls.iter_mut().zip(stage::joined(sender)?) {
        call.sent = Some(sent);
    }
    stage.scene.calls = calls;
    stage.note("result", bytes);
    Ok(())
}

/// Reads with `IOSQE_ASYNC`, so that a worker of the kernel carries the request out.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn worker(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(None, |_| {})?;
    let (reader, writer) = stage::pipe()?;
    let mut buffer = [0; SIZE];
    stage::write(&writer, &[1; SIZE])?;
    let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), buffer.as_mut_ptr(), SIZE as u32)
        .offset(u64::MAX)
        .build()
        .flags(squeue::Flags::ASYNC)
        .user_data(REQUEST);
    stage.begin();
    push(&mut ring, &read)?;
    stage.scene.calls.push(enter(&ring, 1));
    stage.end();
    stage.note("result", completion(&mut ring)?.result().max(0) as u64);
    Ok(())
}

/// Receives with `IORING_SETUP_SQPOLL`: the kernel's SQ thread takes the request; a call is needed only to wake it.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn sqpoll(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(Some((5, 11)), |builder| {
        builder.setup_sqpoll(10_000);
    })?;
    let (reader, writer) = stage::unix_pair()?;
    let mut buffer = [0; SIZE];
    stage::write(&writer, &[1; SIZE])?;
    stage.begin();
    push(&mut ring, &receive(&reader, &mut buffer))?;
    // The SQ thread may have gone to sleep before its first request.
    let mut calls = 0;
    let limit = now_ns() + PATIENCE_NS;
    while ring.completion().is_empty() && now_ns() < limit {
        if ring.submission().need_wakeup() {
            calls += 1;
            ring.submit()?;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    let result = completion(&mut ring)?.result();
    stage.end();
    stage.note("result", result.max(0) as u64);
    stage.note("calls", calls);
    Ok(())
}

/// Receives with `IORING_SETUP_DEFER_TASKRUN`: the thread computes, and task work waits until it asks for completions.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn deferred(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(Some((6, 1)), |builder| {
        builder.setup_single_issuer().setup_defer_taskrun();
    })?;
    let (reader, writer) = stage::unix_pair()?;
    let mut buffer = [0; SIZE];
    stage.begin();
    push(&mut ring, &receive(&reader, &mut buffer))?;
    stage.scene.calls.push(enter(&ring, 0));
    stage::write(&writer, &[1; SIZE])?;
    // Without the flag, task work would interrupt the thread and complete the request here.
    own_work(2_000);
    stage.scene.calls.push(enter(&ring, 1));
    stage.end();
    stage.note("result", completion(&mut ring)?.result().max(0) as u64);
    Ok(())
}

/// Receives with one multishot request, which completes for each message.
///
/// # Errors
/// A call of the scene failed, or this kernel cannot play it.
pub fn multishot(stage: &mut Stage) -> Result<(), Stop> {
    let mut ring = ring(None, |_| {})?;
    let (reader, writer) = stage::udp_pair()?;
    let mut buffers = vec![0u8; 2 * SHOTS * SIZE];
    let provide =
        opcode::ProvideBuffers::new(buffers.as_mut_ptr(), SIZE as i32, 2 * SHOTS as u16, 7, 0).build();
    push(&mut ring, &provide.user_data(OTHER))?;
    ring.submit_and_wait(1)?;
    let provided = ring.completion().next().map_or(-1, |entry| entry.result());
    if provided < 0 {
        return Err(unable("buffers cannot be provided to the ring", Some((5, 7))));
    }
    let request = opcode::RecvMulti::new(types::Fd(reader.as_raw_fd()), 7).build().user_data(REQUEST);
    stage.begin();
    push(&mut ring, &request)?;
    stage.scene.calls.push(enter(&ring, 0));
    if let Some(refused) = ring.completion().find(|entry| entry.user_data() == REQUEST) {
        return Err(unable(format!("receive multishot returned {}", refused.result()), Some((6, 0))));
    }
    let mut bytes = 0;
    for _ in 0..SHOTS {
        stage::write(&writer, &[1; SIZE])?;
        // The kernel carries out the task work when the write returns, so the completion is there.
        bytes += completion(&mut ring)?.result().max(0) as u64;
    }
    stage.end();
    stage.note("result", bytes);
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    for probe in [ProbeId::IoUringSubmitReq, ProbeId::IoUringComplete] {
        if !(evidence.attached)(probe) {
            return evidence.skip("events", &format!("{probe} is not attached"), None);
        }
    }
    let scene = evidence.scene;
    let events = |event| evidence.uring(event, REQUEST);
    let (requests, shots) = match scene.name.as_str() {
        "uring-multishot" => (1, SHOTS as u64),
        "uring-poll" => (POLLED as u64, POLLED as u64),
        _ => (1, 1),
    };
    let bytes: i64 = events(UringEvent::Complete).iter().map(|event| event.res.max(0)).sum();
    let own = "the program's own count";
    evidence.exactly("submitted", own, "requests", requests, events(UringEvent::Submit).len() as u64);
    evidence.exactly("completed", own, "completions", shots, events(UringEvent::Complete).len() as u64);
    evidence.exactly("bytes", own, "bytes", scene.fact("result"), bytes as u64);
    let counts = |figure: &str, probe: ProbeId, event, expected: u64| {
        if (evidence.attached)(probe) {
            let seen = u64::from(!events(event).is_empty());
            evidence.exactly(figure, "how the request was made", "requests", expected, seen);
        } else {
            evidence.skip(figure, &format!("{probe} is not attached"), None);
        }
    };
    let polled = matches!(scene.name.as_str(), "uring-poll" | "uring-deferred" | "uring-multishot");
    if scene.name != "uring-sqpoll" {
        counts("polled", ProbeId::IoUringPollArm, UringEvent::PollArm, u64::from(polled));
    }
    let handed = u64::from(scene.name == "uring-worker");
    counts("handed-to-worker", ProbeId::IoUringQueueAsyncWork, UringEvent::QueueAsync, handed);
    let Some(done) = events(UringEvent::Complete).last().copied() else { return };
    match scene.name.as_str() {
        "uring-inline" | "uring-deferred" => completed_in_enter(evidence, done.head.at, done.nr),
        "uring-poll" => woken(evidence),
        "uring-sqpoll" => {
            let calls = evidence.journal.calls.iter().filter(|entry| {
                syscall::is(entry.call.nr, REQUESTS)
                    && entry.enter() >= scene.from_ns
                    && entry.enter() <= scene.to_ns
            });
            evidence.exactly(
                "calls",
                "the program's own count of calls that woke the SQ thread",
                "calls",
                scene.fact("calls"),
                calls.count() as u64,
            );
            let name = evidence.journal.names.get(&done.head.tid).map_or("", String::as_str);
            let by_kernel = u64::from(name.starts_with("iou-sqp"));
            evidence.exactly("by-the-kernels-thread", "the name of the thread", "requests", 1, by_kernel);
        }
        _ => {}
    }
}

/// Checks that the request completed within the last call; a deferred request waits for that call.
fn completed_in_enter(evidence: &Evidence, at: u64, nr: u32) {
    let Some(own) = evidence.scene.calls.last() else { return };
    let inside = u64::from(syscall::is(nr, REQUESTS));
    evidence.exactly("in-enter", "how the request was made", "requests", 1, inside);
    evidence.ranges(
        "completed-at",
        "the clock before and after io_uring_enter (0: before)",
        vec![(at as i64 - own.before_ns as i64, (0, own.elapsed()))],
    );
}

/// Checks that each poll was woken within the send call, and that the thread waited until then.
fn woken(evidence: &Evidence) {
    let added = evidence.uring(UringEvent::TaskAdd, REQUEST);
    if added.is_empty() {
        evidence.skip("woken-at", "io_uring_task_add is not attached, or does not name the request", None);
    } else {
        // The calls that had begun before the message was sent.
        let waiting =
            |own: &&super::account::Bracket| own.sent.is_some_and(|sent| sent.before_ns > own.before_ns);
        let sent = evidence.scene.calls.iter().filter(waiting).filter_map(|own| own.sent);
        let nearest = |at: u64| added.iter().map(|one| one.head.at).min_by_key(|one| one.abs_diff(at));
        evidence.ranges(
            "woken-at",
            "the sender's clock before and after its call (0: before)",
            sent.filter_map(|Sent { before_ns: before, after_ns: after }| {
                let at = nearest(before + (after - before) / 2)?;
                Some((at as i64 - before as i64, (0, (after - before) as i64)))
            })
            .collect(),
        );
    }
    let waits = evidence.pairs(|_| true);
    evidence.ranges(
        "off-cpu",
        "CLOCK_MONOTONIC less CLOCK_THREAD_CPUTIME_ID",
        waits.iter().map(|one| (one.off(), one.off_range())).collect(),
    );
}
