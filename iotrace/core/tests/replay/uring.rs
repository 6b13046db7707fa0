//! io_uring: at once, after a poll, by a worker, by the SQ thread.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{Meant, Role, ThreadRole};
use iotrace_core::records::record::Record;
use iotrace_core::summary::{CopiedIn, Requests, Run, State};
use iotrace_ebpf::abi::{CopyRecord, UringEvent, UringRecord};
use iotrace_ebpf::span::Window;

use crate::drawn::{APP, ENTER, OUTSIDE, SIZE, SOCK, Tape, enter, head, phase1, row, sum};

const ALL: i64 = SIZE as i64;
const WORKER: u32 = 30;
const SQ_THREAD: u32 = 31;

fn requests(run: &Run) -> &Requests {
    run.operations.requests.as_ref().expect("a model with requests")
}

/// Requests: submitted and completed, and of these at once, after a poll, by a worker.
fn ways(run: &Run) -> [u64; 5] {
    let Requests { submitted, completed, inline, polled, worker, .. } = requests(run);
    let known = |way: &Option<u64>| way.expect("io_uring tells");
    [*submitted, *completed, known(inline), known(polled), known(worker)]
}

#[test]
fn data_that_is_there_is_copied_by_the_submitting_call() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.ready(510);
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    tape.received(APP, ENTER, 1150, 100);
    tape.uring(UringEvent::Complete, APP, ENTER, 1160, ALL);
    tape.call(enter(ENTER, 1050).arguments(0, 0).exit(1200, 1));
    tape.message(1000, 500, 1300);
    let (run, _) = tape.play();
    assert_eq!(ways(&run), [1, 1, 1, 0, 0]);
    assert_eq!(requests(&run).copied_in, CopiedIn { own_call: 1, ..CopiedIn::default() });
    assert_eq!(phase1(&run), (0, 0, 0));
    assert_eq!(sum(run.operations.pickup.as_ref()), (590, 1), "until the submission");
    assert_eq!(sum(requests(&run).copy_to_complete.as_ref()), (10, 1));
    assert_eq!(sum(requests(&run).complete_to_seen.as_ref()), (140, 1));
    assert_eq!(row(&run, "io_uring_enter").role, Role::Submit);
    assert_eq!((run.operations.phase2.blocked_ns, run.operations.phase2.free_ns), (Some(50), Some(0)));
}

/// The usual course: nothing there, polled, woken, copied in task work.
fn polled(tape: &mut Tape, nr: u32) {
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    tape.uring(UringEvent::PollArm, APP, ENTER, 1150, 0);
    tape.ready(5010);
    tape.uring(UringEvent::TaskAdd, 99, OUTSIDE, 5020, 1);
    tape.received(APP, nr, 5200, 100);
    tape.uring(UringEvent::Complete, APP, nr, 5220, ALL);
    tape.message(1000, 5000, 5300);
}

#[test]
fn task_work_is_the_applications_own_time() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    polled(&mut tape, OUTSIDE);
    tape.call(enter(ENTER, 1050).arguments(0, 0).exit(1200, 1));
    let (run, _) = tape.play();
    assert_eq!(ways(&run), [1, 1, 0, 1, 0]);
    assert_eq!(requests(&run).copied_in, CopiedIn { task_work: 1, ..CopiedIn::default() });
    assert_eq!(phase1(&run), (150, 0, 4010 - 150), "in the submitting call, then free");
    assert_eq!((run.operations.phase2.blocked_ns, run.operations.phase2.free_ns), (Some(180), Some(0)));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Free, Meant::Blocked));
    let strip = run.strip.as_ref().expect("a message came");
    let copy = strip.lanes[0].segments.iter().find(|segment| segment.state == State::Copy).expect("drawn");
    assert_eq!((copy.from_ns, copy.to_ns, copy.syscall.as_deref()), (4020, 4200, None));
}

