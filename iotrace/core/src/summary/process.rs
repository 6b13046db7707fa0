//! What a result says of a process that was there already.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Operations};

/// One observed process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its id; 0 for an entry that stands for several.
    pub pid: u32,
    /// The name of the thread that leads it (of any, if that one made no traced call).
    pub comm: String,
    /// How many processes this entry stands for: 1, or all that ended under this name, once there were many.
    pub processes: u64,
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
    /// With `--timeline`: the longest calls of the trace that are this process's, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub longest: Vec<LongCall>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LongCall {
    /// Entered so long after tracing began.
    pub at_ns: u64,
    /// The thread.
    pub tid: u32,
    /// The call.
    pub syscall: String,
    /// Its descriptor, if its first argument is one.
    pub fd: Option<i32>,
    /// 1; more where like polls in a row are told as one.
    pub calls: u64,
    /// What it returned.
    pub returned: i64,
    /// The error, if that was one.
    pub error: Option<String>,
    /// Enter to exit.
    pub total_ns: u64,
    /// Asleep for data (or for room).
    pub wait_ns: u64,
    /// Asleep for anything else.
    pub lock_ns: u64,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Between the marks of its copies, floors not subtracted; 0 where there are no marks: then in `work_ns`.
    pub copy_ns: u64,
    /// Everything else on the CPU.
    pub work_ns: u64,
    /// The thread in whose context it was woken.
    pub woken_by: Option<u32>,
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
    /// `idle` where nobody did, `timer` where
    /// the call timed out, `several` where they are not told apart.
    pub comm: String,
    /// Its id; 0: none of them is one thread.
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
