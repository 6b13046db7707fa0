//! Paced waits: a reader sleeps until a sender sends on its schedule. In the scene of the pipe a timerfd wakes the
//! sender.

use std::os::fd::{AsRawFd, OwnedFd};

use iotrace_core::domain::ProbeId;

use super::account::{Bracket, Sent};
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, sleep_until};

/// Number of messages of a scene: enough for medians.
const MESSAGES: usize = 24;
/// Bytes of a message.
const SIZE: usize = 64;

/// Waits for data on a pipe.
///
/// # Errors
/// A call of the scene failed.
pub fn pipe(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::pipe()?;
    let timer = timer()?;
    paced(stage, reader, move || tick(&timer), move || stage::write(&writer, &[1; SIZE]), stage::read)
}

/// Waits for data on a TCP connection.
///
/// # Errors
/// A call of the scene failed.
pub fn tcp(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::tcp_pair()?;
    paced(
        stage,
        reader,
        || Ok(()),
        move || stage::write(&writer, &[1; SIZE]),
        |fd, to| stage::recv(fd, to, 0),
    )
}

/// Waits for data on an AF_UNIX stream.
///
/// # Errors
/// A call of the scene failed.
pub fn unix(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::unix_pair()?;
    paced(
        stage,
        reader,
        || Ok(()),
        move || stage::write(&writer, &[1; SIZE]),
        |fd, to| stage::recv(fd, to, 0),
    )
}

/// Waits for datagrams on a UDP socket; the kernel stamps each as it arrives (SO_TIMESTAMPNS).
///
/// # Errors
/// A call of the scene failed.
pub fn udp(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::udp_pair()?;
    let on = 1i32;
    // SAFETY: an int, as long as it says.
    stage::ok(unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
        libc::setsockopt(reader.as_raw_fd(), level, option, (&raw const on).cast(), size_of::<i32>() as u32)
    })?;
    paced(stage, reader, || Ok(()), move || stage::write(&writer, &[1; SIZE]), receive)
}

fn paced(
    stage: &mut Stage,
    reader: OwnedFd,
    mut tick: impl FnMut() -> std::io::Result<()> + Send + 'static,
    mut send: impl FnMut() -> std::io::Result<()> + Send + 'static,
    read: impl Fn(&OwnedFd, &mut [u8]) -> Bracket,
) -> Result<(), Stop> {
    let sender = std::thread::spawn({
        let interval = stage::pace_ns();
        move || {
            let mut sent = Vec::with_capacity(MESSAGES);
            for _ in 0..MESSAGES {
                sleep_until(now_ns() + interval);
                tick()?;
                let before_ns = now_ns();
                send()?;
                sent.push(Sent { before_ns, after_ns: now_ns() });
            }
            Ok(sent)
        }
    });
    let mut buffer = [0; SIZE];
    let (delay, switches) = (stage::run_delay_ns(), stage::switches());
    stage.begin();
    let mut calls: Vec<Bracket> = (0..MESSAGES).map(|_| read(&reader, &mut buffer)).collect();
    stage.end();
    stage.note("sleeps", stage::switches().voluntary - switches.voluntary);
    if let (Some(before), Some(after)) = (delay, stage::run_delay_ns()) {
        stage.note("run_delay", after - before);
    }
    for (call, sent) in calls.iter_mut().zip(stage::joined(sender)?) {
        call.sent = Some(sent);
    }
    stage.scene.calls = calls;
    Ok(())
}

fn timer() -> std::io::Result<OwnedFd> {
    // SAFETY: plain flags.
    stage::descriptor(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) })
}

/// Sets the timer to 100 us and waits for it.
fn tick(timer: &OwnedFd) -> std::io::Result<()> {
    let once = libc::timespec { tv_sec: 0, tv_nsec: 100_000 };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let set = libc::itimerspec { it_interval: never, it_value: once };
    // SAFETY: a valid timer value; the old one is not asked for.
    stage::ok(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const set, std::ptr::null_mut()) })?;
    let rung = stage::read(timer, &mut [0; 8]).ret;
    if rung == 8 { Ok(()) } else { Err(std::io::Error::other("a timer did not expire")) }
}

/// `recvmsg(2)` in a bracket, with the time stamp of the kernel.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> Bracket {
    let slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = [0u64; 8];
    // SAFETY: all zeros are a valid message, filled in below.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = (&raw const slice).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let raw = fd.as_raw_fd();
    // SAFETY: one slice, and room for control data as long as it says.
    let mut own =
        bracket(libc::SYS_recvmsg, Some(raw), || unsafe { libc::recvmsg(raw, &raw mut message, 0) });
    // SAFETY: the kernel filled in the message; the first piece of control data, if any, is the one asked for.
    let stamp = unsafe {
        let piece = libc::CMSG_FIRSTHDR(&raw const message);
        let ours = !piece.is_null() && (*piece).cmsg_type == libc::SCM_TIMESTAMPNS;
        ours.then(|| libc::CMSG_DATA(piece).cast::<libc::timespec>().read_unaligned())
    };
    own.stamp_ns = stamp.map(|time| {
        let real = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        real.wrapping_sub(real_ahead_ns())
    });
    own
}

