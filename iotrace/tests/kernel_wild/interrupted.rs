//! Calls that signals interrupt: what the program got, not what the kernel entered.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::children::{Child, ok, pipe, read, write};
use crate::trace::{Trace, process, row};

static HANDLED: AtomicU64 = AtomicU64::new(0);
/// Where the handler reads a byte of its own.
static ASIDE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handled(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    let aside = ASIDE.load(Ordering::SeqCst);
    if aside >= 0 {
        read(aside, 1);
    }
}

fn handle(flags: i32) {
    // SAFETY: all zeros are a valid action with an empty mask; the handler is safe in a signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handled as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn kill(child: &Child, signal: i32) {
    // SAFETY: our own child, not waited for yet.
    ok(unsafe { libc::kill(child.pid, signal) } as isize);
}

/// Waits until the child sleeps in this call.
fn asleep_in(child: &Child, nr: i64) {
    let asked = Instant::now();
    let path = format!("/proc/{}/syscall", child.pid);
    while !std::fs::read_to_string(&path).unwrap_or_default().starts_with(&format!("{nr} ")) {
        assert!(asked.elapsed() < crate::trace::PATIENCE, "asleep in {nr}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends it signals, one each time that it sleeps in `nr` again, until it sleeps there after the last.
fn signals(child: &Child, nr: i64, times: u64) {
    for sent in 1..=times {
        asleep_in(child, nr);
        std::thread::sleep(Duration::from_millis(5));
        kill(child, libc::SIGUSR1);
        let asked = Instant::now();
        while child.page.noted(0) < sent {
            assert!(asked.elapsed() < crate::trace::PATIENCE, "signal {sent} was handled");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    asleep_in(child, nr);
}

/// Reads until there is data, and notes its calls (1), and those that were interrupted (2); a signal that was handled
/// is noted by the thread beside it (0).
fn reads(flags: i32, from: i32) -> impl FnOnce(&crate::children::Page) {
    move |page| {
        handle(flags);
        let beside = page as *const _ as usize;
        std::thread::spawn(move || {
            loop {
                // SAFETY: the page is never unmapped.
                let page = unsafe { &*(beside as *const crate::children::Page) };
                page.note(0, HANDLED.load(Ordering::SeqCst));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        page.gate();
        let (mut calls, mut interrupted) = (0, 0);
        loop {
            calls += 1;
            match read(from, 1) {
                1 => break,
                _ if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => interrupted += 1,
                other => panic!("read: {other}"),
            }
        }
        page.note(1, calls);
        page.note(2, interrupted);
    }
}

#[test]
#[ignore = "needs root"]
fn a_handler_without_restart_makes_eintr() {
    let (from, to) = pipe();
    let child = Child::fork(reads(0, from));
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    signals(&child, libc::SYS_read, 15);
    assert_eq!(write(to, 1), 1);
    child.finished();
    let document = trace.stop();
    let read = row(process(&document, child.pid), "read");
    assert_eq!((child.page.noted(1), child.page.noted(2)), (16, 15), "the program's own count");
    assert_eq!((read.calls, read.bytes, read.restarts), (16, 1, 0), "{read:?}");
    assert_eq!(read.errors, [("EINTR".to_owned(), 15)].into(), "{read:?}");
    assert!(document.complete, "{:?}", document.loss);
}

/// The handler makes calls of its own meanwhile, of the same kind.
#[test]
#[ignore = "needs root"]
fn a_restart_that_the_program_does_not_see_is_part_of_its_call() {
    let ((from, to), (aside, filled)) = (pipe(), pipe());
    assert_eq!(write(filled, 100), 100);
    let read = reads(libc::SA_RESTART, from);
    let child = Child::fork(move |page| {
        ASIDE.store(aside, Ordering::SeqCst);
        let began = Instant::now();
        read(page);
        page.note(3, began.elapsed().as_nanos() as u64);
    });
    let trace = Trace::of(&[child.pid], &[]);
    let began = Instant::now();
    child.go();
    signals(&child, libc::SYS_read, 15);
    let waited = began.elapsed().as_nanos() as u64;
    assert_eq!(write(to, 1), 1);
    child.finished();
    let document = trace.stop();
    let read = row(process(&document, child.pid), "read");
    assert_eq!((child.page.noted(1), child.page.noted(2)), (1, 0), "the program's own count");
    assert_eq!((read.calls, read.bytes, read.restarts), (1 + 15, 1 + 15, 15), "{read:?}");
    assert!(read.errors.is_empty(), "{read:?}");
    let range = waited * 8 / 10..=child.page.noted(3);
    assert!(range.contains(&read.total_ns), "{} of {range:?}", read.total_ns);
    assert!(read.wait_ns * 10 >= read.total_ns * 8, "{read:?}");
    assert!(document.complete, "{:?}", document.loss);
}

/// Its handler waits when tracing ends.
#[test]
#[ignore = "needs root"]
fn a_call_whose_handler_runs_is_in_flight() {
    let ((from, _to), (aside, _filled)) = (pipe(), pipe());
    let read = reads(libc::SA_RESTART, from);
    let child = Child::fork(move |page| {
        ASIDE.store(aside, Ordering::SeqCst);
        read(page);
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=read"]);
    child.go();
    asleep_in(&child, libc::SYS_read);
    kill(&child, libc::SIGUSR1);
    let asked = Instant::now();
    while child.page.noted(0) < 1 {
        assert!(asked.elapsed() < crate::trace::PATIENCE, "it was handled");
        std::thread::sleep(Duration::from_millis(1));
    }
    asleep_in(&child, libc::SYS_read);
    let document = trace.stop();
    let open = &process(&document, child.pid).in_flight;
    assert_eq!(open.len(), 2, "its own read and the handler's: {open:?}");
    assert!(open.iter().all(|call| call.syscall == "read" && !call.since_before), "{open:?}");
    assert_eq!(document.loss.in_flight_stop, 2, "{:?}", document.loss);
    assert!(document.complete, "{:?}", document.loss);
}

fn polls(ms: i32) -> impl FnOnce(&crate::children::Page) {
    move |page| {
        let (from, _to) = pipe();
        page.gate();
        let mut poll = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
        let began = Instant::now();
        // SAFETY: one descriptor to look at.
        assert_eq!(unsafe { libc::syscall(libc::SYS_poll, &raw mut poll, 1, ms) }, 0);
        page.note(0, began.elapsed().as_nanos() as u64);
    }
}

/// Stops it for a while in its poll, which goes on as `restart_syscall`.
fn stop_for(child: &Child, while_stopped: Duration) {
    asleep_in(child, libc::SYS_poll);
    kill(child, libc::SIGSTOP);
    std::thread::sleep(while_stopped);
    kill(child, libc::SIGCONT);
}

#[test]
#[ignore = "needs root"]
fn a_poll_that_is_stopped_is_one_poll() {
    let child = Child::fork(polls(500));
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    stop_for(&child, Duration::from_millis(100));
    stop_for_restarted(&child);
    child.finished();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let poll = row(process, "poll");
    assert_eq!((poll.calls, poll.restarts, poll.timeouts), (1, 2, 1), "{poll:?}");
    assert!(poll.errors.is_empty(), "{poll:?}");
    let own = child.page.noted(0);
    // The time for which it was stopped is no call's.
    let stopped = process.time.as_ref().map_or(0, |time| time.stopped_ns);
    assert!((110_000_000..200_000_000).contains(&stopped), "{:?}", process.time);
    let all = poll.total_ns + stopped;
    assert!(all <= own && own - all < 20_000_000, "{all} of {own}");
    assert!(poll.lock_ns < 20_000_000, "{poll:?}");
    assert!(poll.wait_ns >= 250_000_000, "{poll:?}");
    assert!(process.wakers.iter().any(|waker| waker.comm == "timer"), "{:?}", process.wakers);
    assert!(document.complete, "{:?}", document.loss);
}

/// Once more, in its `restart_syscall`.
fn stop_for_restarted(child: &Child) {
    asleep_in(child, libc::SYS_restart_syscall);
    kill(child, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(20));
    kill(child, libc::SIGCONT);
}

#[test]
#[ignore = "needs root"]
fn a_poll_that_goes_on_since_before_tracing_is_in_flight() {
    let (from, to) = pipe();
    let child = Child::fork(move |page| {
        page.gate();
        let mut poll = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor to look at.
        assert_eq!(unsafe { libc::syscall(libc::SYS_poll, &raw mut poll, 1, -1) }, 1);
    });
    child.go();
    stop_for(&child, Duration::from_millis(10));
    asleep_in(&child, libc::SYS_restart_syscall);
    let still_there = Trace::of(&[child.pid], &[]);
    let document = still_there.stop();
    let [open] = &process(&document, child.pid).in_flight[..] else { panic!("{document:?}") };
    assert_eq!((open.syscall.as_str(), open.since_before), ("poll", true));
    let to_its_end = Trace::of(&[child.pid], &[]);
    // Stopped again while it is observed: what goes on then is no new call either.
    stop_for_restarted(&child);
    asleep_in(&child, libc::SYS_restart_syscall);
    assert_eq!(write(to, 1), 1);
    child.finished();
    let document = to_its_end.stop();
    assert!(document.processes.iter().all(|process| process.calls.is_empty()), "{document:?}");
    assert_eq!((document.loss.in_flight_start, document.loss.in_flight_stop), (1, 0), "{:?}", document.loss);
    assert!(document.complete, "{:?}", document.loss);
}

#[test]
#[ignore = "needs root"]
fn an_untraced_sleep_that_goes_on_is_no_call() {
    let child = Child::fork(|page| {
        handle(0);
        page.gate();
        let long = libc::timespec { tv_sec: 600, tv_nsec: 0 };
        // SAFETY: a time to sleep; the rest is not asked for.
        unsafe { libc::syscall(libc::SYS_nanosleep, &raw const long, 0) };
    });
    child.go();
    asleep_in(&child, libc::SYS_nanosleep);
    kill(&child, libc::SIGSTOP);
    kill(&child, libc::SIGCONT);
    asleep_in(&child, libc::SYS_restart_syscall);
    let trace = Trace::of(&[child.pid], &["-e", "trace=read,poll"]);
    kill(&child, libc::SIGUSR1);
    child.finished();
    let document = trace.stop();
    assert_eq!(document.loss.in_flight_start, 0, "{:?}", document.loss);
    assert!(document.processes.iter().all(|process| process.calls.is_empty()), "{document:?}");
}

#[test]
#[ignore = "needs root"]
fn a_futex_wait_that_is_stopped_times_out_once() {
    let child = Child::fork(|page| {
        page.gate();
        let (word, limit) = (0u32, libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 });
        // SAFETY: a word that nobody changes, and a time.
        let ret = unsafe {
            libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, &raw const limit, 0, 0)
        };
        assert_eq!((ret, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ETIMEDOUT)));
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=futex"]);
    child.go();
    asleep_in(&child, libc::SYS_futex);
    kill(&child, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(30));
    kill(&child, libc::SIGCONT);
    child.finished();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let futex = row(process, "futex");
    assert_eq!((futex.calls, futex.restarts, futex.timeouts), (1, 1, 1), "{futex:?}");
    assert_eq!(futex.errors, [("ETIMEDOUT".to_owned(), 1)].into());
    let stopped = process.time.as_ref().map_or(0, |time| time.stopped_ns);
    assert!(stopped >= 25_000_000 && futex.total_ns + stopped >= 300_000_000, "{stopped}: {futex:?}");
    let wakers: Vec<_> = process.wakers.iter().map(|waker| waker.comm.as_str()).collect();
    assert_eq!(wakers, ["timer"]);
}

#[test]
#[ignore = "needs root"]
fn a_call_in_which_a_signal_ends_the_thread_is_one_call_without_an_end() {
    let child = Child::fork(|page| {
        let (from, _to) = pipe();
        page.gate();
        read(from, 1);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    asleep_in(&child, libc::SYS_read);
    kill(&child, libc::SIGTERM);
    let outcome = trace.end();
    let document = outcome.document();
    let read = row(process(&document, child.pid), "read");
    assert_eq!((read.calls, read.bytes, read.restarts, read.errors.len()), (1, 0, 0, 0), "{read:?}");
    assert_eq!(document.loss.in_flight_stop, 0, "{:?}", document.loss);
    assert!(document.complete, "{:?}", document.loss);
}
