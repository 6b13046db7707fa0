//! Receives with flags: `MSG_WAITALL` waits for several pieces, `MSG_PEEK` leaves the data in the socket.

use super::account::Sent;
use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop};

/// Pieces of one message.
const PIECES: usize = 3;
/// Bytes of a piece.
const SIZE: usize = 1000;
/// Number of messages.
const MESSAGES: usize = 5;

/// Receives all pieces of a message with one `recv`.
///
/// # Errors
/// A call of the scene failed.
pub fn waitall(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::unix_pair()?;
    let sender =
        stage::sender(PIECES * MESSAGES, stage::pace_ns(), move |_| stage::write(&writer, &[5; SIZE]));
    let mut buffer = [0; PIECES * SIZE];
    stage.begin();
    let mut calls: Vec<_> =
        (0..MESSAGES).map(|_| stage::recv(&reader, &mut buffer, libc::MSG_WAITALL)).collect();
    stage.end();
    let sent = stage::joined(sender)?;
    for (call, pieces) in calls.iter_mut().zip(sent.chunks(PIECES)) {
        call.sent = pieces.last().copied();
    }
    stage.scene.calls = calls;
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge_waitall(evidence: &Evidence) {
    let seen = evidence.pairs(|_| true);
    let bytes: u64 = seen.iter().map(|one| one.record.ret.max(0) as u64).sum();
    evidence.exactly("bytes", "the program's own count", "bytes", (MESSAGES * PIECES * SIZE) as u64, bytes);
    let calls =
        evidence.scene.calls.first().map_or(0, |own| evidence.recorded(own.tid, own.nr, own.fd).len());
    evidence.exactly("calls", "the program's own count", "calls", MESSAGES as u64, calls as u64);
    let sleeps: i64 = seen.iter().map(|one| i64::from(one.record.sleeps)).sum();
    evidence.at_least(
        "sleeps",
        "the sender's pace: one sleep for each piece unless the reader was late, at least two of three",
        "sleeps",
        (MESSAGES * PIECES) as i64 * 2 / 3,
        sleeps,
    );
    evidence.ranges(
        "off-cpu",
        "CLOCK_MONOTONIC less CLOCK_THREAD_CPUTIME_ID",
        seen.iter()
            .map(|one| {
                // Interrupts count on no CPU clock, and each piece comes with some.
                let (low, high) = one.off_range();
                (one.off(), ((low - PIECES as i64 * CLOCK_NS).max(0), high))
            })
            .collect(),
    );
    evidence.ranges(
        "last-wake-up",
        "the sender's clock around its last piece (0: before)",
        seen.iter()
            // The calls that slept for the last piece, too.
            .filter(|one| one.record.sleeps as usize >= PIECES)
            .filter_map(|one| {
                let Sent { before_ns: before, after_ns: after } = one.own.sent?;
                let end = after.min(one.own.after_ns) as i64 - before as i64;
                Some((one.record.wake.at as i64 - before as i64, (0, end.max(0))))
            })
            .collect(),
    );
}

/// Receives each message twice: with `MSG_PEEK`, then without.
///
/// # Errors
/// A call of the scene failed.
pub fn peek(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::unix_pair()?;
    let mut buffer = [0; SIZE];
    stage.begin();
    for _ in 0..MESSAGES {
        stage::write(&writer, &[6; SIZE])?;
        stage.scene.calls.push(stage::recv(&reader, &mut buffer, libc::MSG_PEEK));
        stage.scene.calls.push(stage::recv(&reader, &mut buffer, 0));
    }
    stage.end();
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge_peek(evidence: &Evidence) {
    let seen = evidence.pairs(|_| true);
    let twice = (2 * MESSAGES) as u64;
    evidence.exactly("calls", "the program's own count", "calls", twice, seen.len() as u64);
    let copied: u64 = seen.iter().map(|one| one.record.copy_bytes).sum();
    evidence.exactly(
        "bytes-between-marks",
        "each byte is received twice",
        "bytes",
        twice * SIZE as u64,
        copied,
    );
    let copies: u64 = seen.iter().map(|one| u64::from(one.record.copies)).sum();
    evidence.exactly("copies", "the program's own count", "copies", twice, copies);
    let slept: u64 = seen.iter().map(|one| one.record.parts.wait).sum();
    evidence.exactly("wait", "the data was there before the call", "ns", 0, slept);
}
