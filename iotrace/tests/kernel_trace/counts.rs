//! Calls, bytes, errors and sleeps are those that the program counted itself.

use crate::attempts;
use crate::children::{Child, Page, close, ok, pipe, read, unix_pair, voluntary_switches, write};
use crate::complete::assert_complete;
use crate::trace::{Trace, process, row};

const TIMES: usize = 500;

/// Every data and readiness call there is, each a known number of times.
fn every_call(page: &Page) {
    let (from, to) = pipe();
    let (here, there) = unix_pair();
    let (other_from, other_to) = pipe();
    // SAFETY: plain calls; descriptors are this process's own.
    let (file, epoll) = unsafe {
        let file = libc::memfd_create(c"numbers".as_ptr(), 0);
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, here, &raw mut event), 0);
        libc::fcntl(here, libc::F_SETFL, libc::O_NONBLOCK);
        (file, epoll)
    };
    let mut bytes = vec![0u8; 4096];
    page.gate();
    for turn in 0..TIMES {
        let size = 1 + turn;
        let at = bytes.as_mut_ptr();
        let slice = libc::iovec { iov_base: at.cast(), iov_len: size };
        // SAFETY: buffers are as long as they say, structures zeroed before use.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = (&raw const slice).cast_mut();
            message.msg_iovlen = 1;
            ok(libc::write(to, at.cast(), size));
            ok(libc::read(from, at.cast(), size));
            ok(libc::writev(to, &raw const slice, 1));
            ok(libc::readv(from, &raw const slice, 1));
            ok(libc::pwrite(file, at.cast(), size, 0));
            ok(libc::pread(file, at.cast(), size, 0));
            ok(libc::pwritev(file, &raw const slice, 1, 0));
            ok(libc::preadv(file, &raw const slice, 1, 0));
            ok(libc::send(there, at.cast(), size, 0));
            ok(libc::recv(here, at.cast(), size, 0));
            ok(libc::sendmsg(there, &raw const message, 0));
            ok(libc::recvmsg(here, &raw mut message, 0));
            let mut many = libc::mmsghdr { msg_hdr: message, msg_len: 0 };
            ok(libc::sendmmsg(there, &raw mut many, 1, 0) as isize);
            ok(libc::recvmmsg(here, &raw mut many, 1, 0, std::ptr::null_mut()) as isize);
            ok(libc::write(to, at.cast(), size));
            ok(libc::splice(from, std::ptr::null_mut(), other_to, std::ptr::null_mut(), size, 0));
            ok(libc::read(other_from, at.cast(), size));
            let mut offset = 0;
            ok(libc::sendfile(to, file, &raw mut offset, size));
            ok(libc::read(from, at.cast(), size));
            // Nothing is there: EAGAIN, and the three ways to be told so.
            assert_eq!(libc::recv(here, at.cast(), 1, 0), -1);
            let mut poll = libc::pollfd { fd: here, events: libc::POLLIN, revents: 0 };
            assert_eq!(libc::syscall(libc::SYS_poll, &raw mut poll, 1, 0), 0);
            let mut none = libc::timeval { tv_sec: 0, tv_usec: 0 };
            assert_eq!(libc::syscall(libc::SYS_select, 0, 0, 0, 0, &raw mut none), 0);
            let mut event: libc::epoll_event = std::mem::zeroed();
            assert_eq!(libc::syscall(libc::SYS_epoll_wait, epoll, &raw mut event, 1, 0), 0);
            assert_eq!(libc::read(9999, at.cast(), 1), -1);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn calls_bytes_and_errors_are_exactly_the_programs_own() {
    let child = Child::fork(every_call);
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    child.leave();
    assert_complete(&document);
    let process = process(&document, document.processes[0].pid as i32);
    let (times, sum) = (TIMES as u64, (TIMES * (TIMES + 1) / 2) as u64);
    // Reads: of the pipe, of what was spliced, of what sendfile sent, and of a descriptor that is none.
    let expected = [
        ("read", 4 * times, 3 * sum),
        ("write", 2 * times, 2 * sum),
        ("readv", times, sum),
        ("writev", times, sum),
        ("pread64", times, sum),
        ("pwrite64", times, sum),
        ("preadv", times, sum),
        ("pwritev", times, sum),
        ("recvfrom", 2 * times, sum),
        ("sendto", times, sum),
        ("recvmsg", times, sum),
        ("sendmsg", times, sum),
        ("splice", times, sum),
        ("sendfile", times, sum),
    ];
    for (syscall, calls, bytes) in expected {
        let row = row(process, syscall);
        assert_eq!((row.calls, row.bytes), (calls, bytes), "{syscall}");
        assert_eq!(row.latency.count, calls, "{syscall}");
    }
    assert_eq!(row(process, "recvfrom").errors, [("EAGAIN".to_owned(), times)].into());
    assert_eq!(row(process, "read").errors, [("EBADF".to_owned(), times)].into());
    for syscall in ["poll", "select", "epoll_wait"] {
        let row = row(process, syscall);
        assert_eq!((row.calls, row.empty, row.bytes), (times, times, 0), "{syscall}");
    }
    // They return messages: bytes are counted only where the kernel tells them, and never made up.
    assert_eq!(row(process, "sendmmsg").calls, times);
    assert_eq!(row(process, "sendmmsg").bytes, 0);
    let many = row(process, "recvmmsg");
    assert!(many.calls == times && (many.bytes == sum || many.bytes == 0), "{many:?}");
    // They copy nothing to or from the process, nor is a message's worth of bytes known.
    for syscall in ["splice", "sendfile", "sendmmsg"] {
        assert_eq!(row(process, syscall).copy_source, iotrace_core::domain::CopySource::None, "{syscall}");
    }
    assert_eq!(process.calls.len(), expected.len() + 5, "and nothing else");
}

/// The reader sleeps for every byte, and in nothing but traced calls.
#[test]
#[ignore = "needs root"]
fn sleeps_are_the_voluntary_switches_and_the_run_queue_the_schedulers() {
    // Ours starts at the wake-up, the scheduler's at the queue: ours is longer, but for what was waited
    // outside of any call, which is much only where others keep the machine busy.
    let agree = |(ours, theirs): (f64, f64)| ours > 0.7 * theirs && ours < 1.5 * theirs + 2e7;
    attempts::until(3, "others on the machine make a thread wait outside of its calls", |_| {
        let pair = beside_a_spinner();
        if agree(pair) { Ok(()) } else { Err(format!("run queue here and there, ns: {pair:?}")) }
    });
}

/// Sleeps beside a spinner on the same CPU, which are the thread's own count of them; returns the time in the
/// run queue as iotrace and as the scheduler has it, ns.
fn beside_a_spinner() -> (f64, f64) {
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        close(to);
        pin();
        // A page that is still shared with the parent may make its first writer sleep, outside of any call.
        // SAFETY: plain calls. A nice reader does not push the other off the CPU as it wakes.
        unsafe {
            assert_eq!(libc::mlockall(libc::MCL_CURRENT), 0);
            assert_eq!(libc::setpriority(libc::PRIO_PROCESS, 0, 10), 0);
        }
        page.gate();
        // Opening a file may sleep, too: that lies outside.
        let (delay, switches) = (run_delay(), voluntary_switches());
        while read(from, 1) == 1 {}
        page.note(0, voluntary_switches() - switches);
        page.note(1, run_delay() - delay);
    });
    close(from);
    // Somebody who never gives the CPU up, so that there is a queue to wait in.
    let spinner = Child::fork(|page| {
        close(to);
        pin();
        page.gate();
        // At a `pause` an emulated CPU gives its turn to the next. It must, or that one stands still while the clock
        // goes on; but at each turn of this loop it made the test take 75 s.
        for turn in 0u64.. {
            if turn % 256 == 0 {
                std::hint::spin_loop();
            }
            std::hint::black_box(turn);
        }
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=read"]);
    child.go();
    spinner.go();
    for _ in 0..130 {
        assert_eq!(write(to, 1), 1);
        std::thread::sleep(std::time::Duration::from_millis(4));
    }
    close(to);
    child.finished();
    // It has done its part, and the end of the trace needs the CPU.
    drop(spinner);
    let document = trace.stop();
    let read = row(&document.processes[0], "read");
    // Two reads of schedstat lie in the window.
    let (switches, delay) = (child.page.noted(0), child.page.noted(1));
    assert_eq!(read.sleeps, switches, "{:?} {} ns in locks: {read:?}", document.loss, read.lock_ns);
    assert!(switches > 100, "{switches} sleeps prove nothing");
    let (ours, theirs) = (read.runq_ns as f64, delay as f64);
    assert!(theirs > 0.0, "a spinner was on the same CPU");
    (ours, theirs)
}

/// Keeps the calling thread on CPU 0.
fn pin() {
    // SAFETY: a zeroed set is empty; CPU_SET and the call stay inside it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set), 0);
    }
}

/// Time the calling process has waited for a CPU, ns.
fn run_delay() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("CONFIG_SCHED_INFO");
    text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("three numbers")
}
