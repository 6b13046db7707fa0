//! One connection with both its ends in this process.

use std::io::{self, PipeReader, PipeWriter};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use iotrace_core::domain::model::Transport;

/// Bytes of the largest piece that every stream holds at once: the 64 KiB of a pipe.
pub const PIECE: usize = 64 << 10;
/// Bytes of the largest datagram used; above about 16 kB the kernel keeps a datagram in more than one piece.
const DATAGRAM: usize = 32 << 10;
/// Bytes asked for as the size of each socket buffer.
const ROOM: libc::c_int = 1 << 20;

/// A connection with both its ends.
pub struct Pair {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Most bytes of one message.
    pub piece: usize,
}

impl Pair {
    /// A connection over loopback (tcp, udp) or inside the kernel (unix, pipe).
    ///
    /// # Errors
    /// The kernel refused a descriptor, or the connection.
    pub fn new(transport: Transport) -> io::Result<Self> {
        let (reader, writer): (OwnedFd, OwnedFd) = match transport {
            Transport::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let writer = TcpStream::connect(listener.local_addr()?)?;
                writer.set_nodelay(true)?;
                (listener.accept()?.0.into(), writer.into())
            }
            Transport::Udp => {
                let (reader, writer) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
                writer.connect(reader.local_addr()?)?;
                (reader.into(), writer.into())
            }
            Transport::Unix => {
                let (reader, writer) = UnixStream::pair()?;
                (reader.into(), writer.into())
            }
            Transport::Pipe => {
                let (reader, writer): (PipeReader, PipeWriter) = io::pipe()?;
                (reader.into(), writer.into())
            }
        };
        let piece = if transport == Transport::Udp { DATAGRAM } else { PIECE };
        Ok(Self::of(reader, writer, piece))
    }

    /// A pair of two connected ends, whose messages have at most `piece` bytes. Sockets get larger buffers.
    pub fn of(reader: OwnedFd, writer: OwnedFd, piece: usize) -> Self {
        // Failures are ignored: on a pipe both calls fail, and a socket with less room than asked for is enough for
        // most messages; one that does not fit fails in `write`.
        let _ = set_option(writer.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, ROOM);
        let _ = set_option(reader.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, ROOM);
        Self { reader, writer, piece }
    }

    /// The descriptor to read from.
    pub fn reader(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// The descriptor to write to.
    pub fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// Writes all bytes in one call.
    ///
    /// # Errors
    /// The call failed, or took a part of the bytes only.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is as long as it says.
        let put = unsafe { libc::write(self.writer(), bytes.as_ptr().cast(), bytes.len()) };
        match put {
            put if put == bytes.len() as isize => Ok(()),
            -1 => Err(io::Error::last_os_error()),
            put => Err(io::Error::other(format!("only {put} of {} bytes found room", bytes.len()))),
        }
    }

    /// Makes one call that reads into the buffer, and returns how many bytes it brought.
    ///
    /// # Errors
    /// `read(2)` failed.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer is as long as it says.
        let got = unsafe { libc::read(self.reader(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
    }

    /// Reads until the buffer is full.
    ///
    /// # Errors
    /// A read failed, or the connection ended before the buffer was full.
    pub fn read_all(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut had = 0;
        while had < buffer.len() {
            match self.read(&mut buffer[had..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => had += got,
            }
        }
        Ok(())
    }

    /// Waits until `bytes` bytes can be read; loopback may deliver a moment after the send has returned.
    ///
    /// # Errors
    /// The bytes did not arrive within 5 seconds, or the descriptor does not say how many there are (FIONREAD).
    pub fn arrived(&self, bytes: usize) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let mut there: libc::c_int = 0;
            // SAFETY: FIONREAD writes one int.
            if unsafe { libc::ioctl(self.reader(), libc::FIONREAD, &raw mut there) } != 0 {
                return Err(io::Error::last_os_error());
            }
            if there as usize >= bytes {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(5) {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{there} of {bytes} bytes arrived"),
                ));
            }
            std::thread::yield_now();
        }
    }
}

/// Sets an integer option of a socket.
///
/// # Errors
/// `setsockopt(2)` failed.
pub fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an int, as its size says.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_holds_a_piece() {
        for transport in [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Pipe] {
            let pair = Pair::new(transport).unwrap();
            let mut buffer = vec![7; pair.piece];
            pair.write(&buffer).unwrap();
            pair.arrived(if transport == Transport::Udp { 1 } else { pair.piece }).unwrap();
            buffer.fill(0);
            pair.read_all(&mut buffer).unwrap();
            assert!(buffer.iter().all(|&byte| byte == 7), "{transport}");
        }
    }
}
