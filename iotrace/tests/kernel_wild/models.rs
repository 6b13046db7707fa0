//! Which model a process uses, where its threads and descriptors differ.

use std::os::fd::RawFd;
use std::thread;

use iotrace_core::summary::ModelUse;

use crate::children::{Child, close, ok, pipe, read, readv_one, unix_pair, write};
use crate::trace::{Trace, process, row};

fn epoll() -> RawFd {
    // SAFETY: a plain call that makes a descriptor.
    ok(unsafe { libc::epoll_create1(0) } as isize) as RawFd
}

fn register(epoll: RawFd, fd: RawFd, events: i32) {
    let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
    // SAFETY: both descriptors are ours, the event is valid.
    assert_eq!(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }, 0);
}

/// Descriptors that an `epoll_wait` for at most 64 events reports.
fn wait(epoll: RawFd) -> Vec<RawFd> {
    // SAFETY: zeroed events are valid, and there is room for as many as it says.
    unsafe {
        let mut events: [libc::epoll_event; 64] = std::mem::zeroed();
        let got = ok(libc::syscall(libc::SYS_epoll_wait, epoll, events.as_mut_ptr(), 64, -1) as isize);
        events[..got].iter().map(|event| event.u64 as RawFd).collect()
    }
}

/// Waits by `select` until one descriptor is readable.
fn select(fd: RawFd) {
    // SAFETY: a zeroed set is empty; it has room for every descriptor below 1024.
    unsafe {
        let mut set: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(fd, &raw mut set);
        let none: *mut u8 = std::ptr::null_mut();
        assert_eq!(libc::syscall(libc::SYS_select, fd + 1, &raw mut set, none, 0, 0), 1);
    }
}

/// Waits by `poll` until one of these is readable.
fn poll(fds: &[RawFd]) {
    let entry = |&fd: &RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    // SAFETY: as many entries as it says.
    let got = unsafe { libc::syscall(libc::SYS_poll, entries.as_mut_ptr(), entries.len(), -1) };
    assert!(got > 0);
}

/// A regular file with a page of zeros, already removed.
fn file() -> RawFd {
    let path = std::env::temp_dir().join(format!("a-file-to-read-{}", std::process::id()));
    std::fs::write(&path, [0; 4096]).expect("a temporary file");
    let file = std::fs::File::open(&path).expect("it was just written");
    std::fs::remove_file(&path).expect("it is still there");
    std::os::fd::IntoRawFd::into_raw_fd(file)
}

fn zeros() -> RawFd {
    // SAFETY: a plain call with a string that ends with a zero.
    ok(unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) } as isize) as RawFd
}

fn pread(fd: RawFd) {
    let mut bytes = [0u8; 64];
    // SAFETY: the buffer is as long as it says.
    assert_eq!(unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) }, 64);
}

/// The models of a child that runs to its end under observation, and what it observed with.
fn models(child: &Child, more: &[&str]) -> Vec<ModelUse> {
    let trace = Trace::of(&[child.pid], more);
    child.run();
    let document = trace.stop();
    assert!(document.complete, "{:?}", document.warnings);
    process(&document, child.pid).models.clone()
}

/// The share of a model in percent, and its evidence.
fn share<'a>(models: &'a [ModelUse], name: &str) -> (u64, &'a str) {
    let found = models.iter().find(|model| model.model == name);
    found.map_or((0, ""), |model| ((model.share * 100.0).round() as u64, model.evidence.as_str()))
}

