//! Claims about waiting: blocking, non-blocking and polling reads.

use std::io;

use super::{Bench, Figure, Trial};
use crate::host::clock::monotonic_ns;
use crate::study::observe::{calls_of, own_tid};
use crate::study::pair::Pair;
use crate::study::times;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::stats;
use iotrace_core::summary::{Ruling, Source};

/// Bytes of a message that is copied: enough to see the copy.
const BYTES: usize = 32 << 10;
/// Pauses between two polls. They are well above the time that a busy machine adds to a sleep, so that the response
/// grows with the interval and nothing else.
const INTERVALS_NS: [u64; 3] = [5_000_000, 10_000_000, 20_000_000];
/// Arrivals for each pause, spread over it.
const ARRIVALS: u64 = 6;

pub const BLOCKING: Trial = Trial {
    id: "blocking-blocks-twice",
    claim: "Blocking I/O blocks in both phases",
    experiment: "A thread reads 32 KiB over tcp that another thread sends 1 ms later; the record of the one call \
                 shows its sleeps, and the copies between its enter and its exit",
    rule: "holds if the call that sleeps is the call that copies, on the thread's own time",
    observed: true,
    measures: &[
        Figure::of("sleeps in the call", "sleeps", Source::Ebpf),
        Figure::of("phase 1 in the call", "ns", Source::Ebpf),
        Figure::of("copies in the same call", "copies", Source::Ebpf),
        Figure::of("phase 2 in the call", "ns", Source::Ebpf),
    ],
    run: |bench| {
        let pair = Pair::new(Transport::Tcp)?;
        let mut buffer = vec![0; BYTES];
        let (done, journal) = bench.watching()?.during(|| {
            std::thread::scope(|scope| -> io::Result<()> {
                scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    pair.write(&[1; BYTES])
                });
                pair.read(&mut buffer).map(drop)
            })
        });
        done?;
        let Some(call) = calls_of(&journal, own_tid()).find(|call| call.fd == pair.reader()) else {
            return Ok(());
        };
        let (sleeps, copies) = (f64::from(call.sleeps), f64::from(call.copies));
        let (waited, copied) = (call.parts.wait + call.parts.runq, call.parts.copy);
        bench.put("sleeps in the call", sleeps);
        bench.put("phase 1 in the call", waited as f64);
        bench.put("copies in the same call", copies);
        bench.put("phase 2 in the call", copied as f64);
        Ok(())
    },
    judge: |found| {
        let (sleeps, copies) = (found.get("sleeps in the call")?, found.get("copies in the same call")?);
        Some(if sleeps >= 1.0 && copies >= 1.0 {
            (Ruling::Holds, "One call slept until the data was there and then copied it.".to_owned())
        } else {
            (Ruling::Fails, format!("The call slept {} and copied {}.", times(sleeps), times(copies)))
        })
    },
};

