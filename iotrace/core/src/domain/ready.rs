//! Phase 1 of a message: which sign told that data was ready, and what its thread did until then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the moment of readiness comes from, the most exact first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadySource {
    /// `sk_data_ready` of the socket.
    SkDataReady,
    /// The wake-up of the thread that slept for it.
    WakeUp,
    /// The signal the kernel generated.
    Signal,
    /// io_uring's poll wake-up.
    TaskAdd,
    /// The peer's clock after its send call: an upper bound.
    Peer,
}

/// Phase 1 over all messages. The three parts add up to the time from the request to readiness; where a message arrives
/// in pieces, the waits between its pieces are added to `blocked_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase1 {
    /// Time in which the thread could not run its own code.
    pub blocked_ns: u64,
    /// Time in which the thread spent CPU on calls that return "not yet".
    pub polling_ns: u64,
    /// Time in which the thread ran its own code, or waited for something else.
    pub free_ns: u64,
}

/// What the thread did for the longest part of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Meant {
    /// The thread could not run its own code.
    Blocked,
    /// The thread asked again and again.
    Polling,
    /// The thread did something else.
    Free,
}