/// Where the kernel tells when it begins to receive, the window begins there and not at the wake-up.
#[test]
fn a_request_that_is_seen_to_be_issued_has_a_narrower_window() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.uring(UringEvent::Issue, APP, ENTER, 1120, 0);
    tape.uring(UringEvent::Issue, APP, OUTSIDE, 5150, 0);
    polled(&mut tape, OUTSIDE);
    tape.call(enter(ENTER, 1050).arguments(0, 0).exit(1200, 1));
    let (run, _) = tape.play();
    assert_eq!(run.operations.count, 1);
    assert_eq!(run.operations.phase2.upper_ns, Some(50), "from the issue to the end of the receive");
    assert_eq!(sum(run.operations.pickup.as_ref()), (140, 1), "from ready to the issue");
}

#[test]
fn a_multishot_request_that_is_ahead_brings_each_message_its_own() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    tape.uring(UringEvent::PollArm, APP, ENTER, 1150, 0);
    // Two messages arrive and are copied before the application takes the first.
    for at in [5000, 6000] {
        tape.ready(at + 10);
        tape.uring(UringEvent::TaskAdd, 99, OUTSIDE, at + 20, 1);
        tape.received(APP, OUTSIDE, at + 200, 100);
        tape.uring(UringEvent::Complete, APP, OUTSIDE, at + 220, ALL);
    }
    tape.call(enter(ENTER, 1050).arguments(0, 0).exit(1200, 1));
    tape.message(1000, 5000, 8000);
    tape.message(8010, 6000, 8100);
    let (run, warnings) = tape.play();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(ways(&run), [1, 2, 0, 2, 0], "one request, two completions, both after a poll");
    assert_eq!(run.operations.count, 2);
    assert_eq!(requests(&run).copied_in, CopiedIn { task_work: 2, ..CopiedIn::default() });
}

#[test]
fn a_waiting_enter_is_blocked_and_pays_for_the_copy() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.spec.meanwhile = Some(Meanwhile::Wait);
    polled(&mut tape, ENTER);
    tape.call(enter(ENTER, 1050).arguments(1, 1).sleeps(1250, 5030, 5100).exit(5250, 1));
    let (run, _) = tape.play();
    assert_eq!(requests(&run).copied_in, CopiedIn { own_call: 1, ..CopiedIn::default() });
    let row = row(&run, "io_uring_enter");
    assert_eq!((row.role, row.wait_ns), (Role::Completion, 3780));
    assert_eq!(phase1(&run), (3960, 0, 50));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Blocked, Meant::Blocked));
}

#[test]
fn marked_copies_belong_to_the_request_they_come_before() {
    let mut tape = Tape::new(Model::IoUring, Transport::Tcp);
    let window = Window { begin: 5100, end: 5140, off: 0, bytes: SIZE };
    let copy = CopyRecord { head: head(APP, 5140), window, sock: SOCK, nr: OUTSIDE, reserved: 0 };
    tape.add(Record::Copy(copy));
    polled(&mut tape, OUTSIDE);
    let (run, _) = tape.play();
    assert_eq!(run.operations.phase2.blocked_ns, Some(40));
    assert_eq!(sum(run.operations.pickup.as_ref()), (90, 1), "ready at 5010, copied from 5100");
    assert_eq!(sum(requests(&run).copy_to_complete.as_ref()), (80, 1));
}

#[test]
fn a_worker_copies_for_the_application() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.thread(WORKER, "iou-wrk-10");
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    // As before 6.0, when this event named the request and no user data.
    let async_work = UringRecord {
        head: head(APP, 1120),
        ctx: 1,
        req: 7,
        user_data: 999,
        event: UringEvent::QueueAsync as u32,
        ..UringRecord::default()
    };
    tape.add(Record::Uring(async_work));
    tape.ready(5010);
    tape.received(WORKER, OUTSIDE, 5200, 100);
    tape.uring(UringEvent::Complete, WORKER, OUTSIDE, 5220, ALL);
    tape.message(1000, 5000, 5300);
    let (run, _) = tape.play();
    assert_eq!(ways(&run), [1, 1, 0, 0, 1]);
    assert_eq!(requests(&run).copied_in, CopiedIn { worker: 1, ..CopiedIn::default() });
    assert_eq!(run.operations.phase2.blocked_ns, Some(0));
    assert!(run.operations.phase2.free_ns > Some(0));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Free, Meant::Free));
    assert!(!run.verdict.synchronous);
}

