//! Calls that a filter of system calls answers before they begin.

use crate::children::{Child, pipe, read, readv_one, write};
use crate::trace::{Trace, process, row};

/// Times that the program makes a call that is denied.
const TIMES: u64 = 50;

/// Denies one syscall to the calling process: with `EPERM`.
fn deny(nr: i64) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The number, the first word of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, nr as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a program of that length.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter), 0);
    }
}

fn refused(fd: i32) {
    for _ in 0..TIMES {
        assert_eq!(readv_one(fd), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
    }
}

/// Of threads that were there before, and of one that is new.
#[test]
#[ignore = "needs root"]
fn a_denied_call_is_a_call_that_failed() {
    let child = Child::fork(|page| {
        let (from, to) = pipe();
        deny(libc::SYS_readv);
        page.gate();
        refused(from);
        std::thread::spawn(move || refused(from)).join().expect("it was refused as well");
        assert_eq!((write(to, 3), read(from, 3)), (3, 3));
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let readv = row(process, "readv");
    assert_eq!((readv.calls, readv.denied, readv.bytes), (2 * TIMES, 2 * TIMES, 0), "{readv:?}");
    assert_eq!(readv.errors, [("EPERM".to_owned(), 2 * TIMES)].into(), "{readv:?}");
    assert_eq!((readv.total_ns, readv.sleeps), (0, 0), "{readv:?}");
    let write = row(process, "write");
    assert_eq!((write.denied, write.bytes), (0, 3), "{write:?}");
    assert_eq!((document.loss.in_flight_start, document.loss.unmatched), (0, 0), "{:?}", document.loss);
    assert!(document.complete, "{:?}", document.loss);
}

/// The end of a call that began before tracing looks like that of a denied one.
#[test]
#[ignore = "needs root"]
fn a_call_in_flight_is_not_denied_where_there_is_a_filter() {
    let (from, to) = pipe();
    let child = Child::fork(move |page| {
        deny(libc::SYS_readv);
        page.gate();
        read(from, 1);
        refused(from);
    });
    child.go();
    let path = format!("/proc/{}/syscall", child.pid);
    while !std::fs::read_to_string(&path).unwrap_or_default().starts_with("0 0x") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let trace = Trace::of(&[child.pid], &[]);
    assert_eq!(write(to, 1), 1);
    child.finished();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let readv = row(process, "readv");
    assert_eq!((readv.calls, readv.denied), (TIMES, TIMES), "{readv:?}");
    assert_eq!(process.calls.len(), 1, "{process:?}");
    assert_eq!(document.loss.in_flight_start, 1, "{:?}", document.loss);
}
