//! Waits whose time is up: told from polls that do not wait, and woken by their timer, whoever the interrupt disturbed.

use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::children::{Child, ok, pipe, unix_pair};
use crate::trace::{Trace, process, row};

/// How often each call times out.
const TIMES: u64 = 4;
/// How long each waits, ms.
const MS: i64 = 15;

/// Gives both ends a time limit for receiving and sending.
fn limit(fd: i32) {
    let limit = libc::timeval { tv_sec: 0, tv_usec: MS * 1000 };
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        // SAFETY: a timeval, as long as it says.
        let set = unsafe {
            let size = size_of::<libc::timeval>() as u32;
            libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const limit).cast(), size)
        };
        assert_eq!(set, 0);
    }
}

fn time_out(page: &crate::children::Page) {
    let ((one, _other), (full, _unread), (from, _to)) = (unix_pair(), unix_pair(), pipe());
    limit(one);
    limit(full);
    let buffer = [0u8; 4096];
    let mut aio = 0u64;
    let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: what each points to is as long as it says and stays; the set is filled before it is read.
    let (epoll, signals) = unsafe {
        // Room is used up without waiting.
        while libc::send(full, buffer.as_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) > 0 {}
        ok(libc::syscall(libc::SYS_io_setup, 8, &raw mut aio) as isize);
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGUSR2);
        libc::sigprocmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        (ok(libc::epoll_create1(libc::EPOLL_CLOEXEC) as isize) as i32, signals.assume_init())
    };
    page.gate();
    let limit = libc::timespec { tv_sec: 0, tv_nsec: MS * 1_000_000 };
    for _ in 0..TIMES {
        let mut poll = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
        let mut byte = 0u8;
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let mut events = [0u64; 4];
        // SAFETY: as above.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_poll, &raw mut poll, 1, MS), 0);
            // Those that do not wait.
            assert_eq!(libc::syscall(libc::SYS_poll, &raw mut poll, 1, 0), 0);
            assert_eq!(libc::syscall(libc::SYS_epoll_wait, epoll, &raw mut event, 1, MS), 0);
            assert_eq!(libc::recv(one, (&raw mut byte).cast(), 1, 0), -1);
            assert_eq!(libc::send(full, buffer.as_ptr().cast(), buffer.len(), 0), -1);
            let waited = libc::syscall(libc::SYS_rt_sigtimedwait, &raw const signals, 0, &raw const limit, 8);
            assert_eq!(waited, -1);
            let got = libc::syscall(libc::SYS_io_getevents, aio, 1, 1, &raw mut events, &raw const limit);
            assert_eq!(got, 0);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_wait_that_times_out_is_no_poll_and_nobody_woke_it() {
    let child = Child::fork(time_out);
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    for (name, calls, timeouts, empty) in [
        ("poll", 2 * TIMES, TIMES, TIMES),
        ("epoll_wait", TIMES, TIMES, 0),
        ("recvfrom", TIMES, TIMES, 0),
        ("sendto", TIMES, TIMES, 0),
        ("rt_sigtimedwait", TIMES, TIMES, 0),
        ("io_getevents", TIMES, TIMES, 0),
    ] {
        let row = row(process, name);
        assert_eq!((row.calls, row.timeouts, row.empty), (calls, timeouts, empty), "{row:?}");
        assert_eq!((row.bytes, row.returned), (0, 0), "{row:?}");
        // A tick early, as time stamps are taken inside.
        assert!(row.wait_ns >= TIMES * (MS as u64 - 1) * 1_000_000, "{row:?}");
    }
    assert_eq!(row(process, "recvfrom").errors, [("EAGAIN".to_owned(), TIMES)].into());
    let wakers: Vec<_> = process.wakers.iter().map(|waker| (waker.comm.as_str(), waker.by_socket)).collect();
    assert!(wakers.iter().all(|waker| *waker == ("timer", false)), "{:?}", process.wakers);
    assert!(process.models.is_empty(), "no data came in by any: {:?}", process.models);
}

/// `io_uring_enter` with a timeout returns `ETIME`, and with nothing to wait for 0: a success.
#[test]
#[ignore = "needs root"]
fn an_io_uring_wait_times_out_with_an_error_and_a_success_is_no_timeout() {
    /// `IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG`
    const WAIT: usize = 1 | 8;
    let child = Child::fork(|page| {
        let mut parameters = [0u32; 30];
        // SAFETY: `struct io_uring_params` has 120 bytes.
        let ring =
            ok(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) } as isize);
        page.gate();
        let limit = libc::timespec { tv_sec: 0, tv_nsec: MS * 1_000_000 };
        // `struct io_uring_getevents_arg`: no signals, and the address of the time.
        let wait = [0u64, 0, (&raw const limit) as u64];
        let enter = |least: usize, flags: usize, argument: *const u64, bytes: usize| {
            // SAFETY: the argument has as many bytes. Each word is passed whole: the kernel takes a size of 64 bits.
            unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 0usize, least, flags, argument, bytes) }
        };
        for _ in 0..TIMES {
            assert_eq!(enter(1, WAIT, wait.as_ptr(), size_of_val(&wait)), -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ETIME));
            assert_eq!(enter(0, 1, std::ptr::null(), 0), 0);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let rows: Vec<_> =
        process.calls.iter().map(|row| (row.calls, row.timeouts, row.empty, row.returned)).collect();
    assert!(rows.contains(&(TIMES, TIMES, 0, 0)) && rows.contains(&(TIMES, 0, 0, 0)), "{process:?}");
    let waiting = process.calls.iter().find(|row| row.timeouts > 0).expect("seen above");
    assert_eq!(waiting.errors, [("ETIME".to_owned(), TIMES)].into());
    let wakers: Vec<_> = process.wakers.iter().map(|waker| waker.comm.as_str()).collect();
    assert_eq!(wakers, ["timer"], "{:?}", process.wakers);
}

/// Data that comes in time is none, though the socket has a limit.
#[test]
#[ignore = "needs root"]
fn data_in_time_is_no_timeout() {
    let child = Child::fork(|page| {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let mut peer = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (stream, _) = listener.accept().expect("it is there");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            std::io::Write::write_all(&mut peer, b"x").expect("it is read");
            peer
        });
        page.gate();
        let mut byte = 0u8;
        // SAFETY: one byte.
        assert_eq!(unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, 0) }, 1);
        drop(writer.join());
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let received = row(process(&document, child.pid), "recvfrom");
    assert_eq!((received.calls, received.timeouts, received.errors.len()), (1, 0, 0), "{received:?}");
}
