//! The result of a run, as plain data: what JSON prints and what the other renderers read.
//!
//! Times are integer nanoseconds of CLOCK_MONOTONIC. `None` (JSON `null`) means *not measured*, and a
//! [`Warning`] says why; it never means zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dist::Dist;
use crate::model::{Meanwhile, Model, Transport};

/// The schema this build writes.
pub const SCHEMA: &str = "iotrace/1";

/// One JSON document: the result of one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: String,
    /// The command that made it: `run`, `trace`, `study`, `selftest`.
    pub command: String,
    /// The machine.
    pub host: Host,
    /// Whether everything that happened is in the figures. `loss` says what is not.
    pub complete: bool,
    /// What was lost.
    pub loss: Loss,
    /// What observing cost.
    pub overhead: Overhead,
    /// From the first probe attached to the last record read.
    pub elapsed_ns: u64,
    /// Command `run`: one entry a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// What the reader must know to read the figures right.
    pub warnings: Vec<Warning>,
}

/// The machine and what it lets iotrace do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// CPUs online.
    pub cpus: u32,
    /// `none`, `integrity`, `confidentiality`; `unknown` where securityfs is not mounted.
    pub lockdown: String,
    /// Which hooks measured the copy.
    pub tier: Tier,
}

/// Which hooks measured the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Function hooks around the copy.
    Exact,
    /// Tracepoints only.
    Tracepoint,
}

/// What the figures miss. All zero but `in_flight_*`: complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Records that found the ring buffer full.
    pub records: u64,
    /// Threads or sockets that found no room in a map.
    pub map_full: u64,
    /// Probe runs the kernel skipped because the same probe was running on that CPU.
    /// `null` where this kernel does not count them (before 5.12).
    pub recursion_misses: Option<u64>,
    /// Enters without exit, or exits without enter.
    pub unmatched: u64,
    /// Calls that were open when tracing began.
    pub in_flight_start: u64,
    /// Calls that were open when it ended.
    pub in_flight_stop: u64,
}

/// What observing cost the observed. `null`: not measured in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// Added to each traced call, measured in this run with a call that returns at once.
    pub per_call_ns: Option<u64>,
    /// Added to each context switch of a traced thread.
    pub per_switch_ns: Option<u64>,
    /// CPU time of iotrace itself, user and system.
    pub iotrace_cpu_ns: Option<u64>,
}

/// Something the reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Stable short name.
    pub code: String,
    /// One sentence: what, why, what to do.
    pub text: String,
}

/// One workload under observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The I/O model.
    pub model: Model,
    /// What carried the messages.
    pub transport: Transport,
    /// Counted messages that were asked for.
    pub messages: u64,
    /// Bytes per message.
    pub size: u64,
    /// Time between two sends.
    pub interval_ns: u64,
    /// Connections watched.
    pub connections: u32,
    /// From wanting the first counted message to having the last.
    pub elapsed_ns: u64,
    /// What the thread did while it was free; `null` for models that do not leave it free.
    pub meanwhile: Option<Meanwhile>,
    /// Units of the application's own work done meanwhile, by its own count (a unit is
    /// [`crate::workload::UNIT_STEPS`] steps of a multiply-add chain, about a microsecond).
    pub own_work_units: u64,
    /// Threads that ran the application's code.
    pub app_threads: Vec<u32>,
    /// One row a syscall and kind of thread.
    pub calls: Vec<Call>,
    /// The messages.
    pub operations: Operations,
    /// What the measurement says of the model.
    pub verdict: Verdict,
    /// The median message, drawn by the timeline.
    pub strip: Option<Strip>,
}

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

/// How the copy of a row is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fd {
    /// `tcp`, `udp`, `unix`, `pipe`, ...
    pub kind: String,
    /// Address, path, or how many there are.
    pub name: String,
}

/// The calls of one syscall by one kind of thread.
///
/// `wait_ns + lock_ns + runq_ns + copy_ns + work_ns == total_ns`, exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The kernel's name: `recvfrom`.
    pub syscall: String,
    /// What it is for.
    pub role: Role,
    /// Whose threads.
    pub thread_role: ThreadRole,
    /// The descriptor, where all calls of the row used one kind.
    pub fd: Option<Fd>,
    /// Calls that returned in the window.
    pub calls: u64,
    /// Bytes they returned (data calls only).
    pub bytes: u64,
    /// Calls that failed, by name of the error.
    pub errors: BTreeMap<String, u64>,
    /// Readiness and completion calls that returned nothing because their time was up.
    pub timeouts: u64,
    /// Calls that a signal interrupted and the kernel entered again.
    pub restarts: u64,
    /// Times a call went to sleep for data.
    pub sleeps: u64,
    /// Time inside, enter to exit.
    pub total_ns: u64,
    /// Asleep for data (interruptible), until the wake-up.
    pub wait_ns: u64,
    /// Asleep for anything else (uninterruptible), until the wake-up.
    pub lock_ns: u64,
    /// Woken or preempted, not yet on a CPU.
    pub runq_ns: u64,
    /// Copying, less time switched out meanwhile. 0 where `copy_source` is `none`: then it is part of `work_ns`.
    pub copy_ns: u64,
    /// Everything else on the CPU.
    pub work_ns: u64,
    /// How the copy is known.
    pub copy_source: CopySource,
    /// `estimated` only: no copy can have been longer than this.
    pub copy_upper_ns: Option<u64>,
    /// `marked` and `estimated`: the calibrated floor that was subtracted, per copy.
    pub copy_floor_ns: Option<u64>,
    /// Wait plus run queue, per call.
    pub phase1: Dist,
    /// Copy per call that moved data; `null`: not measured, or none did.
    pub phase2: Option<Dist>,
    /// Enter to exit, per call.
    pub latency: Dist,
}

