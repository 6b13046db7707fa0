//! The table of what each missing probe costs: the figure that needs it is `null`, or says that it is known less
//! well; what does not need it is there all the same.

use iotrace::bpf::exact;
use iotrace::bpf::probes::PROBES;
use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::{CopySource, ProbeId, ReadySource, Role};
use iotrace_core::summary::{Requests, Run, Signals};

use crate::degraded::without;

/// A probe, a workload that uses it, and what its absence does to the result.
type Line = (ProbeId, Model, Transport, fn(&Run) -> bool);

const TABLE: &[Line] = &[
    (ProbeId::SkDataReady, Model::Blocking, Transport::Tcp, |run| {
        run.operations.ready_source > ReadySource::SkDataReady
    }),
    // The window of an estimate then ends with the call.
    (ProbeId::SockRecvLength, Model::Blocking, Transport::Udp, |run| {
        copy_source(run) == CopySource::Estimated && data(run).copy_upper_ns.is_some()
    }),
    (ProbeId::SkbCopyDatagramIovec, Model::Blocking, Transport::Tcp, |run| {
        copy_source(run) == CopySource::Estimated && data(run).copy_upper_ns.is_some()
    }),
    // Another mark ends these copies, later.
    (ProbeId::TcpRcvSpaceAdjust, Model::Blocking, Transport::Tcp, |run| {
        copy_source(run) == CopySource::Marked
    }),
    (ProbeId::ConsumeSkb, Model::Blocking, Transport::Unix, |run| copy_source(run) == CopySource::Marked),
    (ProbeId::SignalGenerate, Model::Sigio, Transport::Udp, |run| {
        let Signals { generated, coalesced, not_queued, delivered, .. } = signals(run);
        (generated, coalesced, not_queued) == (&None, &None, &None) && delivered.is_some()
    }),
    (ProbeId::SignalDeliver, Model::Sigio, Transport::Udp, |run| {
        let Signals { generated, delivered, generated_to_delivered, delivered_to_read, .. } = signals(run);
        delivered.is_none()
            && generated_to_delivered.is_none()
            && delivered_to_read.is_none()
            && generated.is_some()
    }),
    (ProbeId::IoUringSubmitReq, Model::IoUring, Transport::Tcp, no_ways),
    (ProbeId::IoUringComplete, Model::IoUring, Transport::Tcp, no_ways),
    (ProbeId::IoUringQueueAsyncWork, Model::IoUring, Transport::Tcp, no_ways),
    (ProbeId::IoUringPollArm, Model::IoUring, Transport::Tcp, |run| {
        let Requests { inline, polled, worker, .. } = requests(run);
        (inline, polled) == (&None, &None) && worker.is_some()
    }),
    (ProbeId::IoUringTaskAdd, Model::IoUring, Transport::Pipe, |run| {
        run.operations.ready_source > ReadySource::TaskAdd && requests(run).polled.is_some()
    }),
];

fn data(run: &Run) -> &iotrace_core::summary::Call {
    run.calls.iter().find(|row| row.role == Role::Data).expect("a data row")
}

fn copy_source(run: &Run) -> CopySource {
    data(run).copy_source
}

fn signals(run: &Run) -> &Signals {
    run.operations.signals.as_ref().expect("the model has signals")
}

fn requests(run: &Run) -> &Requests {
    run.operations.requests.as_ref().expect("the model has requests")
}

/// How requests were served is not known; that they were, the application counted.
fn no_ways(run: &Run) -> bool {
    let Requests { inline, polled, worker, submitted, completed, .. } = requests(run);
    (inline, polled, worker) == (&None, &None, &None) && *submitted > 0 && *completed > 0
}

/// The workload that shows what a probe is for.
pub fn user_of(probe: ProbeId) -> Option<(Model, Transport)> {
    TABLE.iter().find(|line| line.0 == probe).map(|line| (line.1, line.2))
}

#[test]
#[ignore = "needs root"]
fn what_needs_a_missing_probe_is_null_or_says_so() {
    for &(id, model, transport, shows) in TABLE {
        let probe = PROBES.iter().find(|probe| probe.id == id).expect("it is in the probe table");
        let document = without(id.name(), model, transport);
        let said = format!("{id} is not attached: switched off with --without. Without it: {}", probe.lost);
        assert!(document.warnings.iter().any(|one| one.text == said), "{id}: {:?}", document.warnings);
        assert!(shows(&document.runs[0]), "{id}: {:?}", document.runs[0]);
    }
}

/// `trace` has the rest, see `kernel_trace/missing.rs`, and the hooks of the exact tier are in
/// `kernel_exact/exact_tier.rs`.
#[test]
#[ignore = "needs root"]
fn every_optional_probe_is_in_a_table() {
    for probe in PROBES.iter().filter(|probe| !probe.required) {
        let here = TABLE.iter().any(|line| line.0 == probe.id);
        let of_trace = [
            ProbeId::SchedProcessFork,
            ProbeId::SchedProcessExec,
            ProbeId::TaskRename,
            ProbeId::TcpDestroySock,
            ProbeId::PageFaultKernel,
        ];
        let of_trace = of_trace.contains(&probe.id);
        // A second chance adds nothing of its own: its absence shows in what is counted as lost.
        let exact = exact::GROUPS.contains(&probe.group);
        assert!(here || of_trace || exact || probe.again_of.is_some(), "{} has no line", probe.name());
    }
}
