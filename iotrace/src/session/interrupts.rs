//! Ctrl-C, SIGTERM and SIGHUP, remembered; and what is meant for the command.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::host::signals;

/// How often Ctrl-C, SIGTERM or SIGHUP came.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// Signals that came to iotrace and not to a command of the same terminal: bit n for number n.
static SENT: AtomicU64 = AtomicU64::new(0);
/// Whether iotrace leads its session: when the terminal goes away, the kernel signals its leader and its foreground
/// group, which need not be that of the command (`disassociate_ctty`, `tty_vhangup_session`).
static LEADS: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, SIGTERM and SIGHUP (the terminal is gone) end nothing, but are remembered: [`super::watch`] looks, and whoever does
/// something long outside of it asks [`interrupted`]. The runtime would catch them, too, but only since the
/// first workload is watched; while the first probes are attached they would end iotrace without a word.
///
/// # Errors
/// Of `sigaction`.
pub fn catch() -> io::Result<()> {
    extern "C" fn remember(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        if number == libc::SIGHUP && LEADS.load(Relaxed) {
            SENT.fetch_or(1 << number, Relaxed);
        }
        relayed(number, info, context);
        INTERRUPTS.fetch_add(1, Relaxed);
    }
    // SAFETY: no arguments that could be wrong.
    LEADS.store(unsafe { libc::getsid(0) == libc::getpid() }, Relaxed);
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // nohup(1): the terminal goes, and iotrace is to go on.
        if number == libc::SIGHUP && signals::is_ignored(number) {
            continue;
        }
        handle(number, remember)?;
    }
    Ok(())
}

/// From now on what would end iotrace, and is meant for the command that it has started, is remembered for it:
/// [`take_sent`]. What the caller ignores stays ignored, by both.
///
/// # Errors
/// Of `sigaction`.
pub fn relay() -> io::Result<()> {
    let named = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGIO, libc::SIGWINCH];
    for number in named.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        if !signals::is_ignored(number) {
            handle(number, relayed)?;
        }
    }
    Ok(())
}

/// Remembers a signal that a process sent.
extern "C" fn relayed(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid one. Codes above 0 are the kernel's own: a terminal's Ctrl-C
    // is SI_KERNEL (sigaction(2)), and a command gets it as well.
    if unsafe { (*info).si_code } <= 0 {
        SENT.fetch_or(1 << number, Relaxed);
    }
}

fn handle(number: i32, handler: Handler) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction with an empty mask; the handler has the signature of SA_SIGINFO and only
    // stores to atomics.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
        libc::sigaction(number, &raw const action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// How often Ctrl-C, SIGTERM or SIGHUP came since [`catch`].
pub fn count() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// The signals that came to us alone since this was asked last; those of a terminal come to all its processes.
pub fn take_sent() -> impl Iterator<Item = i32> {
    let sent = SENT.swap(0, Relaxed);
    (1..64).filter(move |number| sent & 1 << number != 0)
}

/// Whether Ctrl-C, SIGTERM or SIGHUP came since [`catch`].
pub fn interrupted() -> bool {
    count() > 0
}
