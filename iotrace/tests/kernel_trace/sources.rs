//! Where the time comes from: who woke, how late somebody came, and what output waits for.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::children::{Child, has_tracepoint, name, pipe, read, unix_pair, write};
use crate::support;
use crate::trace::{Trace, process, row};

/// An event loop that does something else for 20 ms before it reads.
#[test]
#[ignore = "needs root"]
fn a_late_event_loop_shows_as_pickup_and_not_as_wait() {
    const LATE: Duration = Duration::from_millis(20);
    const MESSAGES: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let mut sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (socket, _) = listener.accept().expect("somebody connected");
    let fd = socket.as_raw_fd();
    let child = Child::fork(|page| {
        // SAFETY: plain calls on descriptors of our own.
        unsafe {
            let epoll = libc::epoll_create1(0);
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
            // The first message makes the socket known; its pickup is not.
            page.gate();
            for _ in 0..=MESSAGES {
                assert_eq!(libc::epoll_wait(epoll, &raw mut event, 1, -1), 1);
                std::thread::sleep(LATE);
                let mut byte = 0u8;
                assert_eq!(libc::recv(fd, (&raw mut byte).cast(), 1, 0), 1);
            }
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..=MESSAGES {
        std::thread::sleep(LATE + Duration::from_millis(15));
        sender.write_all(b"x").expect("loopback");
    }
    child.finished();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let recv = row(process, "recvfrom");
    assert!(recv.wait_ns < 5_000_000, "nobody waits in recv: {recv:?}");
    assert_eq!(process.models[0].model, "epoll", "{:?}", process.models);
    assert!(process.models[0].share > 0.9, "{:?}", process.models);
    let available = has_tracepoint("sk_data_ready");
    if support::has("pickup (sk_data_ready)", (6, 3), available) {
        let pickup = recv.pickup.as_ref().expect("measured");
        assert!(pickup.count as usize >= MESSAGES - 1, "{pickup:?}");
        let p50 = Duration::from_nanos(pickup.p50_ns);
        assert!(p50 >= LATE.mul_f64(0.85) && p50 < LATE * 2, "pickup p50 is {p50:?}");
    } else {
        assert!(recv.pickup.is_none(), "not measured is null");
    }
    // The waits are in epoll_wait: about 15 ms each.
    let wait = row(process, "epoll_wait");
    assert!(wait.wait_ns > wait.work_ns && wait.sleeps > 0, "{wait:?}");
}

#[test]
#[ignore = "needs root"]
fn wakers_name_the_other_process_and_its_socket() {
    // Where CPUs take turns, interrupts of one wake what is meant for the other: nine of ten may be fewer.
    let tried: Vec<String> = (0..3).map_while(|_| wakers().err()).collect();
    assert!(tried.len() < 3, "three times: {tried:#?}");
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
