//! What threads and processes are called: as they are called at the end, not as they were at first sight.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::children::{Child, Page, name, pipe, readv_one, write};
use crate::trace::{Trace, calls, process};

const READS: usize = 20;

/// Reads once, takes a name, and reads again.
fn renamed(to: &std::ffi::CStr) {
    let (from, into) = pipe();
    let one = || assert_eq!((write(into, 1), readv_one(from)), (1, 1));
    one();
    name(to);
    for _ in 1..READS {
        one();
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn three(page: &Page) {
    name(c"at-first");
    page.gate();
    std::thread::scope(|scope| {
        scope.spawn(|| renamed(c"worker-A"));
        scope.spawn(|| renamed(c"worker-B"));
        renamed(c"renamed-main");
    });
}

#[test]
#[ignore = "needs root"]
fn a_name_that_is_taken_after_the_first_call_is_shown() {
    let child = Child::fork(three);
    let trace = Trace::of(&[child.pid], &["--per", "thread", "-e", "trace=readv"]);
    child.run();
    let pid = child.pid;
    // Nobody can be asked any more.
    child.leave();
    let document = trace.end().document();
    let process = process(&document, pid);
    assert_eq!((process.comm.as_str(), process.threads), ("renamed-main", 3), "{process:?}");
    let mut names: Vec<(&str, u64)> =
        process.calls.iter().map(|call| (call.thread_name.as_deref().unwrap_or(""), call.calls)).collect();
    names.sort_unstable();
    let reads = READS as u64;
    assert_eq!(names, [("renamed-main", reads), ("worker-A", reads), ("worker-B", reads)]);
}

/// The first thread makes no call at all.
#[test]
#[ignore = "needs root"]
fn a_process_is_called_by_its_first_thread_even_if_that_makes_no_call() {
    let child = Child::fork(|page| {
        name(c"at-first");
        page.gate();
        std::thread::scope(|scope| {
            scope.spawn(|| renamed(c"worker"));
            std::thread::sleep(Duration::from_millis(10));
            name(c"leader");
        });
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=readv"]);
    child.run();
    let pid = child.pid;
    child.leave();
    let document = trace.end().document();
    let process = process(&document, pid);
    assert_eq!((process.comm.as_str(), process.threads), ("leader", 1), "{process:?}");
}

/// A name finds who takes it, from then on, and no longer who drops it.
#[test]
#[ignore = "needs root"]
fn a_name_that_is_asked_for_is_followed() {
    for (wanted, reads) in [("worker-A", READS - 1), ("at-first", 3)] {
        let child = Child::fork(three);
        let trace = Trace::start(&["--comm", wanted, "-e", "trace=readv"]);
        child.run();
        let document = trace.stop();
        assert_eq!(calls(process(&document, child.pid), "readv"), reads as u64, "{wanted}: {document:?}");
    }
}

/// Clients that end as soon as they have sent, under a name that they took on the way.
#[test]
#[ignore = "needs root"]
fn who_woke_the_target_and_ended_has_its_last_name() {
    const CLIENTS: u64 = 5;
    // Through a pipe: data of a socket may be brought by a softirq, and that on another CPU.
    let (mut reader, writer) = std::io::pipe().expect("descriptors are free");
    let server = Child::fork(move |page| {
        page.gate();
        for _ in 0..CLIENTS {
            reader.read_exact(&mut [0]).expect("it was sent");
        }
    });
    let trace = Trace::of(&[server.pid], &["-e", "trace=read"]);
    server.go();
    for _ in 0..CLIENTS {
        let mut writer = writer.try_clone().expect("descriptors are free");
        let client = Child::fork(move |page| {
            name(c"before");
            page.gate();
            std::thread::sleep(Duration::from_millis(20));
            name(c"last-name");
            writer.write_all(&[1]).expect("it is open");
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        });
        client.go();
        while !client.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    server.finished();
    let document = trace.stop();
    let wakers = &process(&document, server.pid).wakers;
    let named: u64 = wakers.iter().filter(|waker| waker.comm == "last-name").map(|waker| waker.wakes).sum();
    assert_eq!(named, CLIENTS, "{wakers:?}");
    assert!(wakers.iter().all(|waker| waker.comm != "unknown" && waker.comm != "before"), "{wakers:?}");
}
