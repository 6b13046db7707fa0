//! The picture of one message, as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ThreadRole;

/// The message with the median latency, as a picture: lanes of states and marks on one clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Strip {
    /// Which counted message (0-based).
    pub message: u64,
    /// One lane a thread; times are relative to the want of the message.
    pub lanes: Vec<Lane>,
    /// Moments, in order of time.
    pub marks: Vec<Mark>,
    /// End of the picture: when the application had the message.
    pub end_ns: u64,
}

/// One thread of a strip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Whose thread.
    pub thread_role: ThreadRole,
    /// Its id.
    pub tid: u32,
    /// What it did, in order, without overlap; the gaps are its own code (app) or idle (others).
    pub segments: Vec<Segment>,
}

/// What a thread did for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// From, relative to the want of the message.
    pub from_ns: u64,
    /// To, likewise.
    pub to_ns: u64,
    /// What.
    pub state: State,
    /// The call it was in; `null` outside any call.
    pub syscall: Option<String>,
}

/// What a thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Asleep for data.
    Wait,
    /// Asleep for a lock, a page or a disk.
    Lock,
    /// Woken or preempted, not yet on a CPU.
    Runq,
    /// Copying.
    Copy,
    /// In a call, on the CPU, neither copying nor polling.
    Work,
    /// In a call that returned "not yet".
    Poll,
}

/// A moment of a strip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// When, relative to the want of the message.
    pub at_ns: u64,
    /// What: `sent`, `ready`, `woken`, `signal`, `delivered`, `completed`, `seen`.
    pub name: String,
}
