//! What a workload is asked to do, and what it says afterwards of what it did.
//!
//! Both cross a process boundary as JSON: the parent passes a [`Spec`], the child answers with a
//! [`Report`] on its control pipe. Times are CLOCK_MONOTONIC in nanoseconds, the clock of
//! `bpf_ktime_get_ns`, so that the parent can lay them beside what the probes saw.

use serde::{Deserialize, Serialize};

use crate::domain::model::{Meanwhile, Model, Transport};

/// Steps of the multiply-add chain in one unit of own work.
pub const UNIT_STEPS: u32 = 400;

/// One workload: a model reading messages that a peer process sends on a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The I/O model.
    pub model: Model,
    /// What carries the messages.
    pub transport: Transport,
    /// Number of counted messages.
    pub messages: u64,
    /// Bytes per counted or warm-up message.
    pub size: u64,
    /// Time between two sends, in ns. 0: as fast as the reader takes them.
    pub interval_ns: u64,
    /// Number of connections that the reader watches.
    pub connections: u32,
    /// How many of them carry messages, in turn.
    pub active: u32,
    /// `nonblocking`: pause between two polls, in ns. 0: spin.
    pub poll_interval_ns: u64,
    /// Messages of `size` bytes sent first and not counted.
    pub warmup: u64,
    /// Messages of one byte sent before the warm-up, through the very same loop: what they cost is
    /// the floor under the copy of a counted message.
    pub calibration: u64,
    /// What a thread that is left free does; `None` for models that do not leave it free.
    pub meanwhile: Option<Meanwhile>,
    /// Loopback port to bind (tcp, udp); 0 lets the kernel choose.
    pub port: u16,
    /// Settings that only studies make.
    #[serde(default)]
    pub tuning: Tuning,
}

/// Settings that only studies make. By default the workload is as `run` runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// The CPU that the reader and its helpers keep to; the sender then keeps off it, if there is another.
    pub cpu: Option<u32>,
    /// `io-uring`: how its ring is set up and used.
    pub ring: Ring,
}

/// Ways to use an io_uring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// The default set-up of the kernel.
    #[default]
    Plain,
    /// `IORING_SETUP_COOP_TASKRUN`: task work waits until the thread next returns to user mode (from 5.19).
    Coop,
    /// `IORING_SETUP_DEFER_TASKRUN`: task work waits for a call that asks for completions (from 6.1).
    Defer,
    /// `IOSQE_ASYNC`: every request goes to a worker at once.
    Async,
    /// One request that completes again and again (from 6.0); datagrams only.
    Multishot,
}

impl Spec {
    /// All messages: calibration, warm-up, counted, in that order.
    pub fn total_messages(&self) -> u64 {
        self.calibration + self.warmup + self.messages
    }

    /// Most records that are kept of this workload: many times those that it makes. One that makes more is not the one that
    /// was started.
    pub fn records(&self) -> usize {
        const REST: u64 = 1 << 20;
        const MESSAGE: u64 = 64;
        self.total_messages().saturating_mul(MESSAGE).saturating_add(REST) as usize
    }

    /// Most bytes that a [`Report`] of this workload has. A number has up to 20 digits, and a message six of them with
    /// their names.
    pub fn report_bytes(&self) -> usize {
        const REST: u64 = 1 << 20;
        const MESSAGE: u64 = 256;
        const CONNECTION: u64 = 256;
        let messages = self.total_messages().saturating_mul(MESSAGE);
        let connections = u64::from(self.connections) * CONNECTION;
        messages.saturating_add(connections).saturating_add(REST) as usize
    }

    /// Bytes of message `index` (counted over all messages).
    pub fn size_of(&self, index: u64) -> u64 {
        if index < self.calibration { 1 } else { self.size }
    }

    /// The connection that carries message `index`.
    pub fn connection_of(&self, index: u64) -> u32 {
        (index % u64::from(self.active.max(1))) as u32
    }
}

/// What the child wrote on its control pipe: one JSON document, at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The workload ran to its end.
    Done(Box<Log>),
    /// The workload could not run; nothing was measured.
    Failed(Failure),
}

/// Why a workload could not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable short name: `invalid` (numbers that make no sense), `unsupported`, `port_in_use`,
    /// `io_uring_disabled`, `fd_limit`, `io`, `stalled`.
    pub code: String,
    /// What failed, why, what to do.
    pub text: String,
}

/// The workload's own account of its run, from its own clock and counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Id of the reading process.
    pub pid: u32,
    /// Id of the sending process.
    pub peer_pid: u32,
    /// Threads that run the application's code (blocking with several connections has one for each).
    pub app_threads: Vec<u32>,
    /// One entry a connection, in order.
    pub connections: Vec<Connection>,
    /// One entry a message in order of sending, calibration and warm-up included.
    pub messages: Vec<Message>,
    /// When the first counted message was requested: its `want_ns` on a single connection. With several connections,
    /// when every uncounted message had been delivered (a counted one may have been requested before). No counted
    /// message is sent before this moment.
    pub measure_from_ns: u64,
    /// When the last counted message was delivered.
    pub measure_to_ns: u64,
    /// Units of the application's own work done between `measure_from_ns` and `measure_to_ns` (0 where it was not free).
    pub own_work_units: u64,
    /// CPU time of the whole process (all threads) between `measure_from_ns` and `measure_to_ns`, from CLOCK_PROCESS_CPUTIME_ID.
    pub cpu_ns: u64,
    /// Counters over the time between `measure_from_ns` and `measure_to_ns`.
    pub counters: Counters,
    /// What a traced call that returns at once took, ns: against an untraced one, the cost of tracing it.
    pub empty_call_ns: Option<u64>,
    /// Ordinary reads made for comparison, where the model's own copies have no start.
    pub reference: Option<Reference>,
}

/// Ordinary reads of one byte and of `bytes`, in turn, on a descriptor of the transport's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The descriptor; closed before the run began.
    pub fd: i32,
    /// Bytes of the larger reads.
    pub bytes: u64,
}

/// One connection of a reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The descriptor the reader uses.
    pub fd: i32,
    /// `127.0.0.1:40112`, `socketpair`, `pipe`.
    pub name: String,
    /// Id of the thread that serves the connection.
    pub thread: u32,
}

/// One message, as its sender and its reader saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Index into [`Log::connections`].
    pub connection: u32,
    /// Right before the send call, by the sender's clock.
    pub sent_ns: u64,
    /// Right after the send call, by the sender's clock.
    pub sent_done_ns: u64,
    /// The reader requested the message: it had the one before, or handed an asynchronous request over.
    pub want_ns: u64,
    /// All bytes of the message were delivered to the reader.
    pub have_ns: u64,
    /// Number of bytes received.
    pub bytes: u64,
}

/// What the reader counted itself, between `measure_from_ns` and `measure_to_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Read-like calls that returned data.
    pub reads: u64,
    /// Read-like calls that returned `EAGAIN`.
    pub again: u64,
    /// Returns of the readiness call with at least one descriptor.
    pub readiness: u64,
    /// Returns of the readiness call with none.
    pub readiness_empty: u64,
    /// Runs of the signal handler (or returns of `sigtimedwait`).
    pub handler_runs: u64,
    /// Runs of the signal handler that found no data.
    pub handler_spurious: u64,
    /// Asynchronous requests handed over.
    pub submitted: u64,
    /// Asynchronous requests whose completion the application took.
    pub completed: u64,
}
