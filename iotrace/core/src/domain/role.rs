//! What a call is for, whose thread made it, which way it moves data, and how its copy is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a syscall is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Moves data to the process; can have both phases.
    Data,
    /// Waits until a descriptor is ready: all phase 1.
    Readiness,
    /// Waits for finished operations.
    Completion,
    /// Hands operations over.
    Submit,
    /// Waits for a peer: a connection.
    Connection,
    /// Waits for another thread: a lock.
    Sync,
    /// Waits until data is on the disk.
    Durable,
    /// None of these, but may sleep: for a child, until a time, in the file system.
    Other,
}

/// Which way data moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the kernel to the process: phase 1 waits for data.
    In,
    /// From the process to the kernel: phase 1 waits for room.
    Out,
}

/// Whose thread made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThreadRole {
    /// Runs the application's code.
    App,
    /// A helper thread of the C library's POSIX aio.
    Helper,
    /// A kernel io-wq worker of io_uring.
    Worker,
    /// The kernel's SQ polling thread of io_uring.
    Sqpoll,
}

/// How the copy of a row is known, the most certain first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CopySource {
    /// Function hooks around the copy itself.
    Exact,
    /// Tracepoints at both edges of every copy, less the calibrated floor.
    Marked,
    /// No start mark: the on-CPU window less a calibrated empty window. Has an upper bound.
    Estimated,
    /// The call moves no data, or the copy cannot be seen.
    None,
}
