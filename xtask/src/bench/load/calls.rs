//! One thread that makes the same call over and over.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::{Batch, Ready, sys};

/// Calls between two looks at the clock: the clock is then less than a thousandth.
const CALLS: u64 = 256;

fn timed(mut call: impl FnMut() -> io::Result<()> + 'static) -> Batch {
    Box::new(move || {
        let begin = sys::now();
        for _ in 0..CALLS {
            call()?;
        }
        Ok((CALLS, sys::now() - begin))
    })
}

/// `recvfrom` that must find nothing.
pub fn empty(fd: RawFd) -> io::Result<()> {
    let mut byte = 0u8;
    // SAFETY: one byte of room, and no address wanted.
    let got = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) };
    if got >= 0 { Err(io::Error::other("an empty queue had data")) } else { Ok(()) }
}

/// `recvfrom` on the empty queue of a UDP socket: nonblocking I/O that spins.
pub fn recvfrom() -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    Ok(Ready::alone(timed(move || empty(socket.as_raw_fd()))))
}

/// `read` on an empty pipe: a traced call that no mark but its ends sees.
pub fn read() -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    sys::check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK) }.into())?;
    // SAFETY: new, and owned by nothing else.
    let ends = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(Ready::alone(timed(move || {
        let mut byte = 0u8;
        // SAFETY: one byte of room.
        let got = unsafe { libc::read(ends[0].as_raw_fd(), (&raw mut byte).cast(), 1) };
        if got >= 0 { Err(io::Error::other("an empty pipe had data")) } else { Ok(()) }
    })))
}

/// A call that iotrace does not trace, in a process that it does.
pub fn getppid() -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    Ok(Ready::alone(timed(|| {
        // SAFETY: no arguments, no preconditions.
        unsafe { libc::getppid() };
        Ok(())
    })))
}

/// `recvfrom` as above, while two other processes, which sleep, are the ones to trace.
pub fn neighbour() -> io::Result<Ready> {
    let pids = vec![sys::forked(sys::idle)?, sys::forked(sys::idle)?];
    Ok(Ready { pids, ..recvfrom()? })
}

/// Receives what this thread has sent itself over TCP before; only the receives are timed.
pub fn tcp_recv() -> io::Result<Ready> {
    sys::pin(sys::last_cpu())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    let mut buffer = [0u8; 1024];
    Ok(Ready::alone(Box::new(move || {
        // As many as every socket buffer holds.
        for _ in 0..16 {
            sender.write_all(&buffer)?;
        }
        let begin = sys::now();
        for _ in 0..16 {
            receiver.read_exact(&mut buffer)?;
        }
        Ok((16, sys::now() - begin))
    })))
}

/// Empty `recvfrom`s on every CPU for so long; returns how many there were.
pub fn count(time: Duration) -> io::Result<u64> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    sys::check(unsafe { libc::pipe(ends.as_mut_ptr()) }.into())?;
    // SAFETY: new, and owned by nothing else.
    let [from, to] = ends.map(|fd| std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
    let cpus = sys::last_cpu() + 1;
    for cpu in 0..cpus {
        let mut to = to.try_clone()?;
        sys::forked(move || {
            sys::pin(cpu)?;
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let (began, mut calls) = (Instant::now(), 0u64);
            while began.elapsed() < time {
                for _ in 0..CALLS {
                    empty(socket.as_raw_fd())?;
                }
                calls += CALLS;
            }
            to.write_all(&calls.to_ne_bytes())
        })?;
    }
    drop(to);
    let mut all = Vec::new();
    { &from }.read_to_end(&mut all)?;
    let (counts, _) = all.as_chunks::<8>();
    if counts.len() != cpus {
        return Err(io::Error::other("not every process came to its end"));
    }
    Ok(counts.iter().map(|one| u64::from_ne_bytes(*one)).sum())
}
