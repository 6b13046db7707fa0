//! A read that takes several pieces is not late for the first of them.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::children::{Child, has_tracepoint, ok, unix_pair, write};
use crate::support;
use crate::trace::{Trace, process, row};

const PIECES: usize = 4;
const PIECE: usize = 1024;
const GAP: Duration = Duration::from_millis(20);
const MESSAGES: u64 = 10;

fn pieces_are_waited_for(reader: i32, writer: i32) {
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..MESSAGES {
            let mut buffer = [0u8; PIECES * PIECE];
            // SAFETY: the buffer is as long as it says.
            let got = ok(unsafe {
                libc::recv(reader, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL)
            });
            assert_eq!(got, PIECES * PIECE);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..MESSAGES as usize * PIECES {
        std::thread::sleep(GAP);
        assert_eq!(write(writer, PIECE), PIECE as isize);
    }
    child.finished();
    let document = trace.stop();
    let recv = row(process(&document, child.pid), "recvfrom");
    let gaps = GAP.as_nanos() as u64 * MESSAGES * (PIECES as u64 - 1);
    assert_eq!((recv.calls, recv.bytes, recv.slept_calls), (MESSAGES, MESSAGES * 4096, MESSAGES), "{recv:?}");
    assert!(recv.wait_ns > gaps * 9 / 10, "it waits between the pieces: {recv:?}");
    if support::has("pickup (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready")) {
        // The first message of a socket that nobody had read from has none.
        let pickup = recv.pickup.as_ref().expect("measured");
        assert!(pickup.count >= MESSAGES - 1, "{pickup:?}");
        assert!(pickup.p50_ns < GAP.as_nanos() as u64 / 2, "nobody lets a piece lie: {pickup:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_tcp_read_of_all_pieces_is_picked_up_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    sender.set_nodelay(true).expect("an option of TCP");
    let (socket, _) = listener.accept().expect("somebody connected");
    pieces_are_waited_for(socket.as_raw_fd(), sender.as_raw_fd());
}

#[test]
#[ignore = "needs root"]
fn a_unix_read_of_all_pieces_is_picked_up_once() {
    let (reader, writer) = unix_pair();
    pieces_are_waited_for(reader, writer);
}
