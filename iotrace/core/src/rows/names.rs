//! What threads, processes and files are called.

use std::collections::{HashMap, HashSet};

use crate::domain::{Fd, Triggers, WaitsFor};
use crate::rows::longest::Longest;
use crate::rows::retired::StandIn;

/// Most threads whose names are kept; of more, the numbers are shown. The probes have room for some 36,000 at a time.
pub const THREADS: usize = 1 << 17;

/// A thread that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What it is called.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Whether it made a traced call.
    pub called: bool,
}

/// What is known of threads and files beside the sums.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Name and process id of each thread, by thread id.
    pub threads: HashMap<u32, Thread>,
    /// Files, by [`iotrace_ebpf::abi::AggKey::file`].
    pub files: HashMap<u64, Fd>,
    /// Names that files share with others, by [`iotrace_ebpf::abi::AggKey::file`].
    pub groups: HashMap<u64, String>,
    /// What waits on a file are for, where that is known, by [`iotrace_ebpf::abi::AggKey::file`].
    pub waits: HashMap<u64, WaitsFor>,
    /// How epoll registrations are triggered, by process; only processes that were looked at.
    pub triggers: HashMap<u32, Triggers>,
    /// Number of threads that ended and whose names were dropped, by process.
    pub ended_threads: HashMap<u32, u64>,
    /// Entries that stand for all ended processes of one name: the name, and the number of processes, by entry.
    pub stand_ins: HashMap<u32, StandIn>,
    /// TCP ports that were listened on, by `iotrace_ebpf::abi::listener`.
    pub listening: HashSet<u64>,
    /// How long the cgroup of each process was throttled, ns: when it was looked at first, and last.
    pub throttled: HashMap<u32, [u64; 2]>,
    /// Numbers of the syscalls that are traced.
    pub traced: HashSet<u32>,
    /// Whether function hooks marked the copies.
    pub exact: bool,
    /// The longest calls, where calls are recorded one by one.
    pub longest: Longest,
}

impl Names {
    /// Name of a process: that of its leading thread, else of any other thread; `None` if no thread was seen.
    pub fn known(&self, pid: u32) -> Option<&str> {
        let leader = self.threads.get(&pid).map(|thread| &thread.name);
        let any = || self.threads.values().find(|thread| thread.pid == pid).map(|thread| &thread.name);
        leader.or_else(any).map(String::as_str)
    }

    /// Name of a process in a result: its own, or its number where no name is known.
    pub fn process(&self, pid: u32) -> String {
        self.known(pid).map_or_else(|| format!("process {pid}"), str::to_owned)
    }
}
