//! Who woke: a socket only where the call waits on it.

use std::time::Duration;

use crate::children::{Child, has_tracepoint, ok, read, unix_pair, write};
use crate::support;
use crate::trace::{Trace, process};

const TIMES: u64 = 50;

/// Observes a thread in `epoll_wait` on an eventfd and a socket. Another sends to `told` and then adds to the eventfd.
/// Returns how many wake-ups were by anything, and how many by a socket.
fn woken(waiting_on: i32, told: i32, also_event: bool) -> (u64, u64) {
    // SAFETY: a plain call.
    let event = ok(unsafe { libc::eventfd(0, 0) } as isize) as i32;
    let sleeper = Child::fork(|page| {
        // SAFETY: plain calls on descriptors of our own.
        let epoll = unsafe { libc::epoll_create1(0) };
        for fd in [event, waiting_on] {
            let mut wanted = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
            // SAFETY: as above.
            ok(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut wanted) } as isize);
        }
        page.gate();
        for _ in 0..TIMES {
            let mut got = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: room for one event.
            assert_eq!(unsafe { libc::epoll_wait(epoll, &raw mut got, 1, -1) }, 1);
            assert_eq!(read(got.u64 as i32, 8), 8);
        }
    });
    let waker = Child::fork(|page| {
        page.gate();
        for _ in 0..TIMES {
            std::thread::sleep(Duration::from_millis(3));
            assert_eq!(write(told, 8), 8);
            if also_event {
                let one = 1u64;
                // SAFETY: eight bytes.
                assert_eq!(unsafe { libc::write(event, (&raw const one).cast(), 8) }, 8);
            }
        }
    });
    let trace = Trace::of(&[sleeper.pid], &["-e", "trace=epoll_wait"]);
    sleeper.go();
    waker.run();
    sleeper.finished();
    let document = trace.stop();
    let wakers = &process(&document, sleeper.pid).wakers;
    let count = |all: bool| {
        wakers.iter().filter(|waker| all || waker.by_socket).map(|waker| waker.wakes).sum::<u64>()
    };
    (count(true), count(false))
}

#[test]
#[ignore = "needs root"]
fn a_socket_that_nobody_waits_on_wakes_nobody() {
    let (waited, _peer) = unix_pair();
    let (_other, told) = unix_pair();
    let (all, by_socket) = woken(waited, told, true);
    assert!(all > TIMES / 2, "{all}");
    assert_eq!(by_socket, 0, "of {all}: what was sent went elsewhere");
}

#[test]
#[ignore = "needs root"]
fn a_socket_of_the_epoll_set_wakes() {
    let (waited, told) = unix_pair();
    let (all, by_socket) = woken(waited, told, false);
    assert!(all > TIMES / 2, "{all}");
    if !support::has("by_socket (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready")) {
        return;
    }
    // Under emulation, readiness and wake-up may be more than the 20 us apart that are taken for one event.
    let least = if std::env::var_os("IOTRACE_VM").is_some() { 1 } else { all * 9 / 10 };
    assert!(by_socket >= least, "{by_socket} of {all}");
}
