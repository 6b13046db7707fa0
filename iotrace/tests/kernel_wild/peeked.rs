//! Receives whose bytes stay, or are dropped, or are fewer than what the call returns; and one that was open before.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::children::{Child, unix_pair, write};
use crate::trace::{Trace, process, row};

/// Bytes of each message.
const SIZE: usize = 3000;

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    let one = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    (one, listener.accept().expect("it is there").0)
}

fn recv(fd: i32, size: usize, flags: i32) -> usize {
    let mut buffer = vec![0u8; size];
    // SAFETY: the buffer is as long as it says.
    crate::children::ok(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), size, flags) })
}

/// `recvmsg` into two buffers of this size each.
fn recvmsg(fd: i32, size: usize, flags: i32) -> usize {
    let mut buffers = [vec![0u8; size], vec![0u8; size]];
    let mut vectors =
        buffers.each_mut().map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: size });
    // SAFETY: all zeros are a message without a name and control data; the buffers are as long as they say.
    crate::children::ok(unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (vectors.as_mut_ptr(), 2);
        libc::recvmsg(fd, &raw mut message, flags)
    })
}

#[test]
#[ignore = "needs root"]
fn peeked_bytes_are_counted_apart() {
    let child = Child::fork(|page| {
        let (one, other) = connected();
        page.gate();
        for _ in 0..10 {
            assert_eq!(write(one.as_raw_fd(), SIZE), SIZE as isize);
            // All of it is there then.
            assert_eq!(recv(other.as_raw_fd(), SIZE, libc::MSG_PEEK | libc::MSG_WAITALL), SIZE);
            assert_eq!(recvmsg(other.as_raw_fd(), SIZE, libc::MSG_PEEK), SIZE);
            assert_eq!(recv(other.as_raw_fd(), SIZE, 0), SIZE);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let all = 10 * SIZE as u64;
    let received = row(process, "recvfrom");
    assert_eq!((received.calls, received.bytes, received.peeked_bytes), (20, all, all), "{received:?}");
    let message = row(process, "recvmsg");
    assert_eq!((message.calls, message.bytes, message.peeked_bytes), (10, 0, all), "{message:?}");
}

#[test]
#[ignore = "needs root"]
fn bytes_that_tcp_drops_are_not_copied() {
    let child = Child::fork(|page| {
        let (one, other) = connected();
        page.gate();
        for _ in 0..10 {
            assert_eq!(write(one.as_raw_fd(), SIZE), SIZE as isize);
            assert_eq!(recv(other.as_raw_fd(), SIZE, libc::MSG_TRUNC | libc::MSG_WAITALL), SIZE);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let received = row(process(&document, child.pid), "recvfrom");
    assert_eq!((received.calls, received.bytes, received.copy_ns), (10, 0, 0), "{received:?}");
    assert!(received.phase2.is_none(), "{received:?}");
}

#[test]
#[ignore = "needs root"]
fn a_datagram_that_is_cut_off_moves_what_fits() {
    let child = Child::fork(|page| {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (one, other) = (one.expect("loopback"), other.expect("loopback"));
        let to = other.local_addr().expect("bound");
        page.gate();
        for _ in 0..10 {
            one.send_to(&[0; SIZE], to).expect("loopback");
            assert_eq!(recv(other.as_raw_fd(), 100, libc::MSG_TRUNC), SIZE, "the whole length");
            one.send_to(&[0; SIZE], to).expect("loopback");
            assert_eq!(recvmsg(other.as_raw_fd(), 100, libc::MSG_TRUNC), SIZE, "the whole length");
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let (received, message) = (row(process, "recvfrom"), row(process, "recvmsg"));
    assert_eq!((received.calls, received.bytes), (10, 10 * 100), "{received:?}");
    assert_eq!((message.calls, message.bytes), (10, 10 * 200), "{message:?}");
}

/// Its receive tells of the thread before its end does.
#[test]
#[ignore = "needs root"]
fn a_receive_that_was_open_before_is_in_flight() {
    let (tcp, unix) = (connected(), unix_pair());
    for (name, to, from) in [("tcp", tcp.0.as_raw_fd(), tcp.1.as_raw_fd()), ("unix", unix.0, unix.1)] {
        let child = Child::fork(move |page| {
            page.gate();
            recv(from, SIZE, 0);
            recv(from, SIZE, 0);
        });
        child.go();
        let path = format!("/proc/{}/syscall", child.pid);
        while !std::fs::read_to_string(&path).unwrap_or_default().starts_with("45 0x") {
            std::thread::sleep(Duration::from_millis(1));
        }
        let trace = Trace::of(&[child.pid], &[]);
        assert_eq!(write(to, 10), 10);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(write(to, 20), 20);
        child.finished();
        let document = trace.stop();
        assert_eq!(document.loss.in_flight_start, 1, "{name}: {:?}", document.loss);
        let received = row(process(&document, child.pid), "recvfrom");
        assert_eq!((received.calls, received.bytes, received.denied), (1, 20, 0), "{name}: {received:?}");
    }
}
