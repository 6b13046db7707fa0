//! Many connections, of which the study chooses how many have data to read.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// UDP sockets, all connected to one sender, so that a connection takes one descriptor only.
pub struct Crowd {
    sockets: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
    sender: UdpSocket,
}

impl Crowd {
    /// `size` connections over loopback.
    ///
    /// # Errors
    /// A socket could not be made or connected.
    pub fn new(size: usize) -> io::Result<Self> {
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        let to = sender.local_addr()?;
        let sockets: Vec<UdpSocket> = (0..size)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<_>>()?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
        Ok(Self { sockets, addresses, sender })
    }

    /// The descriptors of the first `size` connections.
    pub fn fds(&self, size: usize) -> Vec<RawFd> {
        self.sockets.iter().take(size).map(AsRawFd::as_raw_fd).collect()
    }

    /// Sends a byte to connection `index`.
    ///
    /// # Errors
    /// `sendto(2)` failed.
    pub fn send(&self, index: usize) -> io::Result<()> {
        self.sender.send_to(&[1], self.addresses[index]).map(drop)
    }

    /// Sends a byte to each of the first `size` connections, and waits until all have arrived.
    ///
    /// # Errors
    /// A send failed, or not all bytes arrived within 5 seconds.
    pub fn fill(&self, size: usize) -> io::Result<()> {
        for index in 0..size {
            self.send(index)?;
        }
        arrived(&self.fds(size))
    }

    /// Reads once from connection `index`, without waiting.
    pub fn take(&self, index: usize) {
        // A missing byte shows in the records of the study: there is nothing to do about it here.
        let _ = self.sockets[index].recv(&mut [0; 4]);
    }

    /// Reads once from each of the first `size` connections: the bytes of [`Self::fill`].
    pub fn drain(&self, size: usize) {
        (0..size).for_each(|index| self.take(index));
    }
}

/// Waits until every descriptor can be read; loopback may deliver a moment after the send has returned.
fn arrived(fds: &[RawFd]) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let entry = |&fd: &RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut list: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    let began = Instant::now();
    loop {
        // SAFETY: as many valid entries as it says.
        let found = unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, 0) };
        if found < 0 {
            return Err(io::Error::last_os_error());
        }
        if found as usize == list.len() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let text = format!("{found} of {} bytes sent over loopback arrived", list.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::yield_now();
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
