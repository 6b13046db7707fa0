//! Many threads, many processes, short lives: exact counts, or the loss is said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iotrace_core::summary::Document;

use crate::children::{Child, close, pipe, read, readv_one, write};
use crate::complete::{assert_complete, assert_counted};
use crate::trace::{Trace, calls, process, row};

/// Stack of a thread that does next to nothing.
const STACK: usize = 64 << 10;

fn thread(body: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread")
}

/// One byte there and back.
fn one_byte() {
    let (from, to) = pipe();
    assert_eq!((write(to, 1), readv_one(from)), (1, 1));
    close(from);
    close(to);
}

/// Resident memory of a process, KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// Every byte of every thread and process, whatever became of them.
fn counted(document: &Document, syscall: &str) -> u64 {
    document.processes.iter().map(|process| calls(process, syscall)).sum()
}

#[test]
#[ignore = "needs root"]
fn threads_born_and_dying_at_a_thousand_a_second_are_all_counted() {
    const THREADS: u64 = 3000;
    let child = Child::fork(|page| {
        page.gate();
        let began = Instant::now();
        for number in 0..THREADS {
            thread(one_byte).join().expect("it does not fail");
            while began.elapsed() < Duration::from_millis(number) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    let before = resident(trace.pid());
    child.run();
    let after = resident(trace.pid());
    let document = trace.stop();
    let process = process(&document, child.pid);
    let read = row(process, "readv");
    for counted in [read.calls, read.bytes, row(process, "write").calls] {
        assert_counted(&document, counted, THREADS);
    }
    assert!(after < before + (8 << 10), "VmRSS of iotrace: {before} KiB, then {after} KiB");
}

#[test]
#[ignore = "needs root"]
fn four_thousand_threads_at_once_are_all_counted() {
    const THREADS: usize = 4000;
    static WAITING: AtomicU64 = AtomicU64::new(0);
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                thread(move || {
                    WAITING.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(readv_one(from), 1);
                })
            })
            .collect();
        while WAITING.load(Ordering::SeqCst) < THREADS as u64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // All of them sleep in their calls by now, or are about to.
        std::thread::sleep(Duration::from_millis(100));
        for _ in 0..THREADS {
            assert_eq!(write(to, 1), 1);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("it does not fail"));
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let read = row(process, "readv");
    for counted in [read.calls, row(process, "write").calls] {
        assert_counted(&document, counted, THREADS as u64);
    }
    assert!(read.sleeps > THREADS as u64 / 2, "{process:?}");
    assert!(process.in_flight.is_empty() || !document.complete, "{process:?}");
}

/// Forks of forks: 500 processes, each with its byte.
#[test]
#[ignore = "needs root"]
fn a_fork_bomb_is_counted_to_the_last_child() {
    const CHILDREN: u64 = 500;
    let child = Child::fork(|page| {
        page.gate();
        let bomb = |wide: u64, each: &dyn Fn()| {
            // SAFETY: every child ends in _exit, and is waited for by its parent.
            unsafe {
                for _ in 0..wide {
                    if libc::fork() == 0 {
                        each();
                        one_byte();
                        libc::_exit(0);
                    }
                }
                while libc::wait(std::ptr::null_mut()) > 0 {}
            }
        };
        // 20 + 20 * 24
        bomb(20, &|| bomb(24, &|| {}));
        one_byte();
    });
    let trace = Trace::of(&[child.pid], &["--follow", "--rows", "4096"]);
    child.run();
    let document = trace.stop();
    let reads = counted(&document, "readv");
    assert_eq!(document.loss.map_full, 0, "4096 rows are enough for 501 processes");
    assert_counted(&document, reads, CHILDREN + 1);
    assert_counted(&document, document.processes.len() as u64, CHILDREN + 1);
}

/// With too little room, what found none is counted, and the option that gives more is named.
#[test]
#[ignore = "needs root"]
fn rows_that_do_not_fit_are_counted_and_said() {
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..40 {
            thread(one_byte).join().expect("it does not fail");
        }
    });
    let trace = Trace::of(&[child.pid], &["--per", "thread", "--rows", "16", "-e", "trace=readv"]);
    child.run();
    let document = trace.stop();
    let seen = counted(&document, "readv");
    assert!((10..40).contains(&seen), "{seen} of 40 in 16 rows");
    assert_eq!(seen + document.loss.map_full, 40, "{:?}", document.loss);
    assert!(!document.complete);
    let said = document.warnings.iter().find(|warning| warning.code == "rows_full").expect("it is said");
    assert!(said.text.contains("--rows"), "{}", said.text);
}