/// Where the moment of readiness comes from, best first.
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

/// The messages of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operations {
    /// Counted messages for which the kernel's records show the data arriving at the application.
    pub count: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// From wanting to ready, by what the thread did.
    pub phase1: Phase1,
    /// The copy, by whose time it took.
    pub phase2: Phase2,
    /// From ready until somebody came for it.
    pub pickup: Option<Dist>,
    /// From ready until the application had it.
    pub latency: Option<Dist>,
    /// The least exact source that told when data was ready.
    pub ready_source: ReadySource,
    /// Traced calls of the application's threads, per message.
    pub calls_per_message: f64,
    /// CPU time of the process (all its threads), per message, from its own CPU clock.
    pub cpu_ns_per_message: u64,
    /// Messages joined to the readiness call that announced them; `null` for models without one.
    pub joined_to_readiness: Option<u64>,
    /// Model sigio: the chain of the signals.
    pub signals: Option<Signals>,
    /// Models with requests: their lives.
    pub requests: Option<Requests>,
}

/// Phase 1 over all messages. The three add up to the time from wanting to ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase1 {
    /// The thread could not run its own code.
    pub blocked_ns: u64,
    /// It spent CPU on calls that return "not yet".
    pub polling_ns: u64,
    /// It ran its own code, or waited for something else.
    pub free_ns: u64,
}

/// Phase 2 over all messages; `null`: not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase2 {
    /// Copied on the application thread's own time.
    pub blocked_ns: Option<u64>,
    /// Copied by somebody else: kernel worker, SQ thread, helper thread.
    pub free_ns: Option<u64>,
}

/// The signal chain of model sigio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signals {
    /// `signal_generate` with result 0.
    pub generated: u64,
    /// `signal_generate` with result 2: one was pending already, so this one is lost in it.
    pub coalesced: u64,
    /// Any other result: ignored, queue overflow, information lost.
    pub not_queued: u64,
    /// `signal_deliver` to a handler, or taken by `sigtimedwait`.
    pub delivered: u64,
    /// Runs of the handler by the application's own count.
    pub handler_runs: u64,
    /// Runs that found no data.
    pub spurious: u64,
    /// `sk_data_ready` to `signal_generate`.
    pub ready_to_generated: Option<Dist>,
    /// `signal_generate` to `signal_deliver`.
    pub generated_to_delivered: Option<Dist>,
    /// `signal_deliver` to the enter of the handler's first read.
    pub delivered_to_read: Option<Dist>,
}

/// The lives of asynchronous requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Handed over, by the kernel's records where it has any, else by the application's count.
    pub submitted: u64,
    /// Completed, likewise.
    pub completed: u64,
    /// Completed at once, inside the submitting call.
    pub inline: Option<u64>,
    /// Went through the kernel's own poll.
    pub polled: Option<u64>,
    /// Handed to an io-wq worker.
    pub worker: Option<u64>,
    /// Submit to data ready.
    pub submit_to_ready: Option<Dist>,
    /// Data ready to the start of the copy.
    pub ready_to_copy: Option<Dist>,
    /// End of the copy to the completion.
    pub copy_to_complete: Option<Dist>,
    /// Completion to the application seeing it (its own clock).
    pub complete_to_seen: Option<Dist>,
    /// Where the copies ran.
    pub copied_in: CopiedIn,
}

/// Where the copies of requests ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopiedIn {
    /// In the model's own submit or completion call.
    pub own_call: u64,
    /// In task work at the edge of an unrelated call, or with no call open (return from an interrupt).
    pub task_work: u64,
    /// In an ordinary data call (`recv` after a poll request).
    pub data_call: u64,
    /// On a helper thread of the C library.
    pub helper: u64,
    /// On an io-wq worker.
    pub worker: u64,
    /// On the SQ polling thread.
    pub sqpoll: u64,
}

/// What the thread did for the longest part of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Meant {
    /// It could not run its own code.
    Blocked,
    /// It asked again and again.
    Polling,
    /// It did something else.
    Free,
}

/// What the measurement says of the model; derived by `verdict.rs`, never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The largest part of phase 1.
    pub phase1: Meant,
    /// The larger part of phase 2.
    pub phase2: Meant,
    /// POSIX's word: the operation blocks the requesting thread in one of its phases.
    pub synchronous: bool,
}

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
