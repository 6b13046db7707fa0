//! Where the time comes from: who woke, and what output waits for.

use std::time::Duration;

use crate::attempts;
use crate::children::{Child, has_tracepoint, name, pipe, read, unix_pair, write};
use crate::support;
use crate::trace::{Trace, process, row};

#[test]
#[ignore = "needs root"]
fn wakers_name_the_other_process_and_its_socket() {
    attempts::until(3, "where CPUs take turns, interrupts of one wake what is meant for the other", |_| {
        wakers()
    });
}

/// Nine of ten sleeps are ended by the sender, and by its socket; else what was seen.
fn wakers() -> Result<(), String> {
    let (here, there) = unix_pair();
    let sender = Child::fork(|page| {
        name(c"the-sender");
        page.gate();
        // Slow enough for the reader to be asleep again.
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(write(there, 1), 1);
        }
    });
    let receiver = Child::fork(|page| {
        name(c"the-receiver");
        page.gate();
        for _ in 0..100 {
            assert_eq!(read(here, 1), 1);
        }
    });
    let trace = Trace::of(&[receiver.pid, sender.pid], &[]);
    receiver.go();
    sender.go();
    receiver.finished();
    sender.finished();
    let document = trace.stop();
    let receiver = process(&document, receiver.pid);
    assert_eq!(receiver.comm, "the-receiver");
    let sleeps = row(receiver, "read").sleeps;
    let of_sender: Vec<_> = receiver.wakers.iter().filter(|waker| waker.tid == sender.pid as u32).collect();
    let woken: u64 = of_sender.iter().map(|waker| waker.wakes).sum();
    let seen = format!("{sleeps} sleeps: {:?}", receiver.wakers);
    if sleeps <= 50 || woken * 10 < sleeps * 9 {
        return Err(seen);
    }
    assert!(of_sender.iter().all(|waker| waker.comm == "the-sender" && waker.syscall == "read"));
    if support::has("by_socket (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready")) {
        let by_socket: u64 = of_sender.iter().filter(|waker| waker.by_socket).map(|waker| waker.wakes).sum();
        if by_socket * 10 < sleeps * 9 {
            return Err(seen);
        }
    }
    Ok(())
}

/// Whoever ran when the timer's interrupt came has nothing to do with it.
#[test]
#[ignore = "needs root"]
fn what_times_out_is_woken_by_its_timer() {
    const TIMES: u64 = 20;
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..TIMES {
            // SAFETY: waits for nothing, for 5 ms.
            assert_eq!(unsafe { libc::syscall(libc::SYS_poll, 0, 0, 5) }, 0);
        }
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=poll"]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let [waker] = &process.wakers[..] else { panic!("one waker: {process:?}") };
    assert_eq!((waker.comm.as_str(), waker.tid, waker.by_socket), ("timer", 0, false));
    // On a busy machine the timer may be over before the thread gets to its sleep.
    let poll = row(process, "poll");
    assert!(poll.timeouts == TIMES && poll.sleeps > TIMES / 2, "{poll:?}");
    assert_eq!((waker.syscall.as_str(), waker.wakes), ("poll", poll.sleeps));
}

/// A writer that is faster than its reader waits for room.
#[test]
#[ignore = "needs root"]
fn a_writer_into_a_full_pipe_waits() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 10;
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..CHUNKS {
            assert_eq!(write(to, CHUNK), CHUNK as isize);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    let mut got = 0;
    while got < CHUNK * CHUNKS {
        std::thread::sleep(Duration::from_millis(20));
        got += read(from, CHUNK) as usize;
    }
    child.finished();
    let document = trace.stop();
    let write = row(process(&document, child.pid), "write");
    assert_eq!((write.calls, write.bytes), (CHUNKS as u64, (CHUNK * CHUNKS) as u64));
    assert!(write.wait_ns > 5 * 15_000_000, "nine times some 20 ms: {write:?}");
    assert!(write.wait_ns > 10 * write.copy_ns, "{write:?}");
    let copied = write.copy_ns > 0 && write.copy_upper_ns.is_some();
    assert!(copied, "640 KiB were copied on the way: {write:?}");
}
