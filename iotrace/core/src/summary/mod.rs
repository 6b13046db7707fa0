//! The result of a command as plain data: JSON prints it, and the other renderers read it.
//!
//! Times are integer nanoseconds of CLOCK_MONOTONIC. `None` (JSON `null`) means *not measured*, and a [`Warning`] says
//! why. It never means zero.

mod diagnosis;
mod finding;
mod operations;
mod picture;
mod process;
mod selftest;
mod strip;
mod study;
mod time;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::diagnosis::{Code, Diagnosis};
pub use self::finding::{Finding, Standing};
pub use self::operations::{CopiedIn, Operations, Phase2, Requests, Signals, Verdict};
pub use self::picture::{Picture, Table};
pub use self::process::{InFlight, LongCall, ModelUse, Process, Reply, Waker};
pub use self::selftest::Check;
pub use self::strip::{Lane, Mark, Segment, State, Strip};
pub use self::study::{
    Arm, Axis, Claim, Crossover, Environment, Evidence, Fit, Measure, Ruling, Source, Study,
};
pub use self::time::{Class, Elsewhere, InCalls, Taker, ThreadTime, Time, WokenBy};
use crate::domain::dist::Dist;
use crate::domain::model::{Meanwhile, Model, Transport};
use crate::domain::{CopySource, Direction, Fd, Loss, Role, ThreadRole, Tier, WaitsFor};

/// Name and version of the JSON schema that this build writes.
pub const SCHEMA: &str = "iotrace/2";

/// One JSON document: the result of one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Name and version of the schema of this document, see [`SCHEMA`].
    pub schema: String,
    /// The command that made the document: `run`, `trace`, `study`, `selftest`, `doctor`.
    pub command: String,
    /// The machine on which it was made.
    pub host: Host,
    /// Whether the figures include everything that happened; if not, `loss` and `warnings` say what is missing.
    pub complete: bool,
    /// What is missing from the figures, counted by cause.
    pub loss: Loss,
    /// What observing cost, measured in this run.
    pub overhead: Overhead,
    /// Nanoseconds from attaching the first probe to reading the last record.
    pub elapsed_ns: u64,
    /// With `-i`: which stretch of the trace the document is about; the last document, of the whole, has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Command `run`: one entry for each model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// Command `trace`: one entry for each process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Command `trace`: the whole time of all threads of all processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Command `trace`: what that means for all processes together, if it means anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnosis: Vec<Diagnosis>,
    /// Command `selftest`: one entry for each figure that was checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Command `study`: one entry for each study.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub studies: Vec<Study>,
    /// Command `doctor`: whether iotrace can measure on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// Command `doctor`: one entry for each thing that was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What a reader must know to understand the figures.
    pub warnings: Vec<Warning>,
}

impl Document {
    /// A document without entries: complete as far as `loss` says.
    pub fn new(command: &str, host: Host, loss: Loss, overhead: Overhead, elapsed_ns: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            command: command.to_owned(),
            host,
            complete: loss.is_none(),
            loss,
            overhead,
            elapsed_ns,
            interval: None,
            runs: Vec::new(),
            processes: Vec::new(),
            time: None,
            diagnosis: Vec::new(),
            checks: Vec::new(),
            studies: Vec::new(),
            ok: None,
            findings: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds a warning, unless it is there.
    pub fn warn(&mut self, code: &str, text: String) {
        Warning::add(&mut self.warnings, code, text);
    }
}

/// An interval of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// When it began, in ns since tracing began.
    pub from_ns: u64,
    /// When it ended, in ns since tracing began.
    pub to_ns: u64,
    /// When it ended, by the clock of the machine: ns since 1970-01-01 UTC; `null`: a recording that does not tell.
    pub ended_unix_ns: Option<u64>,
    /// Seconds by which the local time of the machine is ahead of UTC.
    pub utc_offset_s: i32,
}

/// For fields that are left out where there is nothing to say.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The machine and what it lets iotrace do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Release of the kernel, as in `uname -r`.
    pub kernel: String,
    /// Architecture, as in `uname -m`.
    pub arch: String,
    /// Number of CPUs online.
    pub cpus: u32,
    /// Lockdown level of the kernel: `none`, `integrity`, `confidentiality`; `unknown` where securityfs is not mounted.
    pub lockdown: String,
    /// Which kind of hooks measured the copies.
    pub tier: Tier,
}