/// More sockets than there is room for (16,384): those that find none are counted, their calls are there all the
/// same, and `--strict` fails.
#[test]
#[ignore = "needs root"]
fn sockets_that_find_no_room_are_counted_and_strict_fails() {
    // Two processes: each may have 20,000 descriptors at most on some machines.
    const SOCKETS: u64 = 8_192 + 100;
    if !crate::support::has("sock_recv_length", (6, 3), crate::children::has_tracepoint("sock_recv_length")) {
        return;
    }
    let open = |page: &crate::children::Page| {
        let room = libc::rlimit { rlim_cur: 18_000, rlim_max: 18_000 };
        // SAFETY: a valid limit; the child's own.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const room) }, 0);
        page.gate();
        for _ in 0..SOCKETS {
            // Kept open: an address that is used again would find its room.
            let (here, there) = crate::children::unix_pair();
            assert_eq!((write(there, 1), readv_one(here)), (1, 1));
        }
    };
    let children = [Child::fork(open), Child::fork(open)];
    let trace = Trace::of(&[children[0].pid, children[1].pid], &["--strict", "-e", "trace=readv"]);
    children.iter().for_each(Child::run);
    trace.signal(libc::SIGINT);
    let outcome = trace.end();
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    let document = outcome.document();
    assert!(document.loss.map_full >= 2 * SOCKETS - 16_384 && !document.complete, "{:?}", document.loss);
    assert_eq!(counted(&document, "readv"), 2 * SOCKETS, "the calls themselves are not lost");
}

/// Before, across and after `execve`, and by a thread that does not lead the process.
#[test]
#[ignore = "needs root"]
fn exec_keeps_the_counts_and_takes_the_new_name() {
    let child = Child::fork(|page| {
        // The command's input: seven bytes, and their end.
        let (from, to) = pipe();
        assert_eq!(write(to, 7), 7);
        close(to);
        // SAFETY: plain calls on descriptors of our own.
        unsafe { libc::dup2(from, 0) };
        page.gate();
        one_byte();
        let threads = thread(move || {
            let words = [c"cat".as_ptr(), std::ptr::null()];
            // SAFETY: a list of strings that ends with a null; does not return.
            unsafe {
                libc::dup2(libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY), 1);
                libc::execvp(words[0], words.as_ptr());
                libc::_exit(9)
            }
        });
        let _ = threads.join();
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=read,sendfile,splice,write"]);
    child.go();
    let document = trace.end().document();
    let process = process(&document, child.pid);
    assert_complete(&document);
    assert_eq!(process.comm, "cat", "{process:?}");
    // Whatever way this cat moves data: seven bytes, beside the one from before and its libraries.
    let moved: u64 = process.calls.iter().map(|call| call.bytes).sum();
    assert!(moved >= 1 + 1 + 7, "{process:?}");
    assert!(process.calls.iter().all(|call| call.tid.is_none()), "{process:?}");
}

/// Everybody, with somebody at work on each CPU.
#[test]
#[ignore = "needs root"]
fn the_whole_system_under_load_is_complete_and_bounded() {
    // Under emulation a busy second takes two or three.
    let window = Duration::from_secs(if crate::in_vm() { 3 } else { 20 });
    let busy = |_| {
        Child::fork(|page| {
            let (from, to) = pipe();
            page.gate();
            loop {
                write(to, 100);
                read(from, 100);
                page.note(0, page.noted(0) + 1);
                thread(one_byte).join().expect("it does not fail");
            }
        })
    };
    let children: Vec<Child> = (0..2).map(busy).collect();
    let trace = Trace::start(&["-a"]);
    children.iter().for_each(Child::go);
    std::thread::sleep(window / 4);
    let before = resident(trace.pid());
    std::thread::sleep(3 * window / 4);
    let after = resident(trace.pid());
    let least: Vec<u64> = children.iter().map(|child| child.page.noted(0)).collect();
    let own = trace.pid() as u32;
    let document = trace.stop();
    let most: Vec<u64> = children.iter().map(|child| child.page.noted(0)).collect();
    assert_complete(&document);
    assert!(after < before + (16 << 10), "VmRSS of iotrace: {before} KiB, then {after} KiB");
    for ((child, least), most) in children.iter().zip(least).zip(most) {
        let process = process(&document, child.pid);
        let reads = calls(process, "read") + calls(process, "readv");
        assert!((2 * least - 2..=2 * most + 2).contains(&reads), "{reads} of {least} to {most} rounds");
    }
    assert!(document.processes.iter().all(|process| process.pid != own), "nothing of itself");
    assert!(document.processes.iter().all(|process| process.pid != 0));
}
