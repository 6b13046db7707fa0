//! Nonblocking I/O: `recv` on an `O_NONBLOCK` descriptor, again and again while it says `EAGAIN`.
//!
//! ```text
//! until all messages are there:
//!     for each fd:  n = recv(fd, ...)      EAGAIN: nothing yet
//!     nothing on any of them:  nanosleep(poll interval), if there is one
//! ```
//!
//! fcntl(2), recv(2). Phase 1 is polling: the thread is awake and spends CPU on every `EAGAIN`. The copy blocks as in
//! the other models. nanosleep(2) sleeps longer than asked, by the timer slack of the thread (50 us by default,
//! `PR_SET_TIMERSLACK`). The workload leaves the slack at its default, as an ordinary program does.

use super::Stage;
use super::reader::{Reader, Took};
use super::sys::{Stop, add_flags, nanosleep};

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    for inbox in &stage.inboxes {
        add_flags(inbox.fd, libc::O_NONBLOCK)?;
    }
    let recorder = stage.recorder;
    let mut reader = Reader::new(recorder);
    let pause = stage.spec.poll_interval_ns;
    stage.peer.go();
    reader.begin();
    while !recorder.done() {
        let mut nothing = true;
        for inbox in stage.inboxes.iter_mut().take_while(|_| !recorder.done()) {
            nothing &= reader.take(inbox)? == Took::Nothing;
        }
        if nothing && pause > 0 {
            nanosleep(pause);
        }
    }
    Ok(())
}