#[test]
fn the_sq_thread_copies_and_the_application_makes_no_call() {
    let mut tape = Tape::new(Model::IoUringSqpoll, Transport::Udp);
    tape.thread(SQ_THREAD, "iou-sqp-10");
    tape.uring(UringEvent::Submit, SQ_THREAD, OUTSIDE, 1100, 0);
    tape.uring(UringEvent::PollArm, SQ_THREAD, OUTSIDE, 1150, 0);
    tape.ready(5010);
    tape.uring(UringEvent::TaskAdd, 99, OUTSIDE, 5020, 1);
    tape.received(SQ_THREAD, OUTSIDE, 5200, 100);
    tape.uring(UringEvent::Complete, SQ_THREAD, OUTSIDE, 5220, ALL);
    tape.message(1000, 5000, 5300);
    let (run, _) = tape.play();
    assert_eq!(ways(&run), [1, 1, 0, 1, 0]);
    assert_eq!(requests(&run).copied_in, CopiedIn { sqpoll: 1, ..CopiedIn::default() });
    assert_eq!((run.calls.len(), run.operations.calls_per_message), (0, 0.0));
    assert_eq!(phase1(&run), (0, 0, 4010));
    assert_eq!((run.verdict.phase1, run.verdict.phase2), (Meant::Free, Meant::Free));
    let strip = run.strip.as_ref().expect("a message came");
    let roles: Vec<ThreadRole> = strip.lanes.iter().map(|lane| lane.thread_role).collect();
    assert_eq!(roles, [ThreadRole::App, ThreadRole::Sqpoll]);
}

#[test]
fn a_completion_that_was_lost_is_a_message_missed() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    tape.received(APP, ENTER, 1150, 100);
    tape.message(1000, 500, 1300);
    let (run, warnings) = tape.play();
    assert_eq!((run.operations.count, ways(&run)), (0, [1, 0, 0, 0, 0]));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

/// Before 6.3 no probe tells when a socket is ready; the poll wake-up does.
#[test]
fn without_sk_data_ready_the_poll_wake_up_tells() {
    let mut tape = Tape::new(Model::IoUring, Transport::Udp);
    tape.uring(UringEvent::Submit, APP, ENTER, 1100, 0);
    tape.uring(UringEvent::PollArm, APP, ENTER, 1150, 0);
    tape.uring(UringEvent::TaskAdd, 99, OUTSIDE, 5020, 1);
    tape.uring(UringEvent::Complete, APP, OUTSIDE, 5220, ALL);
    tape.message(1000, 5000, 5300);
    let (run, _) = tape.play();
    assert_eq!(run.operations.ready_source, iotrace_core::domain::ReadySource::TaskAdd);
    assert_eq!(phase1(&run), (0, 0, 4020));
    assert_eq!(sum(run.operations.latency.as_ref()), (280, 1));
}

/// Data that was ready before it was wanted has no phase 1, however long the thread then waits for the SQ
/// thread to come for it, and whatever it waited for before.
#[test]
fn waiting_for_somebody_who_comes_late_is_no_phase_1() {
    let mut tape = Tape::new(Model::IoUringSqpoll, Transport::Udp);
    tape.spec.meanwhile = Some(Meanwhile::Wait);
    tape.thread(SQ_THREAD, "iou-sqp-10");
    for sent in [900, 910, 920] {
        tape.ready(sent + 5);
    }
    for (n, sent) in (0..).zip([900, 910, 920]) {
        let at = 1000 + n * 1000;
        tape.uring(UringEvent::Submit, SQ_THREAD, OUTSIDE, at + 600, 0);
        tape.received(SQ_THREAD, OUTSIDE, at + 700, 100);
        tape.uring(UringEvent::Complete, SQ_THREAD, OUTSIDE, at + 720, ALL);
        tape.call(
            enter(ENTER, at + 50).arguments(1, 1).sleeps(at + 100, at + 750, at + 800).exit(at + 850, 1),
        );
        tape.message(at, sent, at + 900);
    }
    let (run, _) = tape.play();
    assert_eq!(row(&run, "io_uring_enter").wait_ns, 3 * 650);
    assert_eq!(phase1(&run), (0, 0, 0));
    // Each was taken from the ring at 600.
    assert_eq!(sum(run.operations.pickup.as_ref()), ((1600 - 905) + (2600 - 915) + (3600 - 925), 3));
}
