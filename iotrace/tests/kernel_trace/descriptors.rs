//! `--per fd`: which descriptor, what it is, and what it was when it was reused.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use iotrace_core::summary::Call;

use crate::children::{Child, close, ok, pipe, read, unix_pair, write};
use crate::trace::{Trace, process};

/// The row of a syscall on a kind of descriptor.
fn of_kind<'a>(calls: &'a [Call], syscall: &str, kind: &str) -> &'a Call {
    let kind = |call: &&Call| call.fd.as_ref().is_some_and(|fd| fd.kind == kind);
    let mut rows = calls.iter().filter(|call| call.syscall == syscall).filter(kind);
    let row = rows.next().unwrap_or_else(|| panic!("no {syscall} there: {calls:?}"));
    assert!(rows.next().is_none(), "one row: {calls:?}");
    row
}

#[test]
#[ignore = "needs root"]
fn every_kind_has_its_row_and_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (server, _) = listener.accept().expect("somebody connected");
    let (here, there) = (client.local_addr().expect("bound"), client.peer_addr().expect("connected"));
    let (tcp, tcp_peer) = (client.as_raw_fd(), server.as_raw_fd());
    let (from, to) = pipe();
    let (unix, unix_peer) = unix_pair();
    let path = std::env::temp_dir().join(format!("a-file-to-name-{}", std::process::id()));
    std::fs::write(&path, [0; 64]).expect("a temporary file");
    let file = std::fs::File::open(&path).expect("it was just written");
    let on_disk = file.as_raw_fd();
    let child = Child::fork(|page| {
        // SAFETY: plain calls on descriptors of our own.
        let (event, epoll) = unsafe { (libc::eventfd(0, 0), libc::epoll_create1(0)) };
        page.gate();
        for _ in 0..3 {
            ok(write(to, 10));
            ok(read(from, 10));
            ok(write(tcp_peer, 20));
            ok(read(tcp, 20));
            ok(write(unix_peer, 30));
            ok(read(unix, 30));
            ok(read(on_disk, 4));
            // SAFETY: as above; buffers are as long as they say.
            unsafe {
                ok(libc::write(event, (&raw const ONE).cast(), 8));
                let mut some = 0u64;
                ok(libc::read(event, (&raw mut some).cast(), 8));
                let mut ready: libc::epoll_event = std::mem::zeroed();
                assert_eq!(libc::syscall(libc::SYS_epoll_wait, epoll, &raw mut ready, 1, 0), 0);
            }
        }
    });
    let trace = Trace::of(&[child.pid], &["--per", "fd"]);
    child.run();
    let document = trace.stop();
    std::fs::remove_file(&path).expect("it is still there");
    let calls = &process(&document, child.pid).calls;
    for (kind, size) in [("pipe", 10), ("tcp", 20), ("unix", 30), ("file", 4), ("eventfd", 8)] {
        let row = of_kind(calls, "read", kind);
        assert_eq!((row.calls, row.bytes), (3, 3 * size), "{row:?}");
    }
    assert_eq!(of_kind(calls, "epoll_wait", "epoll").empty, 3);
    let name = |syscall, kind| &of_kind(calls, syscall, kind).fd.as_ref().expect("by descriptor").name;
    assert_eq!(*name("read", "tcp"), format!("{here} <-> {there}"));
    assert_eq!(*name("write", "tcp"), format!("{there} <-> {here}"));
    assert_eq!(*name("read", "file"), path.to_string_lossy());
    assert!(name("read", "pipe").starts_with("pipe:["));
    assert_eq!(name("read", "pipe"), name("write", "pipe"), "two ends of one pipe");
}

static ONE: u64 = 1;

/// Sockets of IPv6, connected to each other; where this machine has no `::1`, by IPv4 all the same.
#[test]
#[ignore = "needs root"]
fn sockets_of_ipv6_have_their_addresses() {
    let bind = || UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("[::ffff:127.0.0.1]:0"));
    let (one, other) = (bind().expect("IPv6"), bind().expect("IPv6"));
    let of = |socket: &UdpSocket| socket.local_addr().expect("bound");
    one.connect(of(&other)).expect("loopback");
    let shown = |socket| {
        let address: SocketAddr = of(socket);
        SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
    };
    let (unconnected, connected) = (shown(&other), format!("{} <-> {}", shown(&one), shown(&other)));
    let child = Child::fork(|page| {
        page.gate();
        ok(write(one.as_raw_fd(), 10));
        ok(read(other.as_raw_fd(), 10));
    });
    let trace = Trace::of(&[child.pid], &["--per", "fd"]);
    child.run();
    let document = trace.stop();
    let calls = &process(&document, child.pid).calls;
    let name = |syscall| &of_kind(calls, syscall, "udp").fd.as_ref().expect("by descriptor").name;
    assert_eq!((name("write"), name("read")), (&connected, &unconnected));
}

/// One number for ever new files, opened and closed as fast as it goes.
#[test]
#[ignore = "needs root"]
fn a_reused_descriptor_never_bears_the_wrong_name() {
    const TURNS: usize = 300;
    let folder = std::env::temp_dir().join(format!("reused-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    // Which of them is read how often tells their rows apart.
    let names: Vec<_> = ["first", "second", "third"].map(|name| folder.join(name)).to_vec();
    for path in &names {
        std::fs::write(path, [0; 64]).expect("a temporary file");
    }
    let paths: Vec<_> = names
        .iter()
        .map(|path| std::ffi::CString::new(path.to_str().expect("plain")).expect("no zeros"))
        .collect();
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..TURNS {
            for (index, path) in paths.iter().enumerate() {
                // SAFETY: a string that ends with a zero; the descriptor is closed below.
                let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
                page.note(0, fd as u64);
                for _ in 0..=index {
                    assert_eq!(read(fd, 1 + index), 1 + index as isize);
                }
                close(fd);
            }
            // The same number is something quite different in between.
            // SAFETY: plain calls; closed below.
            let fd = unsafe { libc::dup(from) };
            assert_eq!(write(to, 7), 7);
            assert_eq!(read(fd, 7), 7);
            close(fd);
        }
    });
    let trace = Trace::of(&[child.pid], &["--per", "fd", "-e", "trace=read"]);
    child.run();
    let document = trace.stop();
    std::fs::remove_dir_all(&folder).expect("it is still there");
    let calls = &process(&document, child.pid).calls;
    let all: u64 = calls.iter().map(|call| call.calls).sum();
    let full = document.loss.map_full;
    assert_eq!(all + full, 7 * TURNS as u64, "nothing is lost, or it is said: {calls:?}");
    for call in calls {
        let fd = call.fd.as_ref().expect("by descriptor");
        // A row of so many bytes a call is of one file: two of one address would be mixed up.
        let each = call.bytes as f64 / call.calls as f64;
        let named = ["first", "second", "third"].iter().position(|name| fd.name.ends_with(name));
        match (fd.kind.as_str(), named) {
            ("file", Some(index)) => assert!((each - (1.0 + index as f64)).abs() < 1e-9, "{call:?}"),
            ("pipe", None) => assert!((each - 7.0).abs() < 1e-9, "{call:?}"),
            other => panic!("{other:?}: {call:?}"),
        }
    }
}
