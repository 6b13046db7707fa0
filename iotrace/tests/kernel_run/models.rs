//! What each model's rows and verdict must say, given what the workload says of itself.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{CopySource, Meant, ReadySource, Role, ThreadRole};
use iotrace_core::summary::{Call, Verdict};

use crate::recorded::{Measured, measured, one_of_three, within};
use crate::{READINESS, TRANSPORTS, spec, waiting};

const APP: ThreadRole = ThreadRole::App;

fn has_verdict(measured: &Measured, phase1: Meant, phase2: Meant) {
    let synchronous = phase1 == Meant::Blocked || phase2 == Meant::Blocked;
    assert_eq!(measured.run.verdict, Verdict { phase1, phase2, synchronous }, "{}", measured.what());
}

/// The row waited for as long as the senders' clocks say that there was nothing to read.
fn waited_for_data(measured: &Measured, row: &Call) -> Result<(), String> {
    let (from, to) = (measured.waited(), measured.waited_at_most());
    match within(row.wait_ns, from, to, 5) {
        true => Ok(()),
        false => Err(format!("{} waited {} of {from}..{to}", row.syscall, row.wait_ns)),
    }
}

#[test]
#[ignore = "needs root"]
fn blocking_waits_in_its_one_call() {
    for transport in TRANSPORTS {
        one_of_three(&spec(Model::Blocking, transport), |measured| {
            let row = measured.row(Role::Data, APP);
            assert_eq!(measured.run.calls.len(), 1, "{}", measured.what());
            assert_eq!(row.calls, measured.run.messages, "{}", measured.what());
            assert_eq!((row.errors.len(), row.restarts), (0, 0), "{}", measured.what());
            assert_eq!(row.bytes, measured.run.messages * measured.run.size);
            let fd = row.fd.as_ref().expect("one connection");
            assert_eq!((fd.kind.as_str(), &fd.name), (transport.name(), &measured.log.connections[0].name));
            has_verdict(measured, Meant::Blocked, Meant::Blocked);
            let phase1 = measured.run.operations.phase1;
            let blocked = within(phase1.blocked_ns, measured.waited(), measured.waited_at_most(), 5);
            let blocked = if blocked { Ok(()) } else { Err(format!("blocked for {}", phase1.blocked_ns)) };
            waited_for_data(measured, row).and(blocked)
        });
    }
}

#[test]
#[ignore = "needs root"]
fn nonblocking_polls_as_often_as_it_says() {
    for transport in [Transport::Udp, Transport::Tcp] {
        one_of_three(&spec(Model::Nonblocking, transport), |measured| {
            let row = measured.row(Role::Data, APP);
            let counters = &measured.log.counters;
            assert!(counters.again > 0, "{}", measured.what());
            assert_eq!(row.errors.get("EAGAIN"), Some(&counters.again), "{}", measured.what());
            assert_eq!(row.calls, counters.reads + counters.again, "{}", measured.what());
            assert_eq!((row.wait_ns, row.sleeps), (0, 0), "{}", measured.what());
            // On a busy machine it is blocked, too: without a CPU between two polls. It is never free, unless
            // the sender gets so little CPU that hardly anything is waited for.
            let (phase1, verdict) = (measured.run.operations.phase1, measured.run.verdict);
            assert_eq!(verdict.phase2, Meant::Blocked, "{}", measured.what());
            match verdict.phase1 != Meant::Free && phase1.free_ns < phase1.polling_ns + phase1.blocked_ns {
                true => Ok(()),
                false => Err(format!("{phase1:?}, {verdict:?}")),
            }
        });
    }
}

/// Between the polls the thread sleeps, which is neither a call for data nor waiting for it.
#[test]
#[ignore = "needs root"]
fn nonblocking_is_free_between_polls_far_apart() {
    let slow = spec(Model::Nonblocking, Transport::Udp);
    let measured =
        measured(&iotrace_core::domain::spec::Spec { poll_interval_ns: slow.interval_ns / 4, ..slow });
    let row = measured.row(Role::Data, APP);
    assert_eq!(row.errors.get("EAGAIN"), Some(&measured.log.counters.again), "{}", measured.what());
    assert_eq!(row.wait_ns, 0, "{}", measured.what());
    assert_eq!(measured.run.verdict.phase1, Meant::Free, "{}", measured.what());
}

