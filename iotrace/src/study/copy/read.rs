//! Reading a message that has arrived already: there is no wait, so the time is that of phase 2 and of the call.

use std::io;

use super::pair;
use crate::host::clock::monotonic_ns;
use crate::study::observe::{Watching, calls_of, own_tid};
use crate::study::pair::Pair;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::samples::stats;

/// Least and most messages of one sample; between the two [`BUDGET_NS`] decides.
const MESSAGES: (usize, usize) = (3, 31);
/// Time for the messages of one sample.
const BUDGET_NS: u64 = 3_000_000;
/// One-byte messages, whose copies give the floor that is subtracted.
const FLOOR: usize = 9;

/// Times the read calls of a message of `size` bytes: the tenth percentile of a sample.
///
/// # Errors
/// A call failed, or the message did not arrive.
pub fn timed(transport: Transport, size: usize, sheet: &mut Sheet) -> io::Result<()> {
    let pair = pair(transport)?;
    let mut buffer = vec![1; size.min(pair.piece)];
    let mut times: Vec<f64> = Vec::new();
    let began = monotonic_ns();
    while times.len() < MESSAGES.0 || (times.len() < MESSAGES.1 && monotonic_ns() - began < BUDGET_NS) {
        times.push(message(&pair, size, &mut buffer)? as f64);
    }
    times.sort_by(f64::total_cmp);
    sheet.add("read", &transport.to_string(), Some(size as f64), times[times.len() / 10]);
    Ok(())
}

/// Sends and reads a message piece by piece; returns the time in the reads, ns.
fn message(pair: &Pair, size: usize, buffer: &mut [u8]) -> io::Result<u64> {
    let (mut left, mut time) = (size, 0);
    while left > 0 {
        let piece = left.min(buffer.len());
        pair.write(&buffer[..piece])?;
        // A datagram is there as a whole or not at all, but FIONREAD may count a part of it only.
        pair.arrived(if piece == pair.piece { 1.max(piece / 2) } else { piece })?;
        let start = monotonic_ns();
        pair.read_all(&mut buffer[..piece])?;
        time += monotonic_ns() - start;
        left -= piece;
    }
    Ok(time)
}

/// Takes the copies of a message from the records of its reads, less the floor for each copy.
///
/// # Errors
/// A call failed, or the message did not arrive.
pub fn observed(
    transport: Transport,
    size: usize,
    watching: &mut Watching,
    sheet: &mut Sheet,
) -> io::Result<()> {
    let pair = pair(transport)?;
    let mut buffer = vec![1; size.min(pair.piece)];
    let mut raw = |size: usize, times: usize| -> io::Result<Vec<(f64, f64)>> {
        let mut found = Vec::new();
        for _ in 0..times {
            let (done, journal) = watching.during(|| message(&pair, size, &mut buffer));
            done?;
            let (mut copy, mut copies) = (0, 0);
            for call in calls_of(&journal, own_tid()).filter(|call| call.ret > 0 && call.fd == pair.reader())
            {
                copy += call.parts.copy;
                copies += call.copies;
            }
            if copies > 0 {
                found.push((copy as f64, f64::from(copies)));
            }
        }
        Ok(found)
    };
    let floors: Vec<f64> = raw(1, FLOOR)?.iter().map(|(copy, copies)| copy / copies).collect();
    let Some(floor) = stats::median(&floors) else { return Ok(()) };
    let times: Vec<f64> =
        raw(size, MESSAGES.0)?.iter().map(|(copy, copies)| (copy - floor * copies).max(0.0)).collect();
    if let Some(time) = stats::median(&times) {
        sheet.add("phase-2", &transport.to_string(), Some(size as f64), time);
    }
    Ok(())
}
