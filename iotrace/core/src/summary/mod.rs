//! The result of a run, as plain data: what JSON prints and what the other renderers read.
//!
//! Times are integer nanoseconds of CLOCK_MONOTONIC. `None` (JSON `null`) means *not measured*, and a
//! [`Warning`] says why; it never means zero.

mod operations;
mod picture;
mod process;
mod selftest;
mod strip;
mod study;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::operations::{CopiedIn, Operations, Phase2, Requests, Signals, Verdict};
pub use self::picture::{Picture, Table};
pub use self::process::{InFlight, LongCall, ModelUse, Process, Waker};
pub use self::selftest::Check;
pub use self::strip::{Lane, Mark, Segment, State, Strip};
pub use self::study::{
    Arm, Axis, Claim, Crossover, Environment, Evidence, Fit, Measure, Ruling, Source, Study,
};
use crate::domain::dist::Dist;
use crate::domain::model::{Meanwhile, Model, Transport};
use crate::domain::{CopySource, Direction, Fd, Loss, Role, ThreadRole, Tier, WaitsFor};

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
    /// Command `trace`: one entry a process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Command `selftest`: one entry a figure that was checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Command `study`: one entry a study.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub studies: Vec<Study>,
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

/// What observing cost the observed. `null`: not measured in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// Added to each traced call, measured in this run with a call that returns at once.
    pub per_call_ns: Option<u64>,
    /// Added to each such call of a thread that is not observed: the probes run there, too, and find that out.
    pub per_other_call_ns: Option<u64>,
    /// Added to each context switch of a traced thread.
    pub per_switch_ns: Option<u64>,
    /// CPU time of iotrace itself, user and system.
    pub iotrace_cpu_ns: Option<u64>,
    /// Command `trace`: what the marks themselves take, subtracted from each marked copy. `null` elsewhere: `run`
    /// calibrates each row by itself, see `copy_floor_ns`.
    pub copy_floors_ns: Option<CopyFloors>,
}

/// Floors under marked copies, ns, by what ends the copy; `null`: not measured, and nothing is subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyFloors {
    /// `tcp_rcv_space_adjust`: TCP.
    pub tcp: Option<u64>,
    /// `consume_skb`: AF_UNIX.
    pub buffer: Option<u64>,
    /// `sock_recv_length`, or the exit: buffers that are not used up, large datagrams.
    pub receive: Option<u64>,
    /// Exact tier, the return of `skb_copy_datagram_iter`: TCP, AF_UNIX, large datagrams.
    #[serde(default)]
    pub hooked_buffer: Option<u64>,
    /// Exact tier, `skb_consume_udp`: small datagrams.
    #[serde(default)]
    pub hooked_datagram: Option<u64>,
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
    /// [`crate::domain::spec::UNIT_STEPS`] steps of a multiply-add chain, about a microsecond).
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

/// The calls of one syscall by one kind of thread.
///
/// `wait_ns + lock_ns + runq_ns + copy_ns + work_ns == total_ns`, exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The kernel's name: `recvfrom`.
    pub syscall: String,
    /// What it is for.
    pub role: Role,
    /// Which way data calls move data; `null` for the others.
    pub direction: Option<Direction>,
    /// Whose threads.
    pub thread_role: ThreadRole,
    /// The thread, where rows are told apart by thread.
    pub tid: Option<u32>,
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
    /// `estimated` only: all copies of the row together took no longer than this.
    pub copy_upper_ns: Option<u64>,
    /// The calibrated floor that was subtracted, per copy.
    pub copy_floor_ns: Option<u64>,
    /// Wait plus run queue, per call.
    pub phase1: Dist,
    /// Copy per call that moved data; `null`: not measured, or none did.
    pub phase2: Option<Dist>,
    /// Enter to exit, per call.
    pub latency: Dist,
    /// What the wait is for, where rows are told apart by descriptor and it is a TCP connection.
    pub waits_for: Option<WaitsFor>,
    /// Data ready on the socket until this call came for it; `null`: not measured in rows (see the
    /// operations of a run), or no socket, or a kernel before 6.3.
    pub pickup: Option<Dist>,
}
