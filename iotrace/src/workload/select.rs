//! `select(2)`: hand over the set of descriptors, sleep until one is readable, `recv` from those.
//!
//! ```text
//! until all messages are there:
//!     ready = all                                  the kernel overwrites the set, so copy it each time
//!     select(highest + 1, &ready, ...)             phase 1
//!     for each fd in ready:  recv(fd, ...)         phase 2, once: what remains makes it readable again
//! ```
//!
//! `do_select` (fs/select.c) asks every descriptor up to the highest in turn, sleeps, and asks all again. An `fd_set`
//! ends at `FD_SETSIZE`. glibc's `select()` makes the call `pselect6`, so the call is made directly.

use std::os::fd::RawFd;
use std::ptr;

use super::Stage;
use super::log::bump;
use super::reader::Reader;
use super::sys::{Stop, errno};

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    // SAFETY: an all-zero fd_set is the empty set.
    let mut all: libc::fd_set = unsafe { std::mem::zeroed() };
    let mut highest = 0;
    for inbox in &stage.inboxes {
        if inbox.fd >= libc::FD_SETSIZE as RawFd {
            return Err(Stop::FdTooHigh(inbox.fd));
        }
        // SAFETY: the descriptor is below FD_SETSIZE.
        unsafe { libc::FD_SET(inbox.fd, &raw mut all) };
        highest = highest.max(inbox.fd);
    }
    let recorder = stage.recorder;
    let mut reader = Reader::new(recorder);
    stage.peer.go();
    reader.begin();
    while !recorder.done() {
        let mut ready = all;
        match select(highest + 1, &mut ready) {
            -1 if errno() == libc::EINTR => continue,
            -1 => return Err(Stop::call("select")),
            0 => bump(&recorder.live.readiness_empty),
            _ => bump(&recorder.live.readiness),
        }
        for inbox in stage.inboxes.iter_mut().take_while(|_| !recorder.done()) {
            // SAFETY: the descriptor is below FD_SETSIZE, see above.
            if unsafe { libc::FD_ISSET(inbox.fd, &raw const ready) } {
                reader.take(inbox)?;
            }
        }
    }
    Ok(())
}

/// `select(2)` for reading without a timeout.
fn select(nfds: RawFd, ready: &mut libc::fd_set) -> libc::c_long {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: `ready` is a valid fd_set with room for `nfds` bits; the other sets and the timeout are absent.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        libc::syscall(libc::SYS_select, nfds, ptr::from_mut(ready), none, none, none)
    }
    // SAFETY: as above; newer architectures have only this call, and the sixth argument, the signal mask, is absent.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe {
        libc::syscall(libc::SYS_pselect6, nfds, ptr::from_mut(ready), none, none, none, none)
    }
}
