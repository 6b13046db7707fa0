//! The picture of one message, as data: what each thread did, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ThreadRole;

/// The message with the median latency, as a picture: lanes of states and marks on one clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Strip {
    /// Index of the message among the counted ones, from 0.
    pub message: u64,
    /// One lane for each thread. All times count from the request for the message.
    pub lanes: Vec<Lane>,
    /// Moments, in order of time.
    pub marks: Vec<Mark>,
    /// End of the picture: the delivery to the application, ns after the request.
    pub end_ns: u64,
}

/// One thread of a strip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Kind of thread.
    pub thread_role: ThreadRole,
    /// Id of the thread.
    pub tid: u32,
    /// What the thread did, in order, without overlap. In the gaps a thread of the application ran its own code, and
    /// any other thread was idle.
    pub segments: Vec<Segment>,
}

/// What a thread did for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Beginning, ns after the request for the message.
    pub from_ns: u64,
    /// End, ns after the request for the message.
    pub to_ns: u64,
    /// What the thread was doing.
    pub state: State,
    /// Name of the syscall that the thread was in; `null` outside calls.
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
    /// Copying between kernel and user space.
    Copy,
    /// In a call, on the CPU, neither copying nor polling.
    Work,
    /// In a call that returned "not yet".
    Poll,
}

/// A moment of a strip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The moment, ns after the request for the message.
    pub at_ns: u64,
    /// What happened: `sent`, `ready`, `woken`, `signal`, `delivered`, `completed`, `seen`.
    pub name: String,
}
