//! Known sizes: small and large reads in turn, of data that is there already. By the clock of the program a large read
//! takes longer, and nearly all of the difference is the copy.

use std::os::fd::OwnedFd;

use super::evidence::{Evidence, Seen, median};
use super::stage::{self, Stage, Stop};

/// Number of reads of each size.
const READS: usize = 32;
/// Bytes of a small read. A message of either size is one socket buffer with pages of its own, so that the reads differ
/// in the copy and in little else.
const SMALL: usize = 8 << 10;
/// Bytes of a large read.
const LARGE: usize = 32 << 10;
/// Share of the difference that may be something else than the copy: freeing the larger buffer, and its cache misses.
const OTHER: f64 = 0.35;

/// Reads over AF_UNIX.
///
/// # Errors
/// A call of the scene failed.
pub fn unix(stage: &mut Stage) -> Result<(), Stop> {
    play(stage, stage::unix_pair()?)
}

/// Reads over TCP.
///
/// # Errors
/// A call of the scene failed.
pub fn tcp(stage: &mut Stage) -> Result<(), Stop> {
    play(stage, stage::tcp_pair()?)
}

fn play(stage: &mut Stage, (reader, writer): (OwnedFd, OwnedFd)) -> Result<(), Stop> {
    let (data, mut buffer) = (vec![7; LARGE], vec![0; LARGE]);
    stage.begin();
    for _ in 0..READS {
        for size in [SMALL, LARGE] {
            stage::write(&writer, &data[..size])?;
            stage.scene.calls.push(stage::recv(&reader, &mut buffer[..size], libc::MSG_WAITALL));
        }
    }
    stage.end();
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let seen = evidence.pairs(|_| true);
    let of = |size: usize| seen.iter().filter(move |one| one.own.ret == size as i64);
    let bytes: u64 = evidence.scene.calls.iter().map(|own| own.ret.max(0) as u64).sum();
    let counted: u64 = seen.iter().map(|one| one.record.ret.max(0) as u64).sum();
    evidence.exactly("bytes", "the program's own count", "bytes", bytes, counted);
    let between: u64 = seen.iter().map(|one| one.record.copy_bytes).sum();
    evidence.exactly("bytes-between-marks", "the program's own count", "bytes", bytes, between);
    evidence.ranges(
        "copy-begins",
        "the clock before and after the call (0: before)",
        of(LARGE)
            .map(|one| (one.record.copy_first as i64 - one.own.before_ns as i64, (0, one.own.elapsed())))
            .collect(),
    );
    evidence.ranges(
        "copy",
        "at most the whole call, by CLOCK_MONOTONIC around it",
        of(LARGE).map(|one| (one.record.parts.copy as i64, (1, one.own.elapsed()))).collect(),
    );
    // The median of the faster half, which nothing disturbed.
    let quick = |time: &dyn Fn(&Seen) -> i64, size| {
        let mut times: Vec<i64> = of(size).map(time).collect();
        times.sort_unstable();
        times.truncate(times.len().div_ceil(2));
        median(times)
    };
    let kib = ((LARGE - SMALL) / 1024) as i64;
    let slope = |time: &dyn Fn(&Seen) -> i64| (quick(time, LARGE) - quick(time, SMALL)) / kib;
    let own = slope(&|one| one.own.elapsed());
    let copy = slope(&|one| one.record.parts.copy as i64);
    let work = slope(&|one| (one.record.parts.copy + one.record.parts.work) as i64);
    evidence.near(
        "call-per-KiB",
        "CLOCK_MONOTONIC around the same reads",
        "ns/KiB",
        (own, work),
        (own as f64 * 0.1) as i64 + 10,
    );
    evidence.near(
        "copy-per-KiB",
        "CLOCK_MONOTONIC around the same reads: at most 35 % of the difference is anything but the copy",
        "ns/KiB",
        (own, copy),
        (own as f64 * OTHER) as i64 + 10,
    );
}
