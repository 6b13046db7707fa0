//! Ctrl-C, SIGTERM and SIGHUP, remembered.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::host::signals;

/// How often Ctrl-C, SIGTERM or SIGHUP came.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// The last of them that a process sent, and that a command did not get from the terminal as well.
static SENT: AtomicI32 = AtomicI32::new(0);

/// From now on Ctrl-C, SIGTERM and SIGHUP (the terminal is gone) end nothing, but are remembered: [`super::watch`] looks, and whoever does
/// something long outside of it asks [`interrupted`]. The runtime would catch them, too, but only since the
/// first workload is watched; while the first probes are attached they would end iotrace without a word.
///
/// # Errors
/// Of `sigaction`.
pub fn catch() -> io::Result<()> {
    extern "C" fn remember(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: with SA_SIGINFO the kernel passes a valid one. Codes above 0 are the kernel's own: a terminal's
        // Ctrl-C is SI_KERNEL (sigaction(2)).
        if unsafe { (*info).si_code } <= 0 {
            SENT.store(number, Relaxed);
        }
        INTERRUPTS.fetch_add(1, Relaxed);
    }
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // nohup(1): the terminal goes, and iotrace is to go on.
        if number == libc::SIGHUP && signals::is_ignored(number) {
            continue;
        }
        // SAFETY: all-zero is a valid sigaction with an empty mask; the handler has the signature
        // of SA_SIGINFO and only stores to atomics.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = remember as Handler as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
            libc::sigaction(number, &raw const action, std::ptr::null_mut())
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// How often Ctrl-C, SIGTERM or SIGHUP came since [`catch`].
pub fn count() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// The signal that a process sent us since this was asked last; `None` where it was the terminal, which signals all
/// its processes.
pub fn take_sent() -> Option<i32> {
    Some(SENT.swap(0, Relaxed)).filter(|&number| number != 0)
}

/// Whether Ctrl-C, SIGTERM or SIGHUP came since [`catch`].
pub fn interrupted() -> bool {
    count() > 0
}
