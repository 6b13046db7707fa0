//! `epoll(7)`: register the descriptors once, sleep until events are there, `recv` from those.
//!
//! ```text
//! for each fd:  epoll_ctl(ep, ADD, fd, EPOLLIN [| EPOLLET])
//! until all messages are there:
//!     n = epoll_wait(ep, events, ...)              phase 1
//!     level-triggered:  recv(fd, ...) once for each event; what remains is reported again
//!     edge-triggered:   recv(fd, ...) until EAGAIN, because what remains is not reported again
//! ```
//!
//! epoll_ctl(2), epoll_wait(2). `ep_poll_callback` collects what became ready, so `epoll_wait` looks at
//! those only; `ep_send_events` puts a level-triggered one back on its list. Edge-triggered needs
//! `O_NONBLOCK`, and costs a `recv` that returns `EAGAIN` for each event.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::Stage;
use super::log::{Recorder, bump};
use super::reader::{Inbox, Reader, Took};
use super::sys::{Stop, add_flags, errno};
use iotrace_core::domain::model::Model;

/// Most events that one `epoll_wait` returns.
const EVENTS: usize = 64;

/// Runs the loop, level- or edge-triggered.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let edge = stage.spec.model == Model::EpollEt;
    // SAFETY: takes a plain integer.
    let ep = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if ep < 0 {
        return Err(Stop::call("epoll_create1"));
    }
    // SAFETY: the kernel just made this descriptor, nothing else owns it.
    let ep = unsafe { OwnedFd::from_raw_fd(ep) };
    for (inbox, index) in stage.inboxes.iter().zip(0..) {
        let mut events = libc::EPOLLIN as u32;
        if edge {
            add_flags(inbox.fd, libc::O_NONBLOCK)?;
            events |= libc::EPOLLET as u32;
        }
        let mut event = libc::epoll_event { events, u64: index };
        // SAFETY: `event` is a valid epoll_event, and both descriptors are open.
        if unsafe { libc::epoll_ctl(ep.as_raw_fd(), libc::EPOLL_CTL_ADD, inbox.fd, &raw mut event) } != 0 {
            return Err(Stop::call("epoll_ctl"));
        }
    }
    let recorder = stage.recorder;
    let mut reader = Reader::new(recorder);
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    stage.peer.go();
    reader.begin();
    while !recorder.done() {
        // SAFETY: `events` has room for EVENTS events. On x86-64 glibc makes the call of this name.
        let n = unsafe { libc::epoll_wait(ep.as_raw_fd(), events.as_mut_ptr(), EVENTS as libc::c_int, -1) };
        match n {
            -1 if errno() == libc::EINTR => continue,
            -1 => return Err(Stop::call("epoll_wait")),
            0 => bump(&recorder.live.readiness_empty),
            _ => bump(&recorder.live.readiness),
        }
        for event in events[..n as usize].iter().take_while(|_| !recorder.done()) {
            let inbox = &mut stage.inboxes[event.u64 as usize];
            if edge {
                drain(recorder, &mut reader, inbox)?;
            } else {
                reader.take(inbox)?;
            }
        }
    }
    Ok(())
}

/// Reads until `EAGAIN`, or until the last message of the run. Returns how many calls brought data.
///
/// # Errors
/// A call failed, or the connection ended before its last message.
pub(super) fn drain(recorder: &Recorder, reader: &mut Reader, inbox: &mut Inbox) -> Result<u64, Stop> {
    let mut taken = 0;
    while !recorder.done() && reader.take(inbox)? != Took::Nothing {
        taken += 1;
    }
    Ok(taken)
}
