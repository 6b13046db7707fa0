//! The claim that a message wakes a blocked reader exactly once.

use std::io;

use super::{Figure, Trial};
use crate::study::observe::{Watching, calls_of, own_tid};
use crate::study::pair::Pair;
use crate::study::times;
use iotrace_core::domain::model::Transport;
use iotrace_core::summary::{Ruling, Source};

/// Bytes of a message that does not fit into the socket buffers at once.
const LARGE: usize = 4 << 20;

pub const ONCE: Trial = Trial {
    id: "woken-once",
    claim: "The kernel wakes a blocked reader exactly once per message",
    experiment: "Sleeps in the calls that read a message over unix: a byte sent 1 ms later, a byte that is there \
                 already, and 4 MiB sent 1 ms later and read with MSG_WAITALL",
    rule: "holds if each of the three takes one sleep; with a condition if only the byte that comes later does; else \
           it does not hold",
    observed: true,
    measures: &[
        Figure::of("sleeps for a byte", "sleeps", Source::Ebpf),
        Figure::of("sleeps for a byte that is there", "sleeps", Source::Ebpf),
        Figure::of("sleeps for 4 MiB", "sleeps", Source::Ebpf),
    ],
    run: |bench| {
        for (name, size, later) in [
            ("sleeps for a byte", 1, true),
            ("sleeps for a byte that is there", 1, false),
            ("sleeps for 4 MiB", LARGE, true),
        ] {
            let sleeps = sleeps(size, later, bench.watching()?)?;
            bench.put(name, f64::from(sleeps));
        }
        Ok(())
    },
    judge: |found| {
        let byte = found.get("sleeps for a byte")?;
        let there = found.get("sleeps for a byte that is there")?;
        let large = found.get("sleeps for 4 MiB")?;
        let because = format!(
            "The reader slept {} for a byte that came later, {} for a byte that was there already, and {} for 4 MiB, \
             which do not fit into the socket buffers at once and arrive in parts.",
            times(byte),
            times(there),
            times(large)
        );
        Some(match (byte == 1.0, there == 1.0 && large == 1.0) {
            (true, true) => (Ruling::Holds, because),
            (true, false) => (Ruling::Conditional, because),
            (false, _) => (Ruling::Fails, because),
        })
    },
};

/// Sleeps in the calls that read a message of `size` bytes, sent 1 ms `later` or before the read.
fn sleeps(size: usize, later: bool, watching: &mut Watching) -> io::Result<u32> {
    let pair = Pair::new(Transport::Unix)?;
    let (message, mut buffer) = (vec![1u8; size], vec![0u8; size]);
    let (done, journal) = watching.during(|| {
        std::thread::scope(|scope| -> io::Result<()> {
            if later {
                scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    // SAFETY: the buffer is as long as it says; a blocking send takes all of it.
                    unsafe { libc::send(pair.writer(), message.as_ptr().cast(), size, libc::MSG_NOSIGNAL) }
                });
            } else {
                pair.write(&message)?;
            }
            // SAFETY: the buffer is as long as it says.
            let got =
                unsafe { libc::recv(pair.reader(), buffer.as_mut_ptr().cast(), size, libc::MSG_WAITALL) };
            if got == size as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    });
    done?;
    Ok(calls_of(&journal, own_tid()).filter(|call| call.fd == pair.reader()).map(|call| call.sleeps).sum())
}
