//! Many threads or many descriptors in one process, and threads that only switch and wake.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::calls::empty;
use super::{Ready, sys};

/// Calls of a thread before the next one's turn.
const TURN: u64 = 16;

/// Two threads on one CPU that yield to each other; an operation is a switch, as the kernel counted it.
pub fn yields() -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    thread::spawn(|| {
        loop {
            thread::yield_now();
        }
    });
    Ok(Ready::alone(Box::new(|| {
        let (begin, before) = (sys::now(), sys::switches());
        for _ in 0..256 {
            thread::yield_now();
        }
        // Out and in again, or only this thread's half of it: the other one's is the same again.
        Ok(((sys::switches() - before) * 2, sys::now() - begin))
    })))
}

/// Two threads on one CPU that wake each other.
pub fn futex() -> io::Result<Ready> {
    turns(2, || Ok(()))
}

/// Threads in turn, each with some calls on a socket of its own.
pub fn threads(count: usize) -> io::Result<Ready> {
    sys::allow_descriptors(count as u64 + 100)?;
    let ready = turns(count, || {
        thread_local!(static SOCKET: io::Result<UnixDatagram> = UnixDatagram::unbound());
        SOCKET.with(|socket| {
            let fd = socket.as_ref().map_err(|error| io::Error::from(error.kind()))?.as_raw_fd();
            (0..TURN).try_for_each(|_| empty(fd))
        })
    })?;
    let mut batch = ready.batch;
    let calls = count as u64 * TURN;
    Ok(Ready { batch: Box::new(move || batch().map(|(_, ns)| (calls, ns))), ..ready })
}

/// A ring of threads on one CPU: each waits for its turn, does `work`, wakes the next. An operation is a
/// whole round.
fn turns(count: usize, work: impl Fn() -> io::Result<()> + Copy + Send + 'static) -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    let turns: Arc<Vec<AtomicU32>> = Arc::new((0..count).map(|_| AtomicU32::new(0)).collect());
    let wait = |turn: &AtomicU32| {
        while turn.swap(0, Ordering::Acquire) == 0 {
            sys::futex_wait(turn, 0);
        }
    };
    let pass = |turn: &AtomicU32| {
        turn.store(1, Ordering::Release);
        sys::futex_wake(turn);
    };
    for index in 1..count {
        let turns = Arc::clone(&turns);
        thread::Builder::new().stack_size(64 << 10).spawn(move || {
            loop {
                wait(&turns[index]);
                if work().is_err() {
                    std::process::exit(1);
                }
                pass(&turns[(index + 1) % turns.len()]);
            }
        })?;
    }
    Ok(Ready::alone(Box::new(move || {
        let begin = sys::now();
        work()?;
        pass(&turns[1]);
        wait(&turns[0]);
        Ok((1, sys::now() - begin))
    })))
}

/// One thread with so many sockets, in turn.
pub fn descriptors(count: usize) -> io::Result<Ready> {
    sys::allow_descriptors(count as u64 + 100)?;
    sys::pin(sys::last_cpu())?;
    let sockets: Vec<UnixDatagram> =
        (0..count).map(|_| UnixDatagram::unbound()).collect::<io::Result<_>>()?;
    let mut next = 0;
    Ok(Ready::alone(Box::new(move || {
        let begin = sys::now();
        for _ in 0..256 {
            let fd: RawFd = sockets[next].as_raw_fd();
            empty(fd)?;
            next = (next + 1) % sockets.len();
        }
        Ok((256, sys::now() - begin))
    })))
}
