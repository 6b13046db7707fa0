//! Many connections of which few or all have something to read.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// UDP sockets, each connected to one sender: a connection for the price of one descriptor.
pub struct Crowd {
    sockets: Vec<UdpSocket>,
    sender: UdpSocket,
}

impl Crowd {
    /// `size` connections over loopback.
    pub fn new(size: usize) -> io::Result<Self> {
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        let to = sender.local_addr()?;
        let sockets = (0..size)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { sockets, sender })
    }

    /// The descriptors of the first `size`.
    pub fn fds(&self, size: usize) -> Vec<RawFd> {
        self.sockets.iter().take(size).map(AsRawFd::as_raw_fd).collect()
    }

    /// Sends a byte to one of them.
    pub fn send(&self, index: usize) -> io::Result<()> {
        let to = self.sockets[index].local_addr()?;
        self.sender.send_to(&[1], to).map(drop)
    }

    /// Sends a byte to each of the first `size`, and waits until all are there.
    pub fn fill(&self, size: usize) -> io::Result<()> {
        for index in 0..size {
            self.send(index)?;
        }
        (0..size).try_for_each(|index| arrived(self.sockets[index].as_raw_fd()))
    }

    /// Reads once from one of them.
    pub fn take(&self, index: usize) {
        // What is not there shows in the records.
        let _ = self.sockets[index].recv(&mut [0; 4]);
    }

    /// Reads what is there.
    pub fn drain(&self, size: usize) {
        let mut byte = [0; 4];
        for socket in &self.sockets[..size] {
            while socket.recv(&mut byte).is_ok() {}
        }
    }
}

/// Waits until the descriptor has something to read; what the loopback delivers may come a moment later.
pub fn arrived(fd: RawFd) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    match unsafe { libc::poll(&raw mut poll, 1, PATIENCE.as_millis() as libc::c_int) } {
        1 => Ok(()),
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, "what was sent over loopback did not arrive")),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_be_drained() {
        let crowd = Crowd::new(3).unwrap();
        crowd.fill(2).unwrap();
        crowd.drain(3);
        let mut poll = libc::pollfd { fd: crowd.fds(1)[0], events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 0);
    }
}
