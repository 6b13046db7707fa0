//! Coalesced SIGIO: datagrams that arrive while the signal is blocked become one signal.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use iotrace_ebpf::abi::{SIGNAL_DELIVERED, SIGNAL_GENERATED};

use super::evidence::Evidence;
use super::stage::{self, Stage, Stop};
use crate::workload::gettid;

/// Number of datagrams that arrive while SIGIO is blocked.
const DATAGRAMS: usize = 5;

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handled(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Blocks SIGIO, sends the datagrams, and unblocks it.
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    let (reader, writer) = stage::udp_pair()?;
    let fd = reader.as_raw_fd();
    // SAFETY: plain calls; all zeros are valid, empty values of both structures, and the handler only adds to
    // an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handled as extern "C" fn(libc::c_int) as libc::sighandler_t;
        stage::ok(libc::sigaction(libc::SIGIO, &raw const action, std::ptr::null_mut()))?;
        stage::ok(libc::fcntl(fd, libc::F_SETOWN, gettid() as i32))?;
        stage::ok(libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut only, libc::SIGIO);
        let before = HANDLED.load(Ordering::Relaxed);
        stage::ok(libc::sigprocmask(libc::SIG_BLOCK, &raw const only, std::ptr::null_mut()))?;
        stage.begin();
        let sent = (0..DATAGRAMS).try_for_each(|_| stage::write(&writer, &[1]));
        stage::ok(libc::sigprocmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut()))?;
        stage.end();
        sent?;
        stage.note("handled", HANDLED.load(Ordering::Relaxed) - before);
    }
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let with =
        |result: i32| evidence.signals(SIGNAL_GENERATED).filter(|one| one.result == result).count() as u64;
    evidence.exactly(
        "generated",
        "signal(7): a standard signal is pending at most once",
        "signals",
        1,
        with(0),
    );
    evidence.exactly("coalesced", "all datagrams but the first", "signals", DATAGRAMS as u64 - 1, with(2));
    let delivered = evidence.signals(SIGNAL_DELIVERED).count() as u64;
    evidence.exactly(
        "delivered",
        "runs of the handler",
        "signals",
        evidence.scene.fact("handled"),
        delivered,
    );
}
