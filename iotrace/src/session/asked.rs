//! What a trace was asked for, as plain data: whoever asks fills it in.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use iotrace_core::domain::ProbeId;
use iotrace_core::domain::syscall::{self, Syscall};

use crate::bpf::settings::{Per, Wish};

/// What a trace was asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Processes, with all their threads.
    pub pids: Vec<u32>,
    /// Single threads.
    pub tids: Vec<u32>,
    /// Threads of this name, which is bytes.
    pub comm: Option<Vec<u8>>,
    /// Threads in this cgroup and below it.
    pub cgroup: Option<PathBuf>,
    /// The whole system.
    pub all: bool,
    /// Children, too.
    pub follow: bool,
    /// No children, not even of a command.
    pub no_follow: bool,
    /// Descendants that exist already.
    pub tree: bool,
    /// Go on until the processes that a command leaves behind have ended.
    pub wait_all: bool,
    /// The command to start and observe, with its arguments; empty: none.
    pub command: Vec<OsString>,
    /// The user whom the command runs as; `None`: the one behind sudo, or as iotrace does.
    pub user: Option<OsString>,
    /// Whether a file is written at the end.
    pub writes_file: bool,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Give a result at this interval.
    pub interval: Option<Duration>,
    /// The syscalls to trace, by number; `None`: all but those that are traced on request only.
    pub syscalls: Option<Vec<u32>>,
    /// By what rows are told apart.
    pub per: Per,
    /// Processes to show, the ones with the most time in calls; `None`: all.
    pub top: Option<usize>,
    /// Only calls that take at least this long.
    pub min: Option<Duration>,
    /// Most rows of sums in the kernel; `None`: as many as fit.
    pub rows: Option<u32>,
    /// Whether calls are recorded one by one and not summed up.
    pub records_only: bool,
    /// Whether what observing costs is left unmeasured, and with it the floors under copies.
    pub uncalibrated: bool,
    /// Whether calls are recorded beside the sums, to show the longest.
    pub longest: bool,
    /// Which hooks are to time the copy.
    pub tier: Wish,
    /// Probes to leave out.
    pub without: Vec<ProbeId>,
    /// Where what the probes and the host told is kept.
    pub tape: Option<PathBuf>,
}

impl Asked {
    /// Whether a syscall is to be traced.
    pub fn traces(&self, one: &Syscall) -> bool {
        self.syscalls.as_ref().map_or(!syscall::is_on_request(one), |wanted| wanted.contains(&one.nr))
    }
}
