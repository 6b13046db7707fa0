//! What the acting process says of what it did, by clocks of its own. Crosses a process boundary as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that was played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The acting process.
    pub pid: u32,
    /// One entry a scene, in order.
    pub scenes: Vec<Scene>,
}

/// One thing that was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Its name.
    pub name: String,
    /// When it began, CLOCK_MONOTONIC in ns.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Calls, each between two readings of the clock; those of a thread in order.
    pub calls: Vec<Bracket>,
    /// What else was counted or read from the kernel's own accounts.
    pub facts: BTreeMap<String, u64>,
    /// Why it could not be played.
    pub unable: Option<Unable>,
}

impl Scene {
    /// A fact; 0 if it was not noted.
    pub fn fact(&self, name: &str) -> u64 {
        self.facts.get(name).copied().unwrap_or(0)
    }
}

/// What stood in the way of a scene.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unable {
    /// The reason.
    pub why: String,
    /// The first kernel that can do it, if it is one that does not depend on settings.
    pub since: Option<(u32, u32)>,
}

/// One call, as its thread saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// The thread.
    pub tid: u32,
    /// The syscall.
    pub nr: u32,
    /// The descriptor, where the first argument is one.
    pub fd: Option<i32>,
    /// The clock right before.
    pub before_ns: u64,
    /// The clock right after.
    pub after_ns: u64,
    /// What it returned; minus errno if it failed.
    pub ret: i64,
    /// CPU time of the thread, read before and after the two clocks (CLOCK_THREAD_CPUTIME_ID).
    pub cpu_ns: u64,
    /// The clock right before and right after the call that ended its wait.
    pub sent: Option<(u64, u64)>,
    /// Of `after_ns - before_ns`, the time it waited for a CPU (`/proc/TID/schedstat`), where that was read.
    pub delay_ns: Option<u64>,
    /// When the kernel stamped the datagram (SO_TIMESTAMPNS), as CLOCK_MONOTONIC.
    pub stamp_ns: Option<u64>,
}

impl Bracket {
    /// From the one clock to the other.
    pub fn elapsed(&self) -> i64 {
        self.after_ns.saturating_sub(self.before_ns) as i64
    }
}
