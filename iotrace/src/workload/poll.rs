//! `poll(2)`: hand over an array of descriptors, sleep until one is readable, `recv` from those.
//!
//! ```text
//! until all messages are there:
//!     poll(fds, n, -1)                                      phase 1
//!     for each fd with revents != 0:  recv(fd, ...)         phase 2, once: what remains is reported again
//! ```
//!
//! There is no limit like `FD_SETSIZE`, and the array can be used again for the next call. `do_sys_poll` (fs/select.c)
//! still asks every descriptor, at entry and after each wake-up.

use super::Stage;
use super::log::bump;
use super::reader::Reader;
use super::sys::{Stop, errno};

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let mut fds: Vec<libc::pollfd> = stage
        .inboxes
        .iter()
        .map(|inbox| libc::pollfd { fd: inbox.fd, events: libc::POLLIN, revents: 0 })
        .collect();
    let recorder = stage.recorder;
    let mut reader = Reader::new(recorder);
    stage.peer.go();
    reader.begin();
    while !recorder.done() {
        match poll(&mut fds) {
            -1 if errno() == libc::EINTR => continue,
            -1 => return Err(Stop::call("poll")),
            0 => bump(&recorder.live.readiness_empty),
            _ => bump(&recorder.live.readiness),
        }
        for (fd, inbox) in fds.iter().zip(&mut stage.inboxes).take_while(|_| !recorder.done()) {
            if fd.revents != 0 {
                reader.take(inbox)?;
            }
        }
    }
    Ok(())
}

/// `poll(2)` without a timeout: the system call `poll` on architectures that have it.
fn poll(fds: &mut [libc::pollfd]) -> libc::c_long {
    // SAFETY: pointer and length are of one slice of pollfds.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        libc::syscall(libc::SYS_poll, fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1)
    }
    // SAFETY: as above; glibc turns it into ppoll where the kernel has no poll.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe {
        libc::c_long::from(libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1))
    }
}
