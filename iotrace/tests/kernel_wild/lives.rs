//! Sockets that live for one request: what is known of one must end with it, for the next has its address.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use iotrace::host::clock::monotonic_ns;
use iotrace_core::summary::Document;

use crate::children::{Child, Page, has_tracepoint};
use crate::support;
use crate::trace::{Trace, process};

/// How long nothing happens between requests: what an inherited sign of readiness would be late by.
const PAUSE: Duration = Duration::from_millis(10);
const REQUESTS: u64 = 30;

/// Notes how long a message, which begins with the moment it was sent at, was on its way.
fn arrived(page: &Page, message: &[u8]) {
    let sent = u64::from_ne_bytes(message[..8].try_into().expect("eight bytes"));
    page.note(0, page.noted(0).max(monotonic_ns() - sent));
    page.note(1, page.noted(1) + 1);
}

/// No read was later than the slowest message was on its way, of which being picked up is a part.
fn assert_pickup(document: &Document, child: &Child) {
    assert_eq!(child.page.noted(1), REQUESTS);
    assert!(document.complete, "{:?}", document.warnings);
    if !support::has("pickup (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready")) {
        return;
    }
    let calls = &process(document, child.pid).calls;
    let pickups: Vec<_> = calls.iter().filter_map(|call| call.pickup.as_ref()).collect();
    let count: u64 = pickups.iter().map(|pickup| pickup.count).sum();
    assert!(count >= REQUESTS / 2, "{calls:?}");
    for pickup in pickups {
        // The maximum is the upper edge of a coarse bucket.
        let latest = child.page.noted(0) + child.page.noted(0) / 8;
        assert!(pickup.max_ns <= latest, "{} ns on the way: {pickup:?}", child.page.noted(0));
    }
}

#[test]
#[ignore = "needs root"]
fn a_connection_a_request_is_not_late_by_the_one_before() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let child = Child::fork(move |page| {
        page.gate();
        for number in 0..REQUESTS {
            let (mut socket, _) = listener.accept().expect("somebody connects");
            let mut request = [0; 8];
            socket.read_exact(&mut request).expect("a request");
            arrived(page, &request);
            socket.write_all(b"reply").expect("it listens");
            // Half of the connections are read to their end, the others closed with their end unread.
            if number % 2 == 0 {
                assert_eq!(socket.read(&mut request).expect("the end"), 0);
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..REQUESTS {
        std::thread::sleep(PAUSE);
        let mut socket = TcpStream::connect(address).expect("it listens");
        // The server is asleep in its read by now: what comes before is of a socket that nobody knows yet.
        std::thread::sleep(Duration::from_millis(3));
        socket.write_all(&monotonic_ns().to_ne_bytes()).expect("it reads");
        socket.read_exact(&mut [0; 5]).expect("a reply");
    }
    child.finished();
    assert_pickup(&trace.stop(), &child);
}

#[test]
#[ignore = "needs root"]
fn a_unix_stream_a_request_is_not_late_by_the_one_before() {
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..REQUESTS {
            let (mut here, mut there) = UnixStream::pair().expect("room for descriptors");
            let sender = std::thread::spawn(move || {
                std::thread::sleep(PAUSE);
                there.write_all(&monotonic_ns().to_ne_bytes()).expect("it reads");
                // What nobody reads is there when the stream ends.
                there.write_all(&[0; 8]).expect("it reads");
            });
            let mut request = [0; 8];
            here.read_exact(&mut request).expect("a request");
            arrived(page, &request);
            sender.join().expect("it sends");
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    assert_pickup(&trace.stop(), &child);
}

#[test]
#[ignore = "needs root"]
fn a_datagram_socket_a_query_is_not_late_by_what_the_one_before_left_unread() {
    let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let child = Child::fork(move |page| {
        page.gate();
        for _ in 0..REQUESTS {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
            let own = socket.local_addr().expect("bound");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(PAUSE);
                    sender.send_to(&monotonic_ns().to_ne_bytes(), own).expect("loopback");
                    sender.send_to(&[0; 8], own).expect("loopback");
                });
                let mut request = [0; 8];
                assert_eq!(socket.recv(&mut request).expect("a datagram"), 8);
                arrived(page, &request);
            });
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    assert_pickup(&trace.stop(), &child);
}

/// A server that is busy while connections come, each with its request: how long they lay there is known.
#[test]
#[ignore = "needs root"]
fn a_request_that_came_before_its_connection_was_accepted_is_late() {
    const BUSY: Duration = Duration::from_millis(20);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let child = Child::fork(move |page| {
        page.gate();
        for _ in 0..REQUESTS {
            let (mut socket, _) = listener.accept().expect("somebody connects");
            let mut request = [0; 8];
            socket.read_exact(&mut request).expect("a request");
            arrived(page, &request);
            socket.write_all(b"reply").expect("it listens");
            std::thread::sleep(BUSY);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..REQUESTS {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.write_all(&monotonic_ns().to_ne_bytes()).expect("it reads");
        socket.read_exact(&mut [0; 5]).expect("a reply");
    }
    child.finished();
    let document = trace.stop();
    // A kernel without readiness is no failure here: `assert_pickup` says so.
    if has_tracepoint("sk_data_ready") {
        let pickup = process(&document, child.pid).calls.iter().find_map(|call| call.pickup.as_ref());
        let pickup = pickup.expect("measured");
        assert!(pickup.p50_ns > BUSY.as_nanos() as u64 / 2, "the server was busy: {pickup:?}");
    }
    assert_pickup(&document, &child);
}