/// Nanoseconds by which CLOCK_REALTIME is ahead of CLOCK_MONOTONIC.
fn real_ahead_ns() -> u64 {
    let real = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a valid place for the answer; this clock exists everywhere.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    // CLOCK_REALTIME is read between two readings of CLOCK_MONOTONIC; the pair that lies closest together was not
    // disturbed.
    let reading = || {
        let (before, real, after) = (now_ns(), real(), now_ns());
        (after - before, real.wrapping_sub(before + (after - before) / 2))
    };
    (0..5).map(|_| reading()).min().map_or(0, |(_, ahead)| ahead)
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let scene = evidence.scene;
    let seen = evidence.pairs(|_| true);
    evidence.exactly("calls", "the program's own count", "calls", MESSAGES as u64, seen.len() as u64);
    evidence.ranges(
        "wait",
        "clocks of both ends: the wait ends inside the send call",
        seen.iter()
            .filter_map(|one| {
                let Sent { before_ns: before, after_ns: after } = one.own.sent?;
                let start = one.own.before_ns as i64;
                let end = after.min(one.own.after_ns) as i64;
                let least = (before as i64 - start - one.own.cpu_ns as i64).max(0);
                Some((one.record.parts.wait as i64, (least, (end - start).max(0))))
            })
            .collect(),
    );
    evidence.ranges(
        "wake-up",
        "the sender's clock before and after its call (0: before)",
        seen.iter()
            .filter(|one| one.waited())
            .filter_map(|one| {
                let Sent { before_ns: before, after_ns: after } = one.own.sent?;
                let end = after.min(one.own.after_ns) as i64;
                let wake = one.record.wake.at as i64 - before as i64;
                Some((wake, (0, (end - before as i64).max(0))))
            })
            .collect(),
    );
    evidence.ranges(
        "off-cpu",
        "CLOCK_MONOTONIC less CLOCK_THREAD_CPUTIME_ID",
        seen.iter().map(|one| (one.off(), one.off_range())).collect(),
    );
    let sleeps: u64 =
        seen.iter().map(|one| u64::from(one.record.sleeps + one.record.disks + one.record.locks)).sum();
    evidence.exactly("sleeps", "getrusage: voluntary switches", "switches", scene.fact("sleeps"), sleeps);
    if (evidence.attached)(ProbeId::SkDataReady) {
        let wakes = seen.iter().map(|one| &one.record.wake).filter(|wake| wake.sock != 0);
        let late = wakes.filter(|wake| wake.ready > wake.at).count() as u64;
        evidence.exactly(
            "ready-after-wake-up",
            "readiness causes the wake-up, so it comes first",
            "messages",
            0,
            late,
        );
    }
    run_queue(evidence, seen.iter().map(|one| one.record.parts.runq).sum());
    if scene.name != "wait-pipe" {
        readiness(evidence);
    }
}

/// Checks the time on the run queue. The scheduler's account begins when the thread is queued, iotrace's at the wake-up
/// right before. Both lie in the send call, unless an interrupt has to queue the thread on another CPU; that takes long
/// in a virtual machine whose host gives that CPU to another one. Between its calls the thread may wait for a CPU, too.
fn run_queue(evidence: &Evidence, runq: u64) {
    let scene = evidence.scene;
    let Some(&delay) = scene.facts.get("run_delay") else {
        return evidence.skip(
            "run-queue",
            "this kernel keeps no /proc/PID/schedstat (CONFIG_SCHED_INFO)",
            None,
        );
    };
    let inside: i64 = scene.calls.iter().map(Bracket::elapsed).sum();
    let between = scene.to_ns.saturating_sub(scene.from_ns) as i64 - inside;
    let sends = scene.calls.iter().filter_map(|own| Some((own, own.sent?)));
    let waking: i64 = sends
        .map(|(own, sent)| (sent.after_ns.min(own.after_ns) as i64 - sent.before_ns as i64).max(0))
        .sum();
    evidence.near(
        "run-queue",
        "/proc/TID/schedstat",
        "ns",
        (delay as i64, runq as i64),
        between + waking + CLOCK_NS * scene.calls.len() as i64,
    );
}

/// Checks when the socket became ready.
fn readiness(evidence: &Evidence) {
    if !(evidence.attached)(ProbeId::SkDataReady) {
        return evidence.skip("ready", "this kernel has no tracepoint sk_data_ready", Some((6, 3)));
    }
    let ready = |from: u64, to: u64| {
        let slack = 5 * CLOCK_NS as u64;
        let mut within = evidence.journal.ready.iter().map(|one| one.head.at);
        // If no mark lies within the send call, take the nearest: a fault may have moved it.
        let near = within.clone().min_by_key(|&at| at.abs_diff(from + (to - from) / 2));
        within.find(|&at| at >= from.saturating_sub(slack) && at <= to + slack).or(near)
    };
    let calls = &evidence.scene.calls;
    let sent = || calls.iter().filter_map(|own| Some((own, own.sent?)));
    evidence.ranges(
        "ready",
        "the sender's clock before and after its call (0: before)",
        sent()
            .filter_map(|(_, Sent { before_ns: before, after_ns: after })| {
                let at = ready(before, after)? as i64 - before as i64;
                Some((at, (0, (after - before) as i64)))
            })
            .collect(),
    );
    if calls.iter().any(|own| own.stamp_ns.is_some()) {
        evidence.ranges(
            "ready-after-stamp",
            "SO_TIMESTAMPNS: after the kernel's stamp, before the send returns",
            sent()
                .filter_map(|(own, Sent { before_ns: before, after_ns: after })| {
                    let stamp = own.stamp_ns? as i64;
                    let at = ready(before, after)? as i64 - stamp;
                    Some((at, (0, (after as i64 - stamp).max(0))))
                })
                .collect(),
        );
    }
}
