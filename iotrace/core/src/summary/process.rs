//! The observed processes of a trace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Call, Diagnosis, Operations, ThreadTime, Time, is_zero};

/// One observed process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id; 0 for an entry that stands for several processes.
    pub pid: u32,
    /// Name of the main thread, or of another thread if the main thread made no traced call.
    pub comm: String,
    /// Number of processes that this entry stands for: 1, or all processes of this name that ended, if there were many.
    pub processes: u64,
    /// Whether the entry stands for processes of several names: the least active ones, where there are more processes or
    /// rows than a result lists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others: bool,
    /// Number of threads that made a traced call.
    pub threads: u64,
    /// Where all the time of its threads went; `null`: a recording of an older version does not tell.
    #[serde(default)]
    pub time: Option<Time>,
    /// What that time means, the most important first, three at most.
    #[serde(default)]
    pub diagnosis: Vec<Diagnosis>,
    /// How long its cgroup, or one around it, was not allowed to run by its quota (`cpu.stat`), ns; `null`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
    /// For whose answers the process slept: data on TCP connections that it made, the longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
    /// With `--per thread`: the time of each thread, the one with the most time that is not idle first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thread_times: Vec<ThreadTime>,
    /// The traced calls: one row for each syscall, with `--per` for each thread or descriptor, too.
    pub calls: Vec<Call>,
    /// With `--top`: number of rows by thread or descriptor that are not in `calls`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_left_out: u64,
    /// Whole messages; `null` in a trace, because only a built-in workload knows where a message begins and ends.
    pub operations: Option<Operations>,
    /// The I/O models that the process uses, recognised by its calls.
    pub models: Vec<ModelUse>,
    /// The threads that ended its sleeps in traced calls, the most frequent first.
    pub wakers: Vec<Waker>,
    /// Calls that had not returned when tracing ended, the longest first; at most 100.
    pub in_flight: Vec<InFlight>,
    /// Number of calls that had not returned and are not in `in_flight`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_flight_left_out: u64,
    /// With `--timeline`: those of the longest calls of the trace that this process made, in order of time. Longest is by
    /// the time that is not idle: without the wait for the next event or request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub longest: Vec<LongCall>,
}

/// Waits for the answers of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// The peer: `tcp 127.0.0.1:5432`.
    pub endpoint: String,
    /// Nanoseconds asleep in calls that its data ended.
    pub wait_ns: u64,
    /// Number of such calls.
    pub waits: u64,
}

/// One of the longest calls of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LongCall {
    /// Nanoseconds from the beginning of tracing to the enter of the call.
    pub at_ns: u64,
    /// Id of the thread.
    pub tid: u32,
    /// Name of the syscall.
    pub syscall: String,
    /// Number of the descriptor, if the first argument is one.
    pub fd: Option<i32>,
    /// Number of calls: 1, or more where equal polls in a row are shown as one.
    pub calls: u64,
    /// The value that the call returned.
    pub returned: i64,
    /// Name of the error, if the call failed; `killed` if a signal ended the thread in it.
    pub error: Option<String>,
    /// Nanoseconds from enter to exit.
    pub total_ns: u64,
    /// Nanoseconds asleep for data (output: for room).
    pub wait_ns: u64,
    /// Nanoseconds asleep for a disk.
    pub disk_ns: u64,
    /// Nanoseconds asleep for anything else.
    pub lock_ns: u64,
    /// Nanoseconds waiting for a CPU.
    pub runq_ns: u64,
    /// Nanoseconds between the marks of its copies, without subtracting floors. 0 where there are no marks: then
    /// copying is part of `work_ns`.
    pub copy_ns: u64,
    /// Nanoseconds of everything else on the CPU.
    pub work_ns: u64,
    /// Id of the thread that was running when the last wake-up of the call happened.
    pub woken_by: Option<u32>,
    /// Whether the call waited for a CPU while iotrace itself was at work: that wait may be of iotrace's making.
    #[serde(default)]
    pub beside_iotrace: bool,
}

/// An I/O model that a process uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUse {
    /// The model: `blocking`, `nonblocking`, `select`, `poll`, `epoll`, `epoll-et`, `sigio`, `posix-aio`, `linux-aio`,
    /// `io-uring`, `file`.
    pub model: String,
    /// Share of the transfers to the process that were made in this model, 0 to 1.
    pub share: f64,
    /// The figures by which the model was recognised, in words.
    pub evidence: String,
}

/// A thread that ended sleeps of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waker {
    /// Name of the thread that woke. An interrupt is not named by the thread that it stopped: `network` brought data of
    /// a socket, `disk` ended a sleep for a disk, `timer`: the call timed out, `outside`: a thread
    /// without an id in the pid namespace of iotrace, `interrupt`: any other, or what ran on an
    /// idle CPU. `several`: merged wakers of ended processes. On a kernel that does not tell where its preemption count
    /// lies, interrupts have the name of the thread that they stopped.
    pub comm: String,
    /// Id of the thread; 0 with those names, which are no single thread.
    pub tid: u32,
    /// Whether data on a socket ended the sleep that the call waited on: itself, or by its epoll, poll or select set.
    pub by_socket: bool,
    /// Name of the syscall in which the process slept.
    pub syscall: String,
    /// Number of sleeps that the thread ended.
    pub wakes: u64,
}

/// A call that had not returned when tracing ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    /// Id of the thread.
    pub tid: u32,
    /// Name of the syscall.
    pub syscall: String,
    /// Nanoseconds that the call has been open at least.
    pub at_least_ns: u64,
    /// Whether the call was open already when tracing began.
    pub since_before: bool,
}
