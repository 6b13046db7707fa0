//! The calls that say which of many descriptors can be read: select, poll, epoll, io_uring.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use io_uring::{IoUring, opcode, types};

/// The calls, by the names of their arms.
pub const WAYS: [&str; 5] = ["select", "poll", "epoll", "epoll-et", "io-uring"];

const BITS: usize = libc::c_ulong::BITS as usize;

/// One of the calls, set up for its descriptors.
pub struct Asker(Way);

enum Way {
    /// `select(2)`: a set of bits as large as the highest descriptor needs, handed over again by each call.
    Select { all: Vec<libc::c_ulong>, set: Vec<libc::c_ulong>, highest: RawFd },
    /// `poll(2)`: a list, handed over again by each call.
    Poll { list: Vec<libc::pollfd> },
    /// `epoll(7)`: the descriptors are registered once.
    Epoll { epoll: OwnedFd, fds: Vec<RawFd>, events: Vec<libc::epoll_event>, flags: u32 },
    /// `io_uring(7)`: one poll request for each descriptor; the next call makes completed requests again.
    Uring { ring: Box<IoUring>, fds: Vec<RawFd> },
}

impl Asker {
    /// Sets up the call whose arm has this name, for `fds`.
    ///
    /// # Errors
    /// The kernel refused a descriptor of its own (epoll, io_uring) or the registration of one of `fds`.
    pub fn new(way: &str, fds: &[RawFd]) -> io::Result<Self> {
        match way {
            "select" => {
                let highest = fds.iter().copied().max().unwrap_or(0);
                let mut all = vec![0; highest as usize / BITS + 1];
                for &fd in fds {
                    all[fd as usize / BITS] |= 1 << (fd as usize % BITS);
                }
                Ok(Self(Way::Select { set: all.clone(), all, highest }))
            }
            "poll" => {
                let entry = |&fd: &RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                Ok(Self(Way::Poll { list: fds.iter().map(entry).collect() }))
            }
            "io-uring" => Self::uring(fds),
            _ => Self::epoll(fds, if way == "epoll-et" { libc::EPOLLET as u32 } else { 0 }),
        }
    }

    fn epoll(fds: &[RawFd], flags: u32) -> io::Result<Self> {
        let flags = flags | libc::EPOLLIN as u32;
        // SAFETY: takes a plain integer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor, nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; fds.len().max(1)];
        let asker = Self(Way::Epoll { epoll, fds: fds.to_vec(), events, flags });
        asker.control(libc::EPOLL_CTL_ADD, fds.len())?;
        Ok(asker)
    }

    fn uring(fds: &[RawFd]) -> io::Result<Self> {
        let entries = (fds.len() as u32).next_power_of_two().max(8);
        let mut ring = Box::new(IoUring::new(entries)?);
        for (index, &fd) in fds.iter().enumerate() {
            arm(&mut ring, fd, index)?;
        }
        ring.submit()?;
        Ok(Self(Way::Uring { ring, fds: fds.to_vec() }))
    }

    /// `epoll_ctl` for the first `most` descriptors.
    fn control(&self, operation: libc::c_int, most: usize) -> io::Result<()> {
        let Way::Epoll { epoll, fds, flags, .. } = &self.0 else { return Ok(()) };
        for (&fd, index) in fds.iter().take(most).zip(0..) {
            let mut event = libc::epoll_event { events: *flags, u64: index };
            // SAFETY: a valid epoll_event, and both descriptors are open.
            if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &raw mut event) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Edge-triggered epoll does not report an arrival twice: registers the first `most` descriptors again, so that
    /// it reports them as it would report new arrivals. Does nothing for the other calls.
    ///
    /// # Errors
    /// `epoll_ctl` failed.
    pub fn rearm(&self, most: usize) -> io::Result<()> {
        match &self.0 {
            Way::Epoll { flags, .. } if flags & libc::EPOLLET as u32 != 0 => {
                self.control(libc::EPOLL_CTL_MOD, most)
            }
            _ => Ok(()),
        }
    }

    /// Makes the call once and returns how many descriptors can be read. With `wait` it sleeps until one can.
    ///
    /// # Errors
    /// The call failed. A call that a signal interrupted (`EINTR`) is made again.
    pub fn ask(&mut self, wait: bool) -> io::Result<usize> {
        loop {
            let found = self.once(wait);
            if found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                continue;
            }
            return found;
        }
    }

    fn once(&mut self, wait: bool) -> io::Result<usize> {
        let timeout = if wait { -1 } else { 0 };
        let found = match &mut self.0 {
            Way::Select { all, set, highest } => {
                set.copy_from_slice(all);
                let mut zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
                let none = ptr::null_mut::<libc::fd_set>();
                let time = if wait { ptr::null_mut() } else { &raw mut zero };
                // SAFETY: the set has a bit for every descriptor up to the highest; the other sets are absent.
                unsafe { libc::select(*highest + 1, set.as_mut_ptr().cast(), none, none, time) }
            }
            Way::Poll { list } => {
                // SAFETY: as many valid entries as it says.
                unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, timeout) }
            }
            Way::Epoll { epoll, events, .. } => {
                let room = events.len() as libc::c_int;
                // SAFETY: room for as many events as it says.
                unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), room, timeout) }
            }
            Way::Uring { ring, fds } => return enter(ring, fds, wait),
        };
        if found < 0 { Err(io::Error::last_os_error()) } else { Ok(found as usize) }
    }
}

/// One `io_uring_enter`: submits the requests that were made again after the last call, and takes the completions.
fn enter(ring: &mut IoUring, fds: &[RawFd], wait: bool) -> io::Result<usize> {
    const GETEVENTS: u32 = 1;
    let pending = ring.submission().len() as u32;
    // SAFETY: no signal mask is handed over.
    unsafe { ring.submitter().enter::<libc::sigset_t>(pending, u32::from(wait), GETEVENTS, None)? };
    let done: Vec<usize> = ring.completion().map(|one| one.user_data() as usize).collect();
    for &index in &done {
        arm(ring, fds[index], index)?;
    }
    Ok(done.len())
}

fn arm(ring: &mut IoUring, fd: RawFd, index: usize) -> io::Result<()> {
    let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build().user_data(index as u64);
    // SAFETY: a poll request refers to no memory.
    unsafe { ring.submission().push(&entry) }.map_err(|_| io::Error::other("the submission ring is full"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stderr::say;
    use crate::study::crowd::Crowd;

    #[test]
    fn every_way_finds_what_is_ready_and_nothing_else() {
        let crowd = Crowd::new(70).unwrap();
        for way in WAYS {
            let mut asker = match Asker::new(way, &crowd.fds(70)) {
                Ok(asker) => asker,
                Err(error) if way == "io-uring" => {
                    say(&format!("no io_uring here: {error}"));
                    continue;
                }
                Err(error) => panic!("{way}: {error}"),
            };
            assert_eq!(asker.ask(false).unwrap(), 0, "{way}");
            crowd.fill(3).unwrap();
            assert_eq!(asker.ask(true).unwrap(), 3, "{way}");
            asker.rearm(3).unwrap();
            assert_eq!(asker.ask(false).unwrap(), 3, "{way}: what is not read is reported again");
            crowd.drain(70);
        }
    }
}