pub const NONBLOCKING: Trial = Trial {
    id: "nonblocking-copies",
    claim: "Non-blocking I/O returns an error at once while nothing is there, and still blocks in the copy",
    experiment: "recv with MSG_DONTWAIT over tcp, with nothing there and with 32 KiB there",
    rule: "holds if the empty call returns EAGAIN without a sleep, and the other call copies \
             between its enter and its exit",
    observed: true,
    measures: &[
        Figure::of("empty calls that return EAGAIN", "of 1", Source::Ebpf),
        Figure::of("sleeps in them", "sleeps", Source::Ebpf),
        Figure::of("copies in the full call", "copies", Source::Ebpf),
        Figure::of("phase 2 in the full call", "ns", Source::Ebpf),
    ],
    run: |bench| {
        let pair = Pair::new(Transport::Tcp)?;
        let mut buffer = vec![0u8; BYTES];
        let mut receive = || {
            // SAFETY: the buffer is as long as it says.
            unsafe { libc::recv(pair.reader(), buffer.as_mut_ptr().cast(), BYTES, libc::MSG_DONTWAIT) }
        };
        let (_, empty) = bench.watching()?.during(&mut receive);
        pair.write(&[1; BYTES])?;
        pair.arrived(BYTES)?;
        let (_, full) = bench.watching()?.during(&mut receive);
        let first = |journal| calls_of(journal, own_tid()).find(|call| call.fd == pair.reader());
        if let Some((empty, full)) = first(&empty).zip(first(&full)) {
            bench.put("empty calls that return EAGAIN", f64::from(empty.ret == -i64::from(libc::EAGAIN)));
            bench.put("sleeps in them", f64::from(empty.sleeps + empty.locks));
            bench.put("copies in the full call", f64::from(full.copies));
            bench.put("phase 2 in the full call", full.parts.copy as f64);
        }
        Ok(())
    },
    judge: |found| {
        let refused = found.get("empty calls that return EAGAIN")?;
        let (sleeps, copies) = (found.get("sleeps in them")?, found.get("copies in the full call")?);
        Some(match (refused >= 1.0 && sleeps == 0.0, copies >= 1.0) {
            (true, true) => {
                (Ruling::Holds, "EAGAIN came without a sleep, and the copy was inside the call.".to_owned())
            }
            (at_once, _) => {
                let returned = if at_once { "returned" } else { "did not return" };
                let text = format!(
                    "The empty call {returned} EAGAIN without a sleep; the full call copied {}.",
                    times(copies)
                );
                (Ruling::Fails, text)
            }
        })
    },
};

pub const POLLING: Trial = Trial {
    id: "polling-interval",
    claim: "Polling raises the response time by the polling interval",
    experiment: "A reader polls every 5, 10 and 20 ms (nanosleep); messages are sent at moments spread evenly over \
                 the pause; the response is the time from the send to the poll that brings the message",
    rule: "holds if the median response grows by 0.8 to 1.2 of the interval, with a condition if by 0.2 to 0.8, \
           else it does not hold",
    observed: false,
    measures: &[
        Figure::of("response at 5 ms", "ns", Source::Clock),
        Figure::of("response at 10 ms", "ns", Source::Clock),
        Figure::of("response at 20 ms", "ns", Source::Clock),
        Figure::of("growth with the interval", "ns per ns", Source::Clock),
    ],
    run: polled,
    judge: |found| {
        let growth = found.get("growth with the interval")?;
        Some(match growth {
            0.8..1.2 => (Ruling::Holds, format!("The median response grows by {growth:.2} of the interval.")),
            0.2..0.8 => (
                Ruling::Conditional,
                format!(
                    "The median response grows by {growth:.2} of the interval: only a message that just missed a poll \
                     waits for the whole interval."
                ),
            ),
            _ => (Ruling::Fails, format!("The median response grows by {growth:.2} of the interval.")),
        })
    },
};

fn polled(bench: &mut Bench<'_>) -> io::Result<()> {
    let mut points = Vec::new();
    for interval in INTERVALS_NS {
        let mut responses = Vec::new();
        for arrival in 0..ARRIVALS {
            responses.push(response(interval, interval / 2 + interval * arrival / ARRIVALS)? as f64);
        }
        let median = stats::median(&responses).unwrap_or(f64::NAN);
        bench.put(&format!("response at {} ms", interval / 1_000_000), median);
        points.push(stats::Point { x: interval as f64, y: median });
    }
    if let Some(line) = stats::line(&points) {
        bench.put("growth with the interval", line.slope);
    }
    Ok(())
}

/// Nanoseconds from a send, `after_ns` after polling began, to the return of the poll that brings the byte.
fn response(interval_ns: u64, after_ns: u64) -> io::Result<u64> {
    let pair = Pair::new(Transport::Unix)?;
    let sleep = |ns| std::thread::sleep(std::time::Duration::from_nanos(ns));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> io::Result<u64> {
            sleep(after_ns);
            let now = monotonic_ns();
            pair.write(&[1])?;
            Ok(now)
        });
        let mut byte = 0u8;
        // SAFETY: one writable byte.
        while unsafe { libc::recv(pair.reader(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) } != 1 {
            sleep(interval_ns);
        }
        let had = monotonic_ns();
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))?;
        Ok(had.saturating_sub(sent))
    })
}
