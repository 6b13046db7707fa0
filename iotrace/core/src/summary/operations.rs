//! The messages of a run, from request to delivery.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::dist::Dist;
use crate::domain::{CopySource, Meant, Phase1, ReadySource};

/// The messages of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operations {
    /// Number of counted messages whose data the kernel's records show arriving at the application.
    pub count: u64,
    /// Bytes of all messages that the records show arriving.
    pub bytes: u64,
    /// From request to data ready, by what the thread did meanwhile.
    pub phase1: Phase1,
    /// The copy, by whose thread made it.
    pub phase2: Phase2,
    /// From data ready to the start of the read call.
    pub pickup: Option<Dist>,
    /// From data ready to the delivery to the application.
    pub latency: Option<Dist>,
    /// The least exact source of the moment of data ready, over all messages.
    pub ready_source: ReadySource,
    /// Mean number of traced calls of the application's threads per message.
    pub calls_per_message: f64,
    /// CPU time of the process (all its threads) per message, ns, from its own CPU clock.
    pub cpu_ns_per_message: u64,
    /// Number of messages joined to the readiness call that reported them; `null` for models without readiness calls.
    pub joined_to_readiness: Option<u64>,
    /// Model sigio: the chain from data ready to the handler.
    pub signals: Option<Signals>,
    /// Models that submit requests: the chain from submission to completion.
    pub requests: Option<Requests>,
}

/// Phase 2 over all messages; `null`: not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase2 {
    /// Nanoseconds of copies that the application's own thread made.
    pub blocked_ns: Option<u64>,
    /// Nanoseconds of copies that another thread made: kernel worker, SQ thread, helper thread.
    pub free_ns: Option<u64>,
    /// How the copies are known; of several sources the least certain.
    pub source: CopySource,
    /// Source `estimated` only: all copies together took at most this long, ns.
    pub upper_ns: Option<u64>,
}

/// The signal chain of model sigio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signals {
    /// Number of signals generated: `signal_generate` with result 0. `null` without the tracepoint.
    pub generated: Option<u64>,
    /// Number of signals merged into a pending one: `signal_generate` with result 2. `null` without the tracepoint.
    pub coalesced: Option<u64>,
    /// Number of signals not queued: `signal_generate` with any other result (ignored, queue overflow, information
    /// lost). `null` without the tracepoint.
    pub not_queued: Option<u64>,
    /// Number of signals delivered to a handler (`signal_deliver`) or taken by `sigtimedwait`. `null` without the
    /// tracepoint.
    pub delivered: Option<u64>,
    /// Number of runs of the handler, by the application's own count.
    pub handler_runs: u64,
    /// Number of runs of the handler that found no data.
    pub spurious: u64,
    /// From data ready (`sk_data_ready`) to the signal generated (`signal_generate`).
    pub ready_to_generated: Option<Dist>,
    /// From the signal generated (`signal_generate`) to the signal delivered (`signal_deliver`).
    pub generated_to_delivered: Option<Dist>,
    /// From the signal delivered (`signal_deliver`) to the enter of the first read of the handler.
    pub delivered_to_read: Option<Dist>,
}

/// Asynchronous requests, from submission to completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Number of requests submitted, by the kernel's records or, where it has none, by the application's own count.
    pub submitted: u64,
    /// Number of requests completed, by the same source as `submitted`.
    pub completed: u64,
    /// Number of requests completed at once, inside the submitting call.
    pub inline: Option<u64>,
    /// Number of requests for which the kernel polled the descriptor.
    pub polled: Option<u64>,
    /// Number of requests handed to an io-wq worker.
    pub worker: Option<u64>,
    /// From submission to data ready.
    pub submit_to_ready: Option<Dist>,
    /// From data ready to the start of the copy.
    pub ready_to_copy: Option<Dist>,
    /// From the end of the copy to the completion.
    pub copy_to_complete: Option<Dist>,
    /// From the completion to the moment at which the application sees it, by its own clock.
    pub complete_to_seen: Option<Dist>,
    /// Number of copies by where they ran.
    pub copied_in: CopiedIn,
}

/// Number of copies of requests, by where they ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopiedIn {
    /// Copies in the submit or completion call of the model.
    pub own_call: u64,
    /// Copies in task work at the end of an unrelated call, or on return from an interrupt.
    pub task_work: u64,
    /// Copies in an ordinary data call (`recv` after a poll request).
    pub data_call: u64,
    /// Copies on a helper thread of the C library.
    pub helper: u64,
    /// Copies on an io-wq worker of the kernel.
    pub worker: u64,
    /// Copies on the SQ polling thread of the kernel.
    pub sqpoll: u64,
}

/// What the measurement says about the model; derived from the figures, never assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What the thread did for the largest part of phase 1.
    pub phase1: Meant,
    /// What the thread did for the larger part of phase 2.
    pub phase2: Meant,
    /// Whether the operation blocks the requesting thread in a phase: the meaning of *synchronous* in POSIX.
    pub synchronous: bool,
}
