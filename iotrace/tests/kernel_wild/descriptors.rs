//! `--per fd` on a server with very many files and connections.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use iotrace_core::domain::WaitsFor;
use iotrace_core::summary::{Call, Process};

use crate::children::{Child, close, ok, read, write};
use crate::spaces::{Spaces, loopback_up};
use crate::trace::{Trace, process};

/// Files, in three directories: more than there are rows in the kernel.
const FILES: usize = 5000;
/// Connections, each closed before the next is made: more than a quarter of the rows, so that some share a row in the
/// kernel, too.
const CONNECTIONS: usize = 1200;

fn file_of(directory: &std::path::Path, file: usize) -> std::path::PathBuf {
    directory.join(format!("d{}", file % 3)).join(format!("f{file}"))
}

/// Answers a request of one byte on each connection with a byte of a file.
fn serve(directory: &std::path::Path, listener: &TcpListener) {
    let address = listener.local_addr().expect("it is bound");
    for n in 0..FILES.max(CONNECTIONS) {
        if n < CONNECTIONS {
            let client = TcpStream::connect(address).expect("loopback");
            let (server, _) = listener.accept().expect("somebody connected");
            assert_eq!(write(client.as_raw_fd(), 1), 1);
            assert_eq!(read(server.as_raw_fd(), 1), 1);
        }
        let file = std::fs::File::open(file_of(directory, n % FILES)).expect("it is there");
        let mut byte = 0u8;
        // SAFETY: the buffer has room for a byte.
        ok(unsafe { libc::pread(file.as_raw_fd(), (&raw mut byte).cast(), 1, 0) });
    }
}

/// A child that serves, and its result.
fn observed(more: &[&str]) -> Process {
    let directory = std::env::temp_dir().join(format!("a-server-{}", std::process::id()));
    for file in 0..FILES {
        let path = file_of(&directory, file);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary directory");
        std::fs::write(path, [1]).expect("a temporary file");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let child = Child::fork(|page| {
        page.gate();
        serve(&directory, &listener);
    });
    let trace = Trace::of(&[child.pid], &[&["--per", "fd"], more].concat());
    child.run();
    let document = trace.stop();
    std::fs::remove_dir_all(&directory).expect("it is still there");
    assert!(document.complete, "{:?} {:?}", document.loss, document.warnings);
    process(&document, child.pid).clone()
}

fn name(call: &Call) -> &str {
    call.fd.as_ref().map_or("", |fd| fd.name.as_str())
}

#[test]
#[ignore = "needs root"]
fn files_share_the_row_of_their_directory_and_connections_that_of_their_port() {
    let process = observed(&[]);
    let rows = &process.calls;
    assert!(rows.len() <= 20, "{} rows: {rows:?}", rows.len());
    let files: Vec<&Call> = rows.iter().filter(|call| call.syscall == "pread64").collect();
    assert_eq!(files.iter().map(|call| call.calls).sum::<u64>(), FILES as u64, "{files:?}");
    for directory in 0..3 {
        let ends = format!("/d{directory}/*");
        let mine: Vec<u64> =
            files.iter().filter(|call| name(call).ends_with(&ends)).map(|call| call.calls).collect();
        let there = (directory..FILES).step_by(3).count() as u64;
        assert_eq!(mine.iter().sum::<u64>(), there, "{files:?}");
    }
    let of = |syscall: &str, what: WaitsFor| {
        let mine = |call: &&Call| call.syscall == syscall && name(call).contains('*');
        let reads = rows.iter().filter(mine).filter(|call| call.waits_for == Some(what));
        reads.map(|call| call.calls).sum::<u64>()
    };
    assert_eq!(of("read", WaitsFor::NextRequest), CONNECTIONS as u64, "{rows:?}");
    let written = rows.iter().filter(|call| call.syscall == "write").map(|call| call.calls).sum::<u64>();
    assert_eq!(written, CONNECTIONS as u64, "{rows:?}");
}

/// A connection from `local` to `remote`, ports of loopback. Both are free again at once when it is closed.
fn connect(local: u16, remote: u16) -> i32 {
    let address = |port: u16| libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let (local, remote) = (address(local), address(remote));
    let (one, reset) = (1i32, libc::linger { l_onoff: 1, l_linger: 0 });
    // SAFETY: addresses and options are as long as they say.
    unsafe {
        let socket = ok(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) as isize) as i32;
        for (option, value, size) in [
            (libc::SO_REUSEADDR, (&raw const one).cast(), size_of_val(&one)),
            (libc::SO_LINGER, (&raw const reset).cast(), size_of_val(&reset)),
        ] {
            ok(libc::setsockopt(socket, libc::SOL_SOCKET, option, value, size as u32) as isize);
        }
        ok(libc::bind(socket, (&raw const local).cast(), size_of_val(&local) as u32) as isize);
        ok(libc::connect(socket, (&raw const remote).cast(), size_of_val(&remote) as u32) as isize);
        socket
    }
}

/// In one container a port is listened on from which a client connects in another, so often that the kernel shares rows.
#[test]
#[ignore = "needs root"]
fn a_port_that_one_container_listens_on_is_any_port_in_another() {
    const TIMES: usize = 1200;
    let bound = |port: u16| {
        Spaces { flags: libc::CLONE_NEWNET, ..Spaces::default() }.leave();
        loopback_up();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody else is here")
    };
    let server = Child::fork(|page| {
        let listener = bound(7812);
        page.gate();
        for _ in 0..TIMES {
            let client = TcpStream::connect("127.0.0.1:7812").expect("it listens");
            let (server, _) = listener.accept().expect("it came");
            assert_eq!((write(client.as_raw_fd(), 1), read(server.as_raw_fd(), 1)), (1, 1));
        }
    });
    let client = Child::fork(|page| {
        let listener = bound(7813);
        page.gate();
        for _ in 0..TIMES {
            let client = connect(7812, 7813);
            let (server, _) = listener.accept().expect("it came");
            assert_eq!((write(server.as_raw_fd(), 1), read(client, 1)), (1, 1));
            close(client);
        }
    });
    let trace = Trace::of(&[server.pid, client.pid], &["--per", "fd"]);
    server.run();
    client.run();
    let document = trace.stop();
    assert!(document.complete, "{:?} {:?}", document.loss, document.warnings);
    let reads = |pid: i32, end: &str, what: WaitsFor| {
        let rows = process(&document, pid).calls.iter();
        let reads = rows.filter(|call| call.syscall == "read" && call.waits_for == Some(what));
        reads.filter(|call| name(call) == end).map(|call| call.calls).sum::<u64>()
    };
    let (times, calls) = (TIMES as u64, &document.processes);
    assert_eq!(reads(server.pid, "127.0.0.1:7812 <-> *", WaitsFor::NextRequest), times, "{calls:?}");
    assert_eq!(reads(client.pid, "* <-> 127.0.0.1:7813", WaitsFor::Reply), times, "{calls:?}");
}

#[test]
#[ignore = "needs root"]
fn top_is_for_rows_too() {
    let process = observed(&["--top", "2"]);
    assert_eq!(process.calls.len(), 2, "{:?}", process.calls);
    assert!(process.rows_left_out > 0);
}