/// What observing cost the observed programs. `null`: not measured in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// Nanoseconds added to each traced call, measured in this run with a call that returns at once.
    pub per_call_ns: Option<u64>,
    /// Nanoseconds added to each such call of a thread that is not observed: the probes run there, too, until they find
    /// that out.
    pub per_other_call_ns: Option<u64>,
    /// Nanoseconds added to each context switch of a traced thread.
    pub per_switch_ns: Option<u64>,
    /// CPU time of iotrace itself, user and system, in ns. Command `trace`: while it observed, so within `elapsed_ns`;
    /// other commands: of all that they did.
    pub iotrace_cpu_ns: Option<u64>,
    /// Command `trace`: CPU time of iotrace itself before it observed, ns: calibrating, and loading the probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iotrace_loading_cpu_ns: Option<u64>,
    /// Command `trace`: the time that the marks themselves take, subtracted from each marked copy. `null` for other
    /// commands; `run` calibrates each row, see `copy_floor_ns`.
    pub copy_floors_ns: Option<CopyFloors>,
}

/// The time that the marks of a copy take, in ns, by the mark that ends the copy; `null`: not measured, and nothing is
/// subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyFloors {
    /// Copies that end at `tcp_rcv_space_adjust`: TCP.
    pub tcp: Option<u64>,
    /// Copies that end at `consume_skb`: AF_UNIX.
    pub buffer: Option<u64>,
    /// Copies that end at `sock_recv_length` or at the exit of the call: buffers that are not used up, large datagrams.
    pub receive: Option<u64>,
    /// Exact tier, copies that end at the return of `skb_copy_datagram_iter`: TCP, AF_UNIX, large datagrams.
    #[serde(default)]
    pub hooked_buffer: Option<u64>,
    /// Exact tier, copies that end at `skb_consume_udp`: small datagrams.
    #[serde(default)]
    pub hooked_datagram: Option<u64>,
}

/// Something that a reader of the result must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Stable short name of the kind of warning.
    pub code: String,
    /// One sentence: what is wrong, why, and what to do.
    pub text: String,
}

impl Warning {
    /// Adds a warning to others, unless one of them says the same.
    pub fn add(warnings: &mut Vec<Self>, code: &str, text: String) {
        if warnings.iter().all(|known| known.text != text) {
            warnings.push(Self { code: code.to_owned(), text });
        }
    }
}

/// One workload under observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The I/O model.
    pub model: Model,
    /// What carried the messages.
    pub transport: Transport,
    /// Number of messages that were sent and counted (calibration and warm-up are not).
    pub messages: u64,
    /// Bytes of a message.
    pub size: u64,
    /// Nanoseconds between two sends; 0: as fast as the reader reads.
    pub interval_ns: u64,
    /// Number of connections of the reader.
    pub connections: u32,
    /// Nanoseconds from the request for the first counted message to the delivery of the last.
    pub elapsed_ns: u64,
    /// What the thread did while it waited; `null` for models that do not leave it free.
    pub meanwhile: Option<Meanwhile>,
    /// Units of own work that the application did meanwhile, by its own count. A unit is
    /// [`crate::domain::spec::UNIT_STEPS`] steps of a multiply-add chain, about half a microsecond.
    pub own_work_units: u64,
    /// Ids of the threads that ran the application's code.
    pub app_threads: Vec<u32>,
    /// The traced calls: one row for each syscall and kind of thread.
    pub calls: Vec<Call>,
    /// The messages, from request to delivery.
    pub operations: Operations,
    /// What the measurement says about the model.
    pub verdict: Verdict,
    /// The message with the median latency, which the timeline draws; `null`: no message has all its records.
    pub strip: Option<Strip>,
}