#[test]
#[ignore = "needs root"]
fn readiness_calls_wait_and_data_calls_do_not() {
    for model in READINESS {
        for transport in [Transport::Udp, Transport::Tcp] {
            one_of_three(&spec(model, transport), |measured| {
                let (ready, data) = (measured.row(Role::Readiness, APP), measured.row(Role::Data, APP));
                let counters = &measured.log.counters;
                let calls = counters.readiness + counters.readiness_empty;
                assert_eq!(
                    (ready.calls, ready.timeouts),
                    (calls, counters.readiness_empty),
                    "{}",
                    measured.what()
                );
                assert_eq!((ready.bytes, ready.copy_source), (0, CopySource::None), "{}", measured.what());
                assert_eq!(
                    data.errors.get("EAGAIN").copied().unwrap_or(0),
                    counters.again,
                    "{}",
                    measured.what()
                );
                assert_eq!(data.calls, counters.reads + counters.again, "{}", measured.what());
                assert_eq!((data.wait_ns, data.sleeps), (0, 0), "{}", measured.what());
                let joined = measured.run.operations.joined_to_readiness;
                assert_eq!(joined, Some(measured.run.messages), "{}", measured.what());
                has_verdict(measured, Meant::Blocked, Meant::Blocked);
                waited_for_data(measured, ready)
            });
        }
    }
}

#[test]
#[ignore = "needs root"]
fn only_models_with_readiness_calls_are_joined() {
    let measured = measured(&spec(Model::Blocking, Transport::Udp));
    assert_eq!(measured.run.operations.joined_to_readiness, None);
}

#[test]
#[ignore = "needs root"]
fn every_signal_is_accounted_for() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for spec in [spec(Model::Sigio, transport), waiting(Model::Sigio, transport)] {
            let measured = measured(&spec);
            let signals = measured.run.operations.signals.as_ref().expect("the model has signals");
            let counts = [signals.generated, signals.coalesced, signals.not_queued, signals.delivered];
            let [generated, coalesced, not_queued, delivered] = counts.map(|count| count.expect("measured"));
            assert_eq!(delivered, signals.handler_runs, "{}", measured.what());
            assert_eq!(signals.handler_runs, measured.log.counters.handler_runs, "{}", measured.what());
            // One is on its way at either edge of the window.
            assert!(generated.abs_diff(delivered) <= 1, "{}", measured.what());
            let sent = generated + coalesced + not_queued;
            assert!(sent + 1 >= measured.run.messages, "a message without a signal: {}", measured.what());
            assert_eq!(not_queued, 0, "{}", measured.what());
            let data = measured.row(Role::Data, APP);
            assert_eq!(
                data.calls,
                measured.log.counters.reads + measured.log.counters.again,
                "{}",
                measured.what()
            );
            let waits = spec.meanwhile == Some(Meanwhile::Wait);
            has_verdict(measured, if waits { Meant::Blocked } else { Meant::Free }, Meant::Blocked);
            let read = signals.delivered_to_read.as_ref().expect("handlers read");
            assert_eq!(read.count, delivered, "every delivery leads to a read: {}", measured.what());
        }
    }
}

#[test]
#[ignore = "needs root"]
fn sigtimedwait_is_where_a_waiting_sigio_waits() {
    one_of_three(&waiting(Model::Sigio, Transport::Udp), |measured| {
        waited_for_data(measured, measured.app("rt_sigtimedwait"))
    });
}

/// Where the kernel says when data is ready on a socket, that is what is used for all messages.
#[test]
#[ignore = "needs root"]
fn readiness_is_what_the_socket_said() {
    let btf = iotrace::bpf::btf::Btf::of_kernel().expect("this kernel has BTF");
    if !crate::support::has("sk_data_ready", (6, 3), btf.tracepoint("sk_data_ready").is_some()) {
        return;
    }
    for model in [Model::Blocking, Model::Nonblocking, Model::Epoll, Model::Sigio, Model::IoUring] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let measured = measured(&spec(model, transport));
            assert_eq!(measured.run.operations.ready_source, ReadySource::SkDataReady, "{}", measured.what());
            assert!(measured.warnings.is_empty(), "{:?}", measured.warnings);
        }
    }
}
