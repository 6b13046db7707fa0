//! What a source of an observation gives at a time, live or from a tape: records, sums, facts of the host, losses.

use crate::domain::{Fd, Loss, Triggers, WaitsFor};
use crate::records::record::Record;
use crate::rows::open::Open;
use crate::rows::sums::Snapshot;
use crate::summary::Overhead;

/// Everything that came since the batch before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// When it was taken, ns of CLOCK_MONOTONIC.
    pub at: u64,
    /// Items of the ring buffer, as the probes sent them.
    pub items: Vec<Vec<u8>>,
    /// What the host told meanwhile.
    pub facts: Facts,
    /// The sums of all processes that the kernel still has rows of, since observing began.
    pub sums: Option<Snapshot>,
    /// Sums of processes that have ended, which the kernel has no longer.
    pub retired: Option<Snapshot>,
    /// What a result needs beside the sums; with the last batch of an interval, and at the end.
    pub closing: Option<Closing>,
}

impl Batch {
    /// The records among its items, and how many items could not be decoded.
    pub fn records(&self) -> (Vec<Record>, u64) {
        let records: Vec<Record> = self.items.iter().filter_map(|item| Record::parse(item)).collect();
        let unknown = self.items.len() - records.len();
        (records, unknown as u64)
    }
}

/// What `/proc` told, at the time of the batch.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Names of threads: of the target at the start, and of those that woke it.
    pub threads: Vec<ThreadName>,
    /// Threads that have ended and whose names are not needed any more.
    pub ended_threads: Vec<u32>,
    /// Processes that have ended, among those whose rows were retired.
    pub ended_processes: Vec<u32>,
    /// Names of files, by what tells them apart.
    pub files: Vec<FileName>,
    /// Files whose rows are still in use, where the others may be forgotten; empty: nothing is forgotten.
    pub files_in_use: Vec<u64>,
    /// When iotrace itself was at work for this batch, where calls are recorded one by one.
    pub look: Option<Look>,
    /// How the epoll registrations of a process are triggered.
    pub triggers: Vec<ProcessTriggers>,
    /// TCP ports that are listened on, by `iotrace_ebpf::abi::listener`, as far as they were looked at.
    pub listening: Vec<u64>,
    /// Processes, and how long their cgroups were not allowed to run by their quotas since these were made, ns.
    pub throttled: Vec<(u32, u64)>,
    /// First threads of the processes that a command has started and left behind when it ended.
    pub left_behind: Vec<ThreadName>,
}

/// A stretch in which iotrace was at work: it may have had the CPU that a target wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Look {
    /// When it began, ns.
    pub from: u64,
    /// When it ended, ns.
    pub to: u64,
}

/// The name of a thread.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadName {
    /// Its id.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// What it is called.
    pub name: String,
}

/// The name of a file behind a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileName {
    /// What tells it from every other file, see `AggKey::file`.
    pub file: u64,
    /// What it is called.
    pub fd: Fd,
    /// The name that it shares with others where there are too many rows; `None`: it shares none.
    #[serde(default)]
    pub group: Option<String>,
    /// What a wait on it is for, where that is known.
    pub waits_for: Option<WaitsFor>,
}

/// How the epoll registrations of a process are triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessTriggers {
    /// The process.
    pub pid: u32,
    /// Its registrations.
    pub triggers: Triggers,
}

/// What a result needs beside the sums.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Closing {
    /// Which result it closes.
    pub of: Closes,
    /// Calls of known threads that are open.
    pub open: Vec<Open>,
    /// Calls that are open since before observing began.
    pub before: Vec<Since>,
    /// What the probes could not tell so far; records that arrived and could not be decoded are not in it.
    pub loss: Loss,
    /// Counts that warnings are made of.
    pub counts: Counts,
    /// What observing has cost so far.
    pub overhead: Overhead,
}

/// Which result a batch closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Closes {
    /// None: the first interval begins here, and what was before it is not told of.
    Begin,
    /// That of an interval.
    #[default]
    Interval,
    /// The whole.
    Whole,
}

/// A call that has been open since before observing began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Since {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Syscall number.
    pub nr: u32,
}

/// Counts of the probes that warnings are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Calls that found no row.
    pub rows_full: u64,
    /// Threads that found no room.
    pub threads_full: u64,
    /// Processes that joined the cgroup later and are not traced, see [`crate::rows::complete`].
    #[serde(default)]
    pub joined_late: u64,
}

impl Counts {
    /// What was counted after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            rows_full: self.rows_full.saturating_sub(before.rows_full),
            threads_full: self.threads_full.saturating_sub(before.threads_full),
            joined_late: self.joined_late.saturating_sub(before.joined_late),
        }
    }
}
