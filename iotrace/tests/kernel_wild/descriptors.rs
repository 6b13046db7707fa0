//! `--per fd` on a server with very many files and connections.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use iotrace_core::domain::WaitsFor;
use iotrace_core::summary::{Call, Process};

use crate::children::{Child, ok, read, write};
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

#[test]
#[ignore = "needs root"]
fn top_is_for_rows_too() {
    let process = observed(&["--top", "2"]);
    assert_eq!(process.calls.len(), 2, "{:?}", process.calls);
    assert!(process.rows_left_out > 0);
}