/// Fifty sockets, all readable before each of twenty waits.
#[test]
#[ignore = "needs root"]
fn events_are_what_the_waits_returned_not_how_many_waits_there_were() {
    let child = Child::fork(|page| {
        let epoll = epoll();
        let pairs: Vec<_> = (0..50).map(|_| unix_pair()).collect();
        pairs.iter().for_each(|pair| register(epoll, pair.0, libc::EPOLLIN));
        page.gate();
        for _ in 0..20 {
            pairs.iter().for_each(|pair| assert_eq!(write(pair.1, 1), 1));
            let ready = wait(epoll);
            assert_eq!(ready.len(), 50);
            ready.into_iter().for_each(|fd| assert_eq!(readv_one(fd), 1));
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let (share, evidence) = share(&process.models, "epoll");
    assert_eq!(share, 100, "{:?}", process.models);
    assert!(evidence.starts_with("1000 events from 20 waits, 1.00 reads per event, "), "{evidence}");
    let waits = row(process, "epoll_wait");
    assert_eq!((waits.calls, waits.returned, waits.bytes), (20, 1000, 0));
}

/// Of many registrations one is edge-triggered, and that one is read.
#[test]
#[ignore = "needs root"]
fn edge_or_level_is_that_of_the_descriptor_that_was_read() {
    for (read_by, others, model) in [
        (libc::EPOLLIN | libc::EPOLLET, libc::EPOLLIN, "epoll-et"),
        (libc::EPOLLIN, libc::EPOLLIN | libc::EPOLLET, "epoll"),
    ] {
        let child = Child::fork(move |page| {
            let (epoll, pair) = (epoll(), unix_pair());
            register(epoll, pair.0, read_by);
            (0..20).for_each(|_| register(epoll, unix_pair().0, others));
            page.gate();
            for _ in 0..200 {
                assert_eq!(write(pair.1, 1), 1);
                assert_eq!(wait(epoll), [pair.0]);
                assert_eq!(readv_one(pair.0), 1);
            }
        });
        let models = models(&child, &[]);
        let (share, evidence) = share(&models, model);
        assert_eq!(share, 100, "{models:?}");
        assert!(evidence.starts_with("200 events from 200 waits, 1.00 reads per event, "), "{evidence}");
    }
}

/// One thread waits by select for a pipe and reads it, as the helper of a benchmark does; another reads a file and a
/// device that never wait.
#[test]
#[ignore = "needs root"]
fn reads_of_one_thread_are_not_told_by_the_select_of_another() {
    let child = Child::fork(|page| {
        let (file, zeros, (from, to)) = (file(), zeros(), pipe());
        page.gate();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(write(to, 1), 1);
                    select(from);
                    assert_eq!(readv_one(from), 1);
                }
            });
            for _ in 0..3000 {
                pread(file);
                ok(read(zeros, 64));
            }
        });
    });
    let models = models(&child, &["-e", "trace=select,pread64,read,readv"]);
    assert_eq!(share(&models, "file").0, 50, "{models:?}");
    assert_eq!(share(&models, "ready").0, 50, "{models:?}");
    let evidence = share(&models, "select").1;
    assert!(evidence.starts_with("20 events from 20 waits, 1.00 reads per event, "), "{models:?}");
}

/// One thread polls a socket, and between its events reads a pipe that always has data.
#[test]
#[ignore = "needs root"]
fn a_read_of_another_descriptor_is_not_told_by_poll() {
    let child = Child::fork(|page| {
        let (pair, idle, (from, to)) = (unix_pair(), unix_pair(), pipe());
        ok(write(to, 5000));
        page.gate();
        for _ in 0..100 {
            assert_eq!(write(pair.1, 1), 1);
            poll(&[idle.0, pair.0]);
            ok(read(pair.0, 1));
            (0..3).for_each(|_| assert_eq!(readv_one(from), 1));
        }
        close(to);
    });
    let models = models(&child, &["-e", "trace=poll,read,readv"]);
    let (share_of_poll, evidence) = share(&models, "poll");
    assert_eq!((share_of_poll, share(&models, "ready").0), (25, 75), "{models:?}");
    assert!(evidence.starts_with("100 events from 100 waits, 1.00 reads per event, "), "{evidence}");
}

/// One thread waits, others read what it hands them: `EPOLLONESHOT`, as work-stealing pools use it.
#[test]
#[ignore = "needs root"]
fn a_read_belongs_to_epoll_whichever_thread_waited() {
    let child = Child::fork(|page| {
        let (epoll, pair, (from, to)) = (epoll(), unix_pair(), pipe());
        register(epoll, pair.0, libc::EPOLLIN | libc::EPOLLONESHOT);
        page.gate();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    // The hand-over is a blocking read of another pipe.
                    assert_eq!(readv_one(from), 1);
                    ok(read(pair.0, 1));
                    let mut event = libc::epoll_event {
                        events: (libc::EPOLLIN | libc::EPOLLONESHOT) as u32,
                        u64: pair.0 as u64,
                    };
                    // SAFETY: as in `register`.
                    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, pair.0, &raw mut event) };
                }
            });
            for _ in 0..100 {
                assert_eq!(write(pair.1, 1), 1);
                assert_eq!(wait(epoll), [pair.0]);
                assert_eq!(write(to, 1), 1);
            }
        });
    });
    let models = models(&child, &["-e", "trace=epoll_wait,read"]);
    let (share, evidence) = share(&models, "epoll");
    assert_eq!(share, 100, "{models:?}");
    assert!(evidence.starts_with("100 events from 100 waits, 1.00 reads per event, "), "{evidence}");
}
