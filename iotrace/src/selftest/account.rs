//! The account of the acting process: what it did, by clocks of its own. It crosses to the observing process as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The account of all scenes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Process id of the acting process.
    pub pid: u32,
    /// One entry for each scene, in the order in which they were played.
    pub scenes: Vec<Scene>,
}

/// The account of one scene.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Name of the scene.
    pub name: String,
    /// When the scene began, CLOCK_MONOTONIC in ns.
    pub from_ns: u64,
    /// When the scene ended, CLOCK_MONOTONIC in ns.
    pub to_ns: u64,
    /// The calls, each between two readings of the clock. Calls of one thread are in order.
    pub calls: Vec<Bracket>,
    /// Numbers that were counted or read from the kernel's own accounts, by name.
    pub facts: BTreeMap<String, u64>,
    /// Why the scene could not be played; `None`: it was played.
    pub unable: Option<Unable>,
}

impl Scene {
    /// The fact `name`; 0 if it was not noted.
    pub fn fact(&self, name: &str) -> u64 {
        self.facts.get(name).copied().unwrap_or(0)
    }
}

/// Why a scene could not be played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unable {
    /// The reason, in words.
    pub why: String,
    /// Major and minor number of the first kernel that can play the scene; `None` where that depends on settings.
    pub since: Option<(u32, u32)>,
}

/// One call, by the clocks of its thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// Id of the thread.
    pub tid: u32,
    /// Number of the syscall.
    pub nr: u32,
    /// The descriptor, where the first argument is one.
    pub fd: Option<i32>,
    /// CLOCK_MONOTONIC right before the call, ns.
    pub before_ns: u64,
    /// CLOCK_MONOTONIC right after the call, ns.
    pub after_ns: u64,
    /// The value that the call returned; `-errno` if it failed.
    pub ret: i64,
    /// CPU time of the thread from before the first to after the second reading, ns (CLOCK_THREAD_CPUTIME_ID).
    pub cpu_ns: u64,
    /// The call of another thread that ended the wait of this call.
    pub sent: Option<Sent>,
    /// The part of `after_ns - before_ns` in which the thread waited for a CPU, ns (`/proc/TID/schedstat`); `None`
    /// where that was not read.
    pub delay_ns: Option<u64>,
    /// When the kernel stamped the datagram (SO_TIMESTAMPNS), converted to CLOCK_MONOTONIC, ns.
    pub stamp_ns: Option<u64>,
}

/// The clock around a call that sends: the message left the sender between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// CLOCK_MONOTONIC right before the call, ns.
    pub before_ns: u64,
    /// CLOCK_MONOTONIC right after the call, ns.
    pub after_ns: u64,
}

impl Bracket {
    /// Nanoseconds from the first to the second reading of the clock.
    pub fn elapsed(&self) -> i64 {
        self.after_ns.saturating_sub(self.before_ns) as i64
    }
}
