//! A running observation: drains the ring, listens to the workload, waits for its end or for Ctrl-C.
//!
//! The only module with an async runtime, of one thread: what iotrace does meanwhile must not compete
//! with what it observes.

pub mod calibrate;
pub mod error;
pub mod recorded;
pub mod trace;
pub mod until;
pub mod whom;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::MissedTickBehavior;

use crate::bpf::loader::Observer;
use crate::host::launch::Running;
use iotrace_core::records::journal::Journal;

/// How often the ring is drained. At a million calls a second 5 ms are 1.1 MiB of a 16 MiB ring.
const DRAIN: Duration = Duration::from_millis(5);
/// How long a workload may take to exit after its last word.
const GRACE: Duration = Duration::from_secs(2);

/// How often Ctrl-C or SIGTERM came.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// The last of them that a process sent, and that a command did not get from the terminal as well.
static SENT: AtomicI32 = AtomicI32::new(0);

/// From now on Ctrl-C and SIGTERM end nothing, but are remembered: [`watch`] looks, and whoever does
/// something long outside of it asks [`interrupted`]. The runtime would catch them, too, but only since the
/// first workload is watched; while the first probes are attached they would end iotrace without a word.
///
/// # Errors
/// Of `sigaction`.
pub fn catch_interrupts() -> io::Result<()> {
    extern "C" fn remember(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: with SA_SIGINFO the kernel passes a valid one. Codes above 0 are the kernel's own: a terminal's
        // Ctrl-C is SI_KERNEL (sigaction(2)).
        if unsafe { (*info).si_code } <= 0 {
            SENT.store(number, Relaxed);
        }
        INTERRUPTS.fetch_add(1, Relaxed);
    }
    for number in [libc::SIGINT, libc::SIGTERM] {
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

/// How often Ctrl-C or SIGTERM came since [`catch_interrupts`].
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Relaxed)
}

/// The signal that a process sent us; `None` where it was the terminal, which signals all its processes.
pub fn sent() -> Option<i32> {
    Some(SENT.load(Relaxed)).filter(|&number| number != 0)
}

/// Whether Ctrl-C or SIGTERM came since [`catch_interrupts`].
pub fn interrupted() -> bool {
    interrupts() > 0
}

/// Why the observation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The workload came to its end.
    Finished,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// It took longer than it possibly should.
    Stalled,
}

/// What came of it.
#[derive(Debug)]
pub struct Watched {
    /// Everything recorded.
    pub journal: Journal,
    /// What the workload wrote on its control pipe.
    pub report: Vec<u8>,
    /// Why it ended.
    pub end: End,
}

/// Watches `running` until it ends, is interrupted, or `limit` has passed.
///
/// # Errors
/// Of the runtime's set-up and of the control pipe.
pub fn watch(
    observer: &mut Observer,
    running: &mut Running,
    control: OwnedFd,
    limit: Duration,
) -> io::Result<Watched> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watching(observer, running, control, limit))
}

async fn watching(
    observer: &mut Observer,
    running: &mut Running,
    control: OwnedFd,
    limit: Duration,
) -> io::Result<Watched> {
    let mut control = pipe::Receiver::from_owned_fd(control)?;
    let mut tick = tokio::time::interval(DRAIN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let (mut journal, mut report) = (Journal::default(), Vec::new());
    let end = loop {
        tokio::select! {
            _ = tick.tick() => {
                observer.drain(|item| journal.take(item));
                if interrupted() {
                    break End::Interrupted;
                }
                if started.elapsed() > limit {
                    break End::Stalled;
                }
            }
            got = control.read_buf(&mut report) => if got? == 0 {
                // Ctrl-C on a terminal ends the workload as well.
                break if interrupted() { End::Interrupted } else { End::Finished };
            },
        }
    };
    if end == End::Finished {
        let asked = Instant::now();
        while running.try_wait()?.is_none() && asked.elapsed() < GRACE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    } else {
        running.signal(libc::SIGKILL);
    }
    observer.drain(|item| journal.take(item));
    Ok(Watched { journal, report, end })
}
