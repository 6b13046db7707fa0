//! Signals whose action iotrace changes for itself, and gives back to the commands that it starts.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{mem, ptr};

/// Whether the caller had iotrace ignore the end of children.
static CHILDREN_WERE_IGNORED: AtomicBool = AtomicBool::new(false);

/// At the start of iotrace, before any thread and any child:
///
/// - SIGCHLD that the caller ignored gets its default action: the kernel keeps no status of a child's end otherwise
///   (waitpid(2), ECHILD).
/// - SIGXFSZ ends nothing: a file that grows beyond `ulimit -f` is an error of writing it (EFBIG, setrlimit(2)).
pub fn prepare() {
    if action(libc::SIGCHLD) == libc::SIG_IGN {
        CHILDREN_WERE_IGNORED.store(true, Relaxed);
        set(libc::SIGCHLD, libc::SIG_DFL);
    }
    // A handler and not SIG_IGN, which a command would inherit: execve resets handlers (signal(7)).
    if action(libc::SIGXFSZ) == libc::SIG_DFL {
        set(libc::SIGXFSZ, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
}

/// In a forked child before its `execve`: the actions that the caller of iotrace chose. Async-signal-safe.
pub fn give_back() {
    if CHILDREN_WERE_IGNORED.load(Relaxed) {
        set(libc::SIGCHLD, libc::SIG_IGN);
    }
}

/// Whether a signal is ignored, as nohup(1) does with SIGHUP.
pub fn is_ignored(number: i32) -> bool {
    action(number) == libc::SIG_IGN
}

extern "C" fn nothing(_: libc::c_int) {}

fn action(number: i32) -> libc::sighandler_t {
    // SAFETY: all-zero is a valid sigaction, and nothing is changed without a new one.
    unsafe {
        let mut now: libc::sigaction = mem::zeroed();
        libc::sigaction(number, ptr::null(), &raw mut now);
        now.sa_sigaction
    }
}

fn set(number: i32, to: libc::sighandler_t) {
    // SAFETY: all-zero is a valid sigaction with an empty mask; the action is a constant of libc, or a handler that
    // does nothing. It cannot fail for a signal that may be caught (sigaction(2)).
    unsafe {
        let mut new: libc::sigaction = mem::zeroed();
        new.sa_sigaction = to;
        new.sa_flags = libc::SA_RESTART;
        libc::sigaction(number, &raw const new, ptr::null_mut());
    }
}
