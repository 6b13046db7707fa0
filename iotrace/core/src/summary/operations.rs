//! What a result says of messages: from wanting to having.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::dist::Dist;
use crate::domain::{CopySource, Meant, Phase1, ReadySource};

/// The messages of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operations {
    /// Counted messages for which the kernel's records show the data arriving at the application.
    pub count: u64,
    /// Bytes that the records show arriving, of all messages.
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

/// Phase 2 over all messages; `null`: not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase2 {
    /// Copied on the application thread's own time.
    pub blocked_ns: Option<u64>,
    /// Copied by somebody else: kernel worker, SQ thread, helper thread.
    pub free_ns: Option<u64>,
    /// How it is known: as the least certain of the copies.
    pub source: CopySource,
    /// `estimated` only: all copies together took no longer than this.
    pub upper_ns: Option<u64>,
}

/// The signal chain of model sigio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signals {
    /// `signal_generate` with result 0. This and the next three are `null` without their tracepoint.
    pub generated: Option<u64>,
    /// `signal_generate` with result 2: one was pending already, so this one is lost in it.
    pub coalesced: Option<u64>,
    /// Any other result: ignored, queue overflow, information lost.
    pub not_queued: Option<u64>,
    /// `signal_deliver` to a handler, or taken by `sigtimedwait`.
    pub delivered: Option<u64>,
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
