//! Signals, helper threads and native AIO.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{CopySource, Meant, Role, ThreadRole};
use iotrace_ebpf::abi::{SIGNAL_DELIVERED, SIGNAL_GENERATED};

use crate::drawn::{RECVFROM, SIZE, Tape, enter, on, phase1, row, sum};

const ALL: i64 = SIZE as i64;
const HELPER: u32 = 20;
const READ: u32 = 0;
const PREAD: u32 = 17;
const SIGTIMEDWAIT: u32 = 128;
const FUTEX: u32 = 202;
const GETEVENTS: u32 = 208;
const SUBMIT: u32 = 209;

#[test]
fn the_signal_chain() {
    let mut tape = Tape::new(Model::Sigio, Transport::Udp);
    tape.ready(5010);
    tape.signal(SIGNAL_GENERATED, 5020, 0, 5010);
    tape.signal(SIGNAL_DELIVERED, 5100, 0, 0);
    tape.call(enter(RECVFROM, 5200).receives(5300, SIZE).exit(5350, ALL));
    tape.message(1000, 5000, 5360);
    tape.call(enter(RECVFROM, 5400).exit(5450, -11));
    // While one is pending, two are lost in it; a fourth is one too many for the queue.
    tape.ready(8010);
    tape.signal(SIGNAL_GENERATED, 8020, 0, 8010);
    tape.signal(SIGNAL_GENERATED, 8030, 2, 0);
    tape.signal(SIGNAL_GENERATED, 8035, 2, 0);
    tape.signal(SIGNAL_GENERATED, 8040, 3, 0);
    tape.signal(SIGNAL_DELIVERED, 8120, 0, 0);
    tape.call(enter(RECVFROM, 8250).receives(8300, SIZE).exit(8350, ALL));
    tape.message(5360, 8000, 8400);
    tape.log.counters.handler_runs = 2;
    let (run, _) = tape.play();

    let signals = run.operations.signals.as_ref().expect("the model has signals");
    assert_eq!((signals.generated, signals.coalesced, signals.not_queued), (Some(2), Some(2), Some(1)));
    assert_eq!((signals.delivered, signals.handler_runs), (Some(2), 2));
    assert_eq!(sum(signals.ready_to_generated.as_ref()), (10 + 10, 2));
    assert_eq!(sum(signals.generated_to_delivered.as_ref()), (80 + 100, 2));
    assert_eq!(sum(signals.delivered_to_read.as_ref()), (100 + 130, 2));
    // The second wait begins inside the handler, which asks once more and gets EAGAIN.
    assert_eq!(phase1(&run), (0, 50, 4010 + 2650 - 50));
    assert_eq!(sum(run.operations.pickup.as_ref()), (190 + 240, 2));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Free, Meant::Blocked));
}

/// A signal that was generated before the first message was wanted is none of its.
#[test]
fn a_delivery_is_not_joined_to_a_signal_that_came_after_it() {
    let mut tape = Tape::new(Model::Sigio, Transport::Udp);
    tape.signal(SIGNAL_GENERATED, 900, 0, 0);
    tape.signal(SIGNAL_DELIVERED, 1050, 0, 0);
    tape.call(enter(RECVFROM, 1100).exit(1150, -11));
    tape.ready(5010);
    tape.signal(SIGNAL_GENERATED, 5020, 0, 5010);
    tape.signal(SIGNAL_DELIVERED, 5100, 0, 0);
    tape.call(enter(RECVFROM, 5200).receives(5300, SIZE).exit(5350, ALL));
    tape.message(1000, 5000, 5360);
    let (run, _) = tape.play();
    let signals = run.operations.signals.as_ref().expect("the model has signals");
    assert_eq!((signals.generated, signals.delivered), (Some(1), Some(2)));
    assert_eq!(sum(signals.generated_to_delivered.as_ref()), (80, 1));
    assert_eq!(sum(signals.delivered_to_read.as_ref()), (50 + 100, 2));
}

#[test]
fn a_signal_that_was_waited_for_is_delivered_by_the_return() {
    let mut tape = Tape::new(Model::Sigio, Transport::Udp);
    tape.spec.meanwhile = Some(Meanwhile::Wait);
    tape.ready(5010);
    tape.signal(SIGNAL_GENERATED, 5020, 0, 5010);
    tape.call(enter(SIGTIMEDWAIT, 1100).sleeps(1200, 5030, 5080).exit(5100, 29));
    tape.call(enter(RECVFROM, 5150).receives(5200, SIZE).exit(5250, ALL));
    tape.message(1000, 5000, 5300);
    let (run, _) = tape.play();
    let signals = run.operations.signals.as_ref().expect("the model has signals");
    assert_eq!(signals.delivered, Some(1));
    assert_eq!(sum(signals.generated_to_delivered.as_ref()), (80, 1));
    assert_eq!(sum(signals.delivered_to_read.as_ref()), (50, 1));
    assert_eq!(row(&run, "rt_sigtimedwait").wait_ns, 3830);
    assert_eq!(run.verdict.phase1, Meant::Blocked);
}

