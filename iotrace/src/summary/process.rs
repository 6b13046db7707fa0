//! What a result says of a process that was there already.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Operations};

/// One observed process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The name of the thread that leads it (of any, if that one made no traced call).
    pub comm: String,
    /// Threads that made a traced call.
    pub threads: u64,
    /// One row a syscall, and a thread or descriptor where `--per` asked for it.
    pub calls: Vec<Call>,
    /// Whole messages; `null`: only a built-in workload says where one begins and ends.
    pub operations: Option<Operations>,
    /// The I/O models it uses, by what it did.
    pub models: Vec<ModelUse>,
    /// Who ended its sleeps in traced calls, most often first.
    pub wakers: Vec<Waker>,
    /// Calls that were open when tracing ended, the longest first.
    pub in_flight: Vec<InFlight>,
}

/// An I/O model in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUse {
    /// `blocking`, `nonblocking`, `select`, `poll`, `epoll`, `epoll-et`, `sigio`, `posix-aio`, `linux-aio`,
    /// `io-uring`, `file`.
    pub model: String,
    /// Share of the transfers to the process that came by it, 0 to 1.
    pub share: f64,
    /// What it was recognised by.
    pub evidence: String,
}

/// Who ended sleeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waker {
    /// Name of the thread in whose context the wake-up ran (an interrupt borrows whoever runs);
    /// `idle` where nobody did.
    pub comm: String,
    /// Its id; 0: idle.
    pub tid: u32,
    /// Whether data had become ready on a socket right before.
    pub by_socket: bool,
    /// The call that was slept in.
    pub syscall: String,
    /// Sleeps it ended.
    pub wakes: u64,
}

/// A call that had not returned when tracing ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    /// The thread.
    pub tid: u32,
    /// The call.
    pub syscall: String,
    /// It has been open for at least this long.
    pub at_least_ns: u64,
    /// Whether it was open already when tracing began.
    pub since_before: bool,
}
