//! Several threads asleep on one socket: how many sleeps an arrival ends, and how many calls report it.
//!
//! A thread that was woken for nothing goes back to sleep inside `epoll_wait`, so its wake-ups are counted from the
//! sleeps in the kernel's record of the call. At the end a signal to each thread interrupts it while all are
//! asleep: that ends exactly one more sleep of each, which is not counted.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{MESSAGE, epoll, take, wait};
use crate::host::proc;
use crate::study::observe::{Watching, own_tid};
use crate::study::pair::Pair;
use iotrace_core::domain::model::Transport;

/// Number of the `epoll_wait` call on x86-64.
const EPOLL_WAIT: u32 = 232;
/// Longest wait until all threads are asleep: more than it takes under emulation.
const PATIENCE: Duration = Duration::from_secs(20);

/// Timeout of each `epoll_wait`, so that a thread whose signal got lost ends by itself.
const LIMIT_MS: libc::c_int = 30_000;

/// What one arrival did: the mean over the arrivals of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Sleeps that one arrival ended.
    pub woken: f64,
    /// Calls that returned the event.
    pub told: f64,
}

/// Counts the wake-ups and reports of `arrivals` arrivals while `threads` threads sleep on one socket, each with an
/// epoll of its `own` or all with one. `flags` are those of `epoll_ctl`.
///
/// # Errors
/// A call failed, or the threads did not all fall asleep in time.
pub fn on_one_socket(
    own: bool,
    flags: u32,
    threads: usize,
    arrivals: usize,
    watching: &mut Watching,
) -> io::Result<Seen> {
    let pair = Pair::new(Transport::Unix)?;
    let epolls: Vec<OwnedFd> =
        (0..if own { threads } else { 1 }).map(|_| epoll(pair.reader(), flags)).collect::<io::Result<_>>()?;
    let tids: Vec<AtomicU32> = (0..threads).map(|_| AtomicU32::new(0)).collect();
    let over = AtomicBool::new(false);
    catch()?;
    let (done, journal) = watching.during(|| {
        std::thread::scope(|scope| {
            for (index, tid) in tids.iter().enumerate() {
                let (epoll, pair, over) = (epolls[index % epolls.len()].as_raw_fd(), &pair, &over);
                scope.spawn(move || {
                    tid.store(own_tid(), SeqCst);
                    while !over.load(SeqCst) {
                        // The last call is interrupted by the signal. A thread that ends for another reason is not
                        // asleep, which `all_asleep` reports.
                        if wait(epoll, LIMIT_MS).is_ok_and(|found| found > 0) && take(pair, MESSAGE).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            let arrived = (0..arrivals).try_for_each(|_| {
                all_asleep(&tids)?;
                pair.write(&[1; MESSAGE])
            });
            let rested = all_asleep(&tids);
            over.store(true, SeqCst);
            for tid in &tids {
                interrupt(tid.load(SeqCst));
            }
            arrived.and(rested)
        })
    });
    done?;
    let (mut sleeps, mut told) = (0, 0);
    for entry in journal.calls.iter().filter(|entry| entry.call.nr == EPOLL_WAIT) {
        if tids.iter().any(|tid| tid.load(SeqCst) == entry.call.head.tid) {
            sleeps += entry.call.sleeps;
            told += u32::from(entry.call.ret > 0);
        }
    }
    let woken = sleeps.saturating_sub(threads as u32);
    Ok(Seen { woken: f64::from(woken) / arrivals as f64, told: f64::from(told) / arrivals as f64 })
}

/// Waits until every thread sleeps in `epoll_wait`. A thread that a send woke is runnable before the send returns, so
/// it is not mistaken for one that went on sleeping.
fn all_asleep(tids: &[AtomicU32]) -> io::Result<()> {
    let (pid, began) = (std::process::id(), Instant::now());
    let asleep = |tid: &AtomicU32| proc::sleeping_in(pid, tid.load(SeqCst)) == Some(EPOLL_WAIT);
    while !tids.iter().all(asleep) {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the threads did not come to rest"));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

/// Installs a handler with which SIGUSR2 interrupts a call and does nothing else.
fn catch() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all-zero is a valid sigaction with an empty mask and no SA_RESTART; the handler does nothing.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn interrupt(tid: u32) {
    // SAFETY: a thread of this process, which catches the signal.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid as libc::pid_t, libc::SIGUSR2) };
}