#[test]
fn a_helper_thread_waits_and_copies_for_the_application() {
    let mut tape = Tape::new(Model::PosixAio, Transport::Udp);
    tape.thread(HELPER, "iotrace-app");
    tape.ready(5030);
    tape.call(on(HELPER, PREAD, 1050).exit(1070, -29));
    tape.call(on(HELPER, READ, 1100).sleeps(1200, 5040, 5200).receives(5300, SIZE).exit(5400, ALL));
    tape.message(1000, 5000, 5500);
    (tape.log.counters.submitted, tape.log.counters.completed) = (1, 1);
    let (run, _) = tape.play();
    assert!(run.calls.iter().all(|row| row.thread_role == ThreadRole::Helper), "{run:?}");
    assert_eq!(row(&run, "pread64").errors.get("ESPIPE"), Some(&1));
    assert_eq!((row(&run, "read").wait_ns, row(&run, "read").bytes), (3840, SIZE));
    assert_eq!(phase1(&run), (0, 0, 4030), "the application is free all the time");
    assert_eq!((run.operations.phase2.blocked_ns, run.operations.phase2.free_ns), (Some(0), Some(100)));
    let requests = run.operations.requests.as_ref().expect("a model with requests");
    assert_eq!((requests.submitted, requests.completed, requests.copied_in.helper), (1, 1, 1));
    assert_eq!(sum(requests.submit_to_ready.as_ref()), (4030, 1));
    assert_eq!(sum(requests.copy_to_complete.as_ref()), (100, 1));
    assert_eq!(sum(requests.complete_to_seen.as_ref()), (100, 1));
    assert!(!run.verdict.synchronous, "{:?}", run.verdict);
}

#[test]
fn an_application_in_aio_suspend_is_blocked() {
    let mut tape = Tape::new(Model::PosixAio, Transport::Udp);
    tape.spec.meanwhile = Some(Meanwhile::Wait);
    tape.ready(5030);
    tape.call(on(HELPER, READ, 1100).sleeps(1200, 5040, 5200).receives(5300, SIZE).exit(5400, ALL));
    tape.call(enter(FUTEX, 1050).sleeps(1150, 5450, 5500).exit(5550, 0));
    tape.message(1000, 5000, 5600);
    let (run, _) = tape.play();
    assert_eq!(phase1(&run), (3980, 0, 50));
    let futex = row(&run, "futex");
    assert_eq!((futex.role, futex.thread_role, futex.timeouts), (Role::Completion, ThreadRole::App, 0));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Blocked, Meant::Free));
    assert!(run.verdict.synchronous);
}

#[test]
fn native_aio_on_a_socket_blocks_when_it_submits() {
    let mut tape = Tape::new(Model::LinuxAio, Transport::Udp);
    tape.ready(5030);
    tape.call(enter(SUBMIT, 1050).sleeps(1150, 5040, 5200).receives(5300, SIZE).exit(5400, 1));
    tape.call(enter(GETEVENTS, 5450).exit(5480, 1));
    tape.message(1000, 5000, 5500);
    let (run, _) = tape.play();
    assert_eq!(run.operations.count, 1);
    assert_eq!(row(&run, "io_submit").wait_ns, 3890);
    assert_eq!(
        (row(&run, "io_submit").copy_source, row(&run, "io_submit").copy_ns),
        (CopySource::Estimated, 100)
    );
    assert_eq!((row(&run, "io_getevents").wait_ns, row(&run, "io_getevents").timeouts), (0, 0));
    assert_eq!(phase1(&run), (3980, 0, 50));
    let requests = run.operations.requests.as_ref().expect("a model with requests");
    assert_eq!(requests.copied_in.own_call, 1);
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Blocked, Meant::Blocked));
}

#[test]
fn a_poll_request_is_complete_before_its_copy() {
    let mut tape = Tape::new(Model::LinuxAioPoll, Transport::Udp);
    tape.call(enter(SUBMIT, 1050).exit(1100, 1));
    tape.ready(5030);
    tape.call(enter(GETEVENTS, 5100).exit(5150, 1));
    tape.call(enter(RECVFROM, 5200).receives(5300, SIZE).exit(5400, ALL));
    tape.message(1000, 5000, 5500);
    let (run, _) = tape.play();
    assert_eq!(row(&run, "io_submit").copy_source, CopySource::None, "it only polls");
    assert_eq!(phase1(&run), (50, 0, 3980));
    let requests = run.operations.requests.as_ref().expect("a model with requests");
    assert_eq!(requests.copied_in.data_call, 1);
    assert!(requests.copy_to_complete.is_none() && requests.complete_to_seen.is_none(), "{requests:?}");
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Free, Meant::Blocked));
}
