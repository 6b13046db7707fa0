//! Reference copies: ordinary reads of one byte and of a whole message, which are queued before they are read.
//!
//! A request that io_uring carries out in task work has no mark at its beginning, and on UDP and pipes none at the
//! beginning of its copy. The cost of such a copy is estimated from an ordinary `recv` or `read` of the same bytes on
//! the same kernel, seen by the same probes.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::host::launch::pipe;
use iotrace_core::domain::model::Transport;
use iotrace_core::domain::spec::{Reference, Spec};

/// Number of reads of each size: enough for a median.
const READS: usize = 24;
/// Most bytes of a reference read: half of the 64 KiB that a pipe holds, so that the writer never blocks.
const MOST: u64 = 32 << 10;

/// Makes the reference reads if the run needs them: for io_uring on UDP and pipes. `None` if it does not.
///
/// # Errors
/// A call failed that makes the pair or moves the bytes.
pub fn reads(spec: &Spec) -> io::Result<Option<Reference>> {
    if !spec.model.is_io_uring() || !matches!(spec.transport, Transport::Udp | Transport::Pipe) {
        return Ok(None);
    }
    let bytes = spec.size.clamp(2, MOST);
    let (from, to) = if spec.transport == Transport::Udp { datagrams()? } else { pipe()? };
    let mut buffer = vec![0u8; bytes as usize];
    for _ in 0..READS {
        for size in [1, bytes as usize] {
            // SAFETY: the buffer has room for `size` bytes; a write of so few is never partial.
            let moved = unsafe {
                let put = libc::write(to.as_raw_fd(), buffer.as_ptr().cast(), size);
                if put < 0 { put } else { libc::read(from.as_raw_fd(), buffer.as_mut_ptr().cast(), size) }
            };
            if moved != size as isize {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(Some(Reference { fd: from.as_raw_fd(), bytes }))
}

/// Two connected UDP sockets on loopback: the reading and the writing end.
fn datagrams() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    reader.connect(writer.local_addr()?)?;
    writer.connect(reader.local_addr()?)?;
    Ok((reader.into(), writer.into()))
}
