//! `iotrace run` and `doctor` on a real kernel: what they promise, checked with the real binary, and
//! against the account that the workload gives of the very same run.
//!
//! Counts are compared exactly. Times are compared with times of the same run, as ratios: how fast the
//! machine is, and who else uses it, must not matter.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::{Spec, Tuning};

#[path = "../support/attempts.rs"]
mod attempts;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod copies;
mod degraded;
mod doctor;
mod document;
mod ends;
mod losses;
mod missing;
mod models;
mod recorded;
mod refusals;
mod requests;

/// Kernels that can be preempted inside a probe (the calls' since 6.13) skip it for other threads on that CPU
/// meanwhile. The result says so, and is not complete.
const SKIPPED: &str = "a kernel that preempts may skip probes";

/// Models that wait in a readiness call.
const READINESS: [Model; 4] = [Model::Select, Model::Poll, Model::Epoll, Model::EpollEt];

const TRANSPORTS: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Unix, Transport::Pipe];

/// Whether this is a virtual machine under emulation, 10 to 20 times slower.
fn in_vm() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}

/// A workload at a pace at which the reader always waits for the next message.
fn spec(model: Model, transport: Transport) -> Spec {
    let (messages, interval_ns) = if in_vm() { (16, 5_000_000) } else { (40, 2_000_000) };
    Spec {
        model,
        transport,
        messages,
        size: 1024,
        interval_ns,
        connections: 1,
        active: 1,
        poll_interval_ns: 0,
        warmup: 5,
        calibration: 16,
        meanwhile: model.leaves_thread_free().then_some(Meanwhile::Compute),
        port: 0,
        tuning: Tuning::default(),
    }
}

/// The same, waiting in the model's completion call.
fn waiting(model: Model, transport: Transport) -> Spec {
    Spec { meanwhile: Some(Meanwhile::Wait), ..spec(model, transport) }
}
