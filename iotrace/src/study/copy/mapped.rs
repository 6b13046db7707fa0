//! `TCP_ZEROCOPY_RECEIVE`: pages that a socket received are mapped into the reader instead of being copied.
//!
//! Only whole pages can be mapped (`can_map_frag` in `net/ipv4/tcp.c`), so segments carry a page each, and the
//! sender gives pages of its own (`MSG_ZEROCOPY`), which loopback copies into single pages on the way.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use super::zerocopy::{Completions, notifications};
use crate::host::clock::monotonic_ns;
use crate::study::pair::{Pair, set_option};
use iotrace_core::report::count;
use iotrace_core::samples::sheet::Sheet;

/// Bytes of a message.
pub const SIZES: [usize; 4] = [16 << 10, 64 << 10, 128 << 10, 256 << 10];
/// Messages of one sample.
const MESSAGES: usize = 15;
const PAGE: usize = 4096;
/// Bytes of a segment beside the page: the timestamps among the options of the TCP header.
const OPTIONS: usize = 12;
/// `TCP_ZEROCOPY_RECEIVE` of `linux/tcp.h`.
const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;

/// The first fields of `struct tcp_zerocopy_receive`, as of 4.18; the kernel takes any length.
#[repr(C)]
#[derive(Default)]
struct Receive {
    address: u64,
    length: u32,
    /// Bytes at the head of the queue that cannot be mapped.
    recv_skip_hint: u32,
    inq: u32,
    err: i32,
}

/// Bytes that were received, and how many of them were mapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapped {
    bytes: u64,
    mapped: u64,
}

impl Mapped {
    /// The bytes in a sentence; `None` if nothing was received in this way.
    pub fn finding(&self) -> Option<String> {
        let Self { bytes, mapped } = self;
        (*bytes > 0).then(|| {
            let (mapped, all) = (count(mapped / 1024), count(bytes / 1024));
            format!("TCP_ZEROCOPY_RECEIVE mapped {mapped} of {all} KiB instead of copying them.")
        })
    }
}

/// Times receiving a message of `size` bytes that has arrived: with `map` by mapping it, otherwise by reading it.
///
/// No sample where the kernel lacks `TCP_ZEROCOPY_RECEIVE`, or does not let the socket be mapped.
///
/// # Errors
/// A call failed, or the message did not arrive.
pub fn timed(map: bool, size: usize, seen: &mut Mapped, sheet: &mut Sheet) -> io::Result<()> {
    let Some(pair) = pair(size)? else { return Ok(()) };
    let Some(from) = Area::anonymous(size) else { return Ok(()) };
    let Some(to) = Area::of_socket(pair.reader(), size) else { return Ok(()) };
    let mut buffer = vec![1; size];
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        if !send(&pair, &from, size)? {
            return Ok(());
        }
        pair.arrived(size)?;
        let start = monotonic_ns();
        if map {
            let Some(mapped) = receive(&pair, &to, &mut buffer)? else { return Ok(()) };
            seen.bytes += size as u64;
            seen.mapped += mapped as u64;
        } else {
            pair.read_all(&mut buffer)?;
        }
        times.push((monotonic_ns() - start) as f64);
        notifications(pair.writer(), &mut Completions::default());
    }
    times.sort_by(f64::total_cmp);
    let arm = if map { "TCP_ZEROCOPY_RECEIVE" } else { "reading" };
    sheet.add("receive", arm, Some(size as f64), times[times.len() / 10]);
    Ok(())
}

/// A connection whose segments carry one page each; `None` where the kernel does not let the sender give its pages
/// (`SO_ZEROCOPY`).
fn pair(size: usize) -> io::Result<Option<Pair>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let segment = (PAGE + OPTIONS) as libc::c_int;
    set_option(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, segment)?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    writer.set_nodelay(true)?;
    let pair = Pair::of(listener.accept()?.0.into(), writer.into(), size);
    Ok(set_option(pair.writer(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).is_ok().then_some(pair))
}

/// Sends a message in pieces; `false` if the buffers are too small for it, since it is read only afterwards.
fn send(pair: &Pair, from: &Area, size: usize) -> io::Result<bool> {
    let mut sent = 0;
    while sent < size {
        let flags = libc::MSG_ZEROCOPY | libc::MSG_DONTWAIT;
        // SAFETY: the area is as long as `size`, and is never changed.
        let put = unsafe { libc::send(pair.writer(), from.at.byte_add(sent), size - sent, flags) };
        match put {
            0.. => sent += put as usize,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => return Ok(false),
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(true)
}

/// Maps what can be mapped and reads the rest; returns how many bytes were mapped. `None`: this kernel cannot map.
fn receive(pair: &Pair, to: &Area, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let (mut had, mut mapped) = (0, 0);
    while had < buffer.len() {
        let left = (buffer.len() - had) as u32;
        let mut ask = Receive { address: to.at as u64, length: left, ..Receive::default() };
        let mut long = size_of::<Receive>() as libc::socklen_t;
        // SAFETY: the structure is as long as it says, and the area that it names is a mapping of this socket.
        let got = unsafe {
            let ask = (&raw mut ask).cast();
            libc::getsockopt(pair.reader(), libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, ask, &raw mut long)
        };
        if got != 0 {
            return Ok(None);
        }
        (had, mapped) = (had + ask.length as usize, mapped + ask.length as usize);
        let rest = (ask.recv_skip_hint as usize).min(buffer.len() - had);
        pair.read_all(&mut buffer[had..had + rest])?;
        had += rest;
        if ask.length == 0 && rest == 0 {
            return Err(io::Error::other("TCP_ZEROCOPY_RECEIVE neither mapped bytes nor left any to read"));
        }
    }
    Ok(Some(mapped))
}

/// A mapping of memory, unmapped when dropped.
struct Area {
    at: *mut libc::c_void,
    size: usize,
}

impl Area {
    /// Anonymous pages, present from the start.
    fn anonymous(size: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Self::map(libc::PROT_READ | libc::PROT_WRITE, flags, -1, size)
    }

    /// Address space of a socket, into which the kernel maps received pages (`tcp_mmap` in net/ipv4/tcp.c).
    fn of_socket(fd: RawFd, size: usize) -> Option<Self> {
        Self::map(libc::PROT_READ, libc::MAP_SHARED, fd, size)
    }

    fn map(access: libc::c_int, flags: libc::c_int, fd: RawFd, size: usize) -> Option<Self> {
        // SAFETY: a new mapping at an address the kernel chooses.
        let at = unsafe { libc::mmap(ptr::null_mut(), size, access, flags, fd, 0) };
        (at != libc::MAP_FAILED).then_some(Self { at, size })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of this size.
        unsafe { libc::munmap(self.at, self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iotrace_core::summary::Source;

    #[test]
    fn every_byte_arrives_mapped_or_read() {
        let (mut seen, mut sheet) = (Mapped::default(), Sheet::default());
        sheet.measure("receive", "", "ns", Source::Clock, None);
        timed(true, SIZES[1], &mut seen, &mut sheet).unwrap();
        timed(false, SIZES[1], &mut seen, &mut sheet).unwrap();
        assert!(seen.mapped <= seen.bytes && seen.bytes % SIZES[1] as u64 == 0, "{seen:?}");
        assert_eq!(seen.finding().is_some(), seen.bytes > 0);
    }
}
