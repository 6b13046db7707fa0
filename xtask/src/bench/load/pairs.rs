//! Two processes that talk: the first one is traced.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use super::{Ready, sys};

/// Round trips between two looks at the clock.
const TRIPS: u64 = 32;
const STREAM: usize = 64 << 10;
const CONNECTIONS: usize = 100;
const REQUEST: usize = 64;

/// std's `Read` of a `UnixStream` calls read, and that of a `TcpStream` recv; a tool's row is to be the same.
fn receive(stream: &impl std::os::fd::AsRawFd, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let room = &mut buffer[filled..];
        // SAFETY: as much room as it says.
        let got = unsafe {
            libc::recv(stream.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_WAITALL)
        };
        match got {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            1.. => filled += got as usize,
            _ => interrupted()?,
        }
    }
    Ok(())
}

/// A tool that attaches by ptrace interrupts whatever sleeps.
fn interrupted() -> io::Result<()> {
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok((one, other))
}

/// One byte there and back.
fn trips<S: Write + std::os::fd::AsRawFd + 'static>(
    (mut ours, mut theirs): (S, S),
    their_cpu: usize,
) -> io::Result<Ready> {
    let peer = sys::forked(move || {
        sys::pin(their_cpu)?;
        let mut byte = [0u8];
        loop {
            receive(&theirs, &mut byte)?;
            theirs.write_all(&byte)?;
        }
    })?;
    sys::pin(sys::last_cpu())?;
    let batch = move || {
        let begin = sys::now();
        let mut byte = [1u8];
        for _ in 0..TRIPS {
            ours.write_all(&byte)?;
            receive(&ours, &mut byte)?;
        }
        Ok((TRIPS, sys::now() - begin))
    };
    Ok(Ready { pids: vec![std::process::id(), peer], batch: Box::new(batch) })
}

pub fn unix_one() -> io::Result<Ready> {
    trips(UnixStream::pair()?, sys::last_cpu())
}

pub fn unix_two() -> io::Result<Ready> {
    trips(UnixStream::pair()?, 0)
}

pub fn tcp_one() -> io::Result<Ready> {
    trips(tcp_pair()?, sys::last_cpu())
}

pub fn tcp_two() -> io::Result<Ready> {
    trips(tcp_pair()?, 0)
}

/// Receives a stream in pieces of 64 KiB.
pub fn tcp_stream() -> io::Result<Ready> {
    let (ours, mut theirs) = tcp_pair()?;
    let peer = sys::forked(move || {
        sys::pin(0)?;
        loop {
            theirs.write_all(&[0; STREAM])?;
        }
    })?;
    sys::pin(sys::last_cpu())?;
    let mut buffer = vec![0; STREAM];
    let batch = move || {
        let begin = sys::now();
        receive(&ours, &mut buffer)?;
        Ok((1, sys::now() - begin))
    };
    Ok(Ready { pids: vec![std::process::id(), peer], batch: Box::new(batch) })
}

/// A server that waits in epoll for requests of 100 connections, reads and answers them.
pub fn epoll() -> io::Result<Ready> {
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let (server, client) = tcp_pair()?;
        servers.push(server);
        clients.push(client);
    }
    let peer = sys::forked(move || {
        sys::pin(0)?;
        let mut message = [0u8; REQUEST];
        loop {
            for client in &mut clients {
                client.write_all(&message)?;
            }
            for client in &mut clients {
                client.read_exact(&mut message)?;
            }
        }
    })?;
    sys::pin(sys::last_cpu())?;
    // SAFETY: no preconditions.
    let epoll = sys::check(unsafe { libc::epoll_create1(0) }.into())? as i32;
    for (index, server) in servers.iter().enumerate() {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: two open descriptors and a valid event.
        let added =
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, server.as_raw_fd(), &raw mut event) };
        sys::check(added.into())?;
    }
    let batch = move || {
        let begin = sys::now();
        let mut served = 0;
        while served < CONNECTIONS as u64 {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
            // SAFETY: room for sixteen events.
            let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 16, -1) };
            if ready < 0 {
                interrupted()?;
            }
            for event in &events[..ready.max(0) as usize] {
                let mut message = [0u8; REQUEST];
                let server = &mut servers[event.u64 as usize];
                server.read_exact(&mut message)?;
                server.write_all(&message)?;
                served += 1;
            }
        }
        Ok((served, sys::now() - begin))
    };
    Ok(Ready { pids: vec![std::process::id(), peer], batch: Box::new(batch) })
}
