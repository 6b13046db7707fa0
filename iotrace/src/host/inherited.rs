//! What this process got from whoever started it, and the language's runtime changes before `main`: a command is to
//! get it as it was.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// Standard descriptors that were closed, a bit each.
static CLOSED: AtomicU8 = AtomicU8::new(0);
/// Whether SIGPIPE was ignored.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// The C library calls this before `main` (`.init_array`). Rust's runtime then ignores SIGPIPE and opens `/dev/null` for
/// standard descriptors that are closed (`library/std/src/sys/pal/unix/mod.rs`, `init`).
#[used]
// SAFETY: a function of the signature that the section wants; it calls nothing that needs Rust's runtime.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: plain calls; all zeros are a valid sigaction to be filled in.
    unsafe {
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) < 0 {
                CLOSED.fetch_or(1 << fd, Relaxed);
            }
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
        PIPE_IGNORED.store(action.sa_sigaction == libc::SIG_IGN, Relaxed);
    }
}

/// Whether a standard descriptor was closed; it is `/dev/null` now.
pub fn was_closed(fd: i32) -> bool {
    (0..3).contains(&fd) && CLOSED.load(Relaxed) & 1 << fd != 0
}

/// Gives all of it back, in a forked child right before it executes a command.
pub fn restore() {
    let pipe = if PIPE_IGNORED.load(Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: plain, async-signal-safe calls. What is closed is `/dev/null`, which Rust's runtime put there.
    unsafe {
        libc::signal(libc::SIGPIPE, pipe);
        for fd in (0..3).filter(|fd| CLOSED.load(Relaxed) & 1 << fd != 0) {
            libc::close(fd);
        }
    }
}
