//! What the time of a process means, in a sentence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a process spent its time on, by one rule of `docs/diagnosis.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Stable name of the rule.
    pub code: Code,
    /// How much of the observed time it is, 0 to 1: of the time on the clock, and more than 1 where several threads
    /// spent it at once; of idle processes, of the time of all threads together.
    pub share: f64,
    /// The finding, in one sentence.
    pub text: String,
    /// The figures that it rests on; names end in their unit.
    pub evidence: BTreeMap<String, u64>,
    /// What to look at next, and the command to do so.
    pub next: String,
}

/// Names of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Idle: it waits for the next request or event.
    WaitingForRequests,
    /// It waits for the answer of another.
    WaitingForReply,
    /// Idle: it waits for connections.
    WaitingForConnections,
    /// Data lay ready while its threads did something else.
    Late,
    /// Others had the CPU.
    CpuStarved,
    /// It runs its own code.
    Computing,
    /// Its threads wait for a lock that another thread holds.
    LockContention,
    /// It waits for a disk to read.
    DiskReads,
    /// It waits until what it wrote is on the disk.
    DurableWrites,
    /// It moves few bytes with each call.
    SmallIo,
    /// It asks again and again.
    Polling,
    /// It copies much.
    Copying,
    /// It waits until its peer has read.
    WaitingForRoom,
    /// The quota of its cgroup was used up.
    Throttled,
    /// It sleeps until a time.
    Timers,
    /// No rule fits.
    None,
}
