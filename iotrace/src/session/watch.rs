//! The loop of `run`: drains the ring, listens to the workload, waits for its end or for Ctrl-C.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::MissedTickBehavior;

use crate::bpf::loader::Observer;
use crate::host::privileges::{self, Work};
use crate::host::running::Running;
use crate::session::interrupts;
use crate::session::tape::Items;
use iotrace_core::records::journal::Journal;

/// How often the ring is drained. At a million calls a second 5 ms are 1.1 MiB of a 16 MiB ring.
const DRAIN: Duration = Duration::from_millis(5);
/// How long a workload may take to exit after its last word.
const GRACE: Duration = Duration::from_secs(2);

/// How often the ring is drained at the end at most; the largest has 1 GiB (`--buffer`).
const LAST_DRAINS: usize = 17;

/// Why the observation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The workload came to its end.
    Finished,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// It took longer than it possibly should.
    Stalled,
    /// Its account is longer than it can be: the workload is not the one that was started.
    Endless,
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

/// What a workload may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time.
    pub patience: Duration,
    /// Most bytes of its account.
    pub report_bytes: usize,
    /// Most records of its calls.
    pub records: usize,
}

/// Watches `running` until it ends, is interrupted, or goes beyond its limits. `keep` gets the items of the ring buffer as
/// they come.
///
/// # Errors
/// Of the runtime's set-up and of the control pipe.
pub fn watch(
    observer: &mut Observer,
    running: &mut Running,
    control: OwnedFd,
    limits: Limits,
    keep: &mut Items<'_>,
) -> io::Result<Watched> {
    // What a workload reports is read with as little as can be; the next one needs the rest to be started.
    let _aside = privileges::put_aside(Work { command: true, ..Work::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watching(observer, running, control, limits, keep))
}

/// Takes what the probes sent, and hands the items on as they are. Says whether there may be more.
fn drain(observer: &mut Observer, journal: &mut Journal, keep: &mut Items<'_>) -> bool {
    let more = observer.drain(|item| {
        journal.take(item);
        keep.take(item);
    });
    keep.flush();
    more
}

async fn watching(
    observer: &mut Observer,
    running: &mut Running,
    control: OwnedFd,
    limits: Limits,
    keep: &mut Items<'_>,
) -> io::Result<Watched> {
    let mut control = pipe::Receiver::from_owned_fd(control)?;
    let mut tick = tokio::time::interval(DRAIN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let (mut journal, mut report) = (Journal::of_at_most(limits.records), Vec::new());
    let end = loop {
        tokio::select! {
            _ = tick.tick() => {
                drain(observer, &mut journal, keep);
                if interrupts::interrupted() {
                    break End::Interrupted;
                }
                if started.elapsed() > limits.patience {
                    break End::Stalled;
                }
            }
            got = control.read_buf(&mut report) => {
                if got? == 0 {
                    // Ctrl-C on a terminal ends the workload as well.
                    break if interrupts::interrupted() { End::Interrupted } else { End::Finished };
                }
                // It runs as the user, who may change what it does.
                if report.len() > limits.report_bytes {
                    break End::Endless;
                }
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
    // All that the largest ring holds; whoever still makes records does not keep it from ending.
    for _ in 0..LAST_DRAINS {
        if !drain(observer, &mut journal, keep) {
            break;
        }
    }
    Ok(Watched { journal, report, end })
}
