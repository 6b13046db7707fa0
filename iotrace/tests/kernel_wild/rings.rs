//! io_uring: requests are what was submitted, and a ring that a thread has registered has no descriptor.

use std::time::Duration;

use io_uring::{IoUring, opcode};
use iotrace_core::summary::Process;

use crate::children::Child;
use crate::support;
use crate::trace::{Trace, calls, process};

/// `IORING_ENTER_GETEVENTS` and `IORING_ENTER_REGISTERED_RING` (`include/uapi/linux/io_uring.h`).
const GETEVENTS: usize = 1;
const REGISTERED_RING: usize = 1 << 4;
/// `IORING_REGISTER_RING_FDS`
const REGISTER_RING_FDS: usize = 20;

/// Puts requests that do nothing into the submission ring.
fn put(ring: &mut IoUring, requests: usize) {
    for _ in 0..requests {
        // SAFETY: such a request reads and writes nothing.
        unsafe { ring.submission().push(&opcode::Nop::new().build()) }.expect("there is room");
    }
    ring.submission().sync();
}

/// Takes all completions out of the ring.
fn taken(ring: &mut IoUring) -> usize {
    ring.completion().count()
}

fn models(process: &Process) -> Vec<(&str, &str)> {
    process.models.iter().map(|model| (model.model.as_str(), model.evidence.as_str())).collect()
}

/// Ten calls hand over sixteen requests each, ten more only wait.
#[test]
#[ignore = "needs root"]
fn requests_are_counted_not_calls() {
    let child = Child::fork(|page| {
        let mut ring = IoUring::new(64).expect("io_uring");
        page.gate();
        let mut done = 0;
        for _ in 0..10 {
            put(&mut ring, 16);
            assert_eq!(ring.submit().expect("there is room"), 16);
            assert_eq!(ring.submit_and_wait(16).expect("they complete"), 0);
            done += taken(&mut ring);
        }
        page.note(0, done as u64);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    assert_eq!(child.page.noted(0), 160);
    assert_eq!(models(process), [("io-uring", "160 requests handed to io_uring_enter")]);
    assert_eq!(calls(process, "io_uring_enter"), 20);
    let returned: u64 = process.calls.iter().map(|call| call.returned).sum();
    assert_eq!(returned, 160, "{:?}", process.calls);
}

/// The kernel's SQ thread takes the requests; what an `io_uring_enter` returns there was submitted by nobody. From 5.12
/// that thread belongs to the process.
#[test]
#[ignore = "needs root"]
fn requests_of_the_sq_thread_are_counted() {
    let child = Child::fork(|page| {
        let made = IoUring::builder().setup_sqpoll(1).build(64);
        let Ok(mut ring) = made else { return page.gate() };
        page.note(1, 1);
        page.gate();
        let mut done = 0;
        for _ in 0..10 {
            put(&mut ring, 16);
            // Sometimes it sleeps and has to be woken, sometimes not.
            ring.submit().expect("there is room");
            while ring.completion().len() < 16 {
                std::thread::sleep(Duration::from_millis(2));
            }
            done += taken(&mut ring);
        }
        page.note(0, done as u64);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let at_all = child.page.noted(1) == 1;
    let told = crate::children::has_tracepoint("io_uring_submit_req")
        || crate::children::has_tracepoint("io_uring_submit_sqe");
    if !support::has("the SQ thread as a thread of its process", (5, 12), at_all && told && in_process()) {
        return;
    }
    let process = process(&document, child.pid);
    assert_eq!(child.page.noted(0), 160);
    assert_eq!(models(process), [("io-uring-sqpoll", "160 requests submitted by the kernel's SQ thread")]);
}

/// Whether threads of io_uring belong to the process: they are made by `create_io_thread` (`kernel/fork.c`).
fn in_process() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("/proc is mounted");
    symbols.lines().any(|line| line.ends_with(" create_io_thread"))
}

/// Descriptor 0, whose number is the index of the ring, is `/dev/null`.
#[test]
#[ignore = "needs root"]
fn a_registered_ring_is_no_descriptor() {
    let child = Child::fork(|page| {
        let mut ring = IoUring::new(64).expect("io_uring");
        let mut update = [u32::MAX, 0, 0, 0];
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ring);
        (update[2], update[3]) = (fd as u32, 0);
        // SAFETY: one `struct io_uring_rsrc_update`: offset, padding, descriptor.
        let registered =
            unsafe { libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1) };
        page.note(1, registered as u64);
        page.gate();
        if registered != 1 {
            return;
        }
        let index = update[0] as usize;
        page.note(2, index as u64);
        for _ in 0..5 {
            put(&mut ring, 4);
            // SAFETY: numbers only.
            let entered = unsafe {
                libc::syscall(libc::SYS_io_uring_enter, index, 4, 4, GETEVENTS | REGISTERED_RING, 0, 0)
            };
            assert_eq!((entered, taken(&mut ring)), (4, 4));
        }
    });
    let trace = Trace::of(&[child.pid], &["--per", "fd"]);
    child.run();
    let document = trace.stop();
    if !support::has("registered rings", (5, 18), child.page.noted(1) == 1) {
        return;
    }
    let process = process(&document, child.pid);
    let index = child.page.noted(2);
    let [row] = process.calls.as_slice() else { panic!("one row: {:?}", process.calls) };
    let fd = row.fd.as_ref().expect("by descriptor");
    assert_eq!((fd.kind.as_str(), fd.name.as_str()), ("io_uring", &*format!("registered ring {index}")));
    assert_eq!((row.calls, row.returned), (5, 20), "{row:?}");
}
