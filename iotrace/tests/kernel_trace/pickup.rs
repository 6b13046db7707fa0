//! Pickup: how late somebody came for data that was there.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use iotrace_core::domain::dist::Dist;

use crate::children::{Child, has_tracepoint};
use crate::support;
use crate::trace::{Trace, process, row};

/// Whether this kernel says when data is ready.
fn is_measured() -> bool {
    support::has("pickup (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready"))
}

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
    if is_measured() {
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

/// A UDP socket and one that sends to it.
fn udp_pair() -> (UdpSocket, UdpSocket) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    sender.connect(receiver.local_addr().expect("bound")).expect("loopback");
    (receiver, sender)
}

/// The pickups of the one row of `recvfrom` of a process.
fn pickups(child: &Child, trace: Trace) -> Dist {
    let document = trace.stop();
    row(process(&document, child.pid), "recvfrom").pickup.clone().expect("measured")
}

/// A reader of datagrams takes all that are queued to itself at once, and reads them one after the other.
#[test]
#[ignore = "needs root"]
fn every_datagram_of_a_burst_was_picked_up() {
    const BURST: usize = 4;
    const BURSTS: usize = 20;
    if !is_measured() {
        return;
    }
    let (receiver, sender) = udp_pair();
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..BURSTS {
            std::thread::sleep(Duration::from_millis(3));
            (0..BURST).for_each(|_| _ = sender.send(b"x").expect("loopback"));
            std::thread::sleep(Duration::from_millis(3));
            (0..BURST).for_each(|_| _ = receiver.recv(&mut [0; 8]).expect("loopback"));
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let pickup = pickups(&child, trace);
    // The socket is not known before its first read; what that leaves behind has no known beginning.
    let known = (BURST * BURSTS - BURST) as u64;
    assert!(pickup.count >= known, "{} of {known}: {pickup:?}", pickup.count);
    assert!(pickup.p50_ns >= 2_500_000, "nobody came for 3 ms: {pickup:?}");
}

/// A reader that polls without a break takes some datagrams between their queueing and `sk_data_ready`: that
/// sign is not of the next one, which comes much later.
#[test]
#[ignore = "needs root"]
fn a_poller_is_never_later_than_its_last_poll() {
    const MESSAGES: usize = 300;
    if !is_measured() {
        return;
    }
    let (receiver, sender) = udp_pair();
    let fd = receiver.as_raw_fd();
    let child = Child::fork(|page| {
        page.gate();
        // From before one poll until after the next.
        let (mut gap, mut got) = (Duration::ZERO, 0);
        let (mut last, mut before) = (Instant::now(), Instant::now());
        while got < MESSAGES {
            let mut byte = 0u8;
            // SAFETY: the buffer is as long as it says.
            let read = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) };
            got += usize::from(read == 1);
            let now = Instant::now();
            gap = gap.max(now - last);
            (last, before) = (before, now);
        }
        page.note(0, gap.as_nanos() as u64);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..MESSAGES {
        std::thread::sleep(Duration::from_millis(5));
        sender.send(b"x").expect("loopback");
    }
    child.finished();
    let pickup = pickups(&child, trace);
    // The first makes the socket known; that its kernel gives signs shows with the second.
    assert!(pickup.count as usize >= MESSAGES - 2, "{pickup:?}");
    // In the kernel's sums extremes are edges of buckets.
    let most = child.page.noted(0) as f64 * 1.07;
    assert!((pickup.max_ns as f64) < most, "longest from poll to poll: {most} ns: {pickup:?}");
}