/// The calls of one syscall by one kind of thread.
///
/// `wait_ns + disk_ns + lock_ns + runq_ns + copy_ns + work_ns == total_ns`, exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The kernel's name of the syscall: `recvfrom`.
    pub syscall: String,
    /// What the syscall is for.
    pub role: Role,
    /// The direction in which data calls move data; `null` for calls that move none.
    pub direction: Option<Direction>,
    /// The kind of threads that made the calls.
    pub thread_role: ThreadRole,
    /// Id of the thread, if each thread has rows of its own (`--per thread`).
    pub tid: Option<u32>,
    /// Name of that thread when it was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// The descriptor, if all calls of the row used one kind of descriptor.
    pub fd: Option<Fd>,
    /// Number of calls that returned in the observed time.
    pub calls: u64,
    /// With `-i`: number of calls that were open at the end; their time so far is in the times of the row, and in no
    /// distribution.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open: u64,
    /// Bytes that the calls moved to or from the process; 0 for calls that move none.
    pub bytes: u64,
    /// Events, messages, requests or signals that the calls returned; 0 for calls that return none of these.
    #[serde(default)]
    pub returned: u64,
    /// Bytes that the calls copied and left in the socket (`MSG_PEEK`); they are not in `bytes`.
    #[serde(default)]
    pub peeked_bytes: u64,
    /// Number of calls that failed, by name of the error that the program got.
    pub errors: BTreeMap<String, u64>,
    /// Calls that a filter (seccomp) answered before they began. Their time is not known, and counts 0.
    #[serde(default)]
    pub denied: u64,
    /// Calls that waited until their time was up: by a timeout of the call, or of its socket.
    pub timeouts: u64,
    /// Readiness and completion calls that returned nothing, and had not waited.
    #[serde(default)]
    pub empty: u64,
    /// Times that the kernel entered an interrupted call again, unseen by the program.
    pub restarts: u64,
    /// Number of calls that went to sleep for data or for a disk.
    pub slept_calls: u64,
    /// Number of times that a call went to sleep for data.
    pub sleeps: u64,
    /// Nanoseconds from enter to exit, of all calls together.
    pub total_ns: u64,
    /// Nanoseconds asleep for data (interruptible sleep), until the wake-up.
    pub wait_ns: u64,
    /// Nanoseconds asleep until a disk has done its part (uninterruptible sleep with `in_iowait` set: the block layer,
    /// or a page of a file, of network file systems too), until the wake-up.
    pub disk_ns: u64,
    /// Nanoseconds asleep for anything else (uninterruptible sleep), until the wake-up.
    pub lock_ns: u64,
    /// Nanoseconds woken or preempted, and waiting for a CPU.
    pub runq_ns: u64,
    /// Nanoseconds of copying, less time switched out meanwhile. 0 where `copy_source` is `none`: then copying is part
    /// of `work_ns`.
    pub copy_ns: u64,
    /// Nanoseconds of everything else on the CPU.
    pub work_ns: u64,
    /// How `copy_ns` is known.
    pub copy_source: CopySource,
    /// Source `estimated` only: all copies of the row together took at most this long, ns.
    pub copy_upper_ns: Option<u64>,
    /// The calibrated floor that was subtracted from each copy, ns.
    pub copy_floor_ns: Option<u64>,
    /// Distribution over the calls: wait and run queue, and `disk_ns` except of output, which sleeps for a disk in the
    /// copy: for what it writes, or for room in the page cache.
    pub phase1: Dist,
    /// Distribution over the calls that moved data: the copy; `null`: not measured, or no call moved data.
    pub phase2: Option<Dist>,
    /// Distribution over the calls: enter to exit.
    pub latency: Dist,
    /// What the wait is for, if each descriptor has rows of its own (`--per fd`) and this one is a TCP connection.
    pub waits_for: Option<WaitsFor>,
    /// Distribution of the time from data ready on the socket to the start of the read call; `null`: command `run` (see
    /// its `operations`), no socket, or a kernel before 6.3, which has no tracepoint `sk_data_ready`.
    pub pickup: Option<Dist>,
}

impl Call {
    /// Number of calls that returned `EAGAIN` without having waited: one that waited timed out, by `SO_RCVTIMEO` for
    /// instance, and is no polling.
    pub fn not_yet(&self) -> u64 {
        self.errors.get("EAGAIN").copied().unwrap_or(0).saturating_sub(self.timeouts)
    }
}
