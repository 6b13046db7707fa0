//! One message, one thread: blocking, polling, waiting for readiness.

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::{CopySource, Meant, ReadySource};
use iotrace_core::summary::{State, Verdict};

use crate::drawn::{RECVFROM, SELECT, SIZE, Tape, enter, phase1, row, sum};

const ALL: i64 = SIZE as i64;
const EAGAIN: i64 = -11;

#[test]
fn a_reader_that_sleeps_is_blocked_until_ready() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    tape.ready(5030);
    tape.call(enter(RECVFROM, 1100).sleeps(1300, 5040, 5200).receives(5900, SIZE).exit(6000, ALL));
    tape.message(1000, 5000, 6050);
    let (run, warnings) = tape.play();
    assert!(warnings.is_empty(), "{warnings:?}");

    let row = row(&run, "recvfrom");
    assert_eq!((row.total_ns, row.wait_ns, row.lock_ns, row.runq_ns), (4900, 3740, 0, 160));
    assert_eq!((row.copy_source, row.copy_ns, row.copy_upper_ns), (CopySource::Estimated, 700, Some(700)));
    assert_eq!((row.calls, row.bytes, row.sleeps), (1, SIZE, 1));
    assert_eq!((row.phase1.sum_ns, row.phase2.as_ref().map(|dist| dist.sum_ns)), (3900, Some(700)));
    let operations = &run.operations;
    assert_eq!((operations.count, operations.bytes), (1, SIZE));
    assert_eq!(operations.ready_source, ReadySource::SkDataReady);
    // 4030 ns from wanting to ready; the first 100 before the call.
    assert_eq!(phase1(&run), (3930, 0, 100));
    assert_eq!(sum(operations.pickup.as_ref()), (170, 1), "ready at 5030, on the CPU at 5200");
    assert_eq!(sum(operations.latency.as_ref()), (1020, 1), "ready at 5030, had at 6050");
    assert_eq!((operations.phase2.blocked_ns, operations.phase2.free_ns), (Some(700), Some(0)));
    let expected = Verdict { phase1: Meant::Blocked, phase2: Meant::Blocked, synchronous: true };
    assert_eq!(run.verdict, expected);
}

#[test]
fn a_message_that_is_there_already_is_picked_up_and_not_waited_for() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    tape.ready(2010);
    tape.call(enter(RECVFROM, 3100).receives(3500, SIZE).exit(3600, ALL));
    tape.message(3000, 2000, 3650);
    let (run, _) = tape.play();
    assert_eq!(phase1(&run), (0, 0, 0));
    assert_eq!(sum(run.operations.pickup.as_ref()), (1090, 1), "from ready to the enter of the call");
    assert_eq!(sum(run.operations.latency.as_ref()), (1640, 1));
    let row = row(&run, "recvfrom");
    assert_eq!((row.wait_ns, row.sleeps, row.copy_ns, row.work_ns), (0, 0, 400, 100));
}

#[test]
fn every_part_of_a_call_is_where_it_belongs() {
    let mut tape = Tape::new(Model::Blocking, Transport::Tcp);
    let call = enter(RECVFROM, 1000).locked(1100, 1200, 1250).sleeps(1300, 5000, 5100);
    tape.call(call.preempted(5200, 5300).copies(5400, 5600).exit(6000, ALL));
    tape.message(900, 4900, 6100);
    let (run, _) = tape.play();
    let row = row(&run, "recvfrom");
    let parts = [row.total_ns, row.wait_ns, row.lock_ns, row.runq_ns, row.copy_ns, row.work_ns];
    assert_eq!(parts, [5000, 3700, 100, 50 + 100 + 100, 200, 750]);
    assert_eq!((row.copy_source, row.copy_upper_ns), (CopySource::Marked, None));

    let strip = run.strip.expect("a message came");
    let drawn: Vec<_> =
        strip.lanes[0].segments.iter().map(|one| (one.from_ns, one.to_ns, one.state)).collect();
    let expected = [
        (100, 400, State::Work),
        (400, 4100, State::Wait),
        (4100, 4400, State::Runq),
        (4400, 4500, State::Work),
        (4500, 4700, State::Copy),
        (4700, 5100, State::Work),
    ];
    assert_eq!(drawn, expected, "relative to the want at 900");
    let marks: Vec<_> = strip.marks.iter().map(|mark| (mark.at_ns, mark.name.as_str())).collect();
    assert_eq!(marks, [(4000, "sent"), (4098, "ready"), (4100, "woken"), (5200, "seen")]);
}

#[test]
fn the_floor_of_calibration_is_taken_from_the_copy_and_left_as_work() {
    let mut tape = Tape::new(Model::Blocking, Transport::Tcp);
    tape.spec.calibration = 1;
    tape.call(enter(RECVFROM, 100).copies(200, 230).exit(300, 1));
    tape.message(50, 80, 350);
    tape.call(enter(RECVFROM, 1000).copies(1100, 1300).exit(1400, ALL));
    tape.message(900, 950, 1450);
    let (run, _) = tape.play();
    let row = row(&run, "recvfrom");
    assert_eq!(row.calls, 1, "calibration is not counted");
    assert_eq!((row.copy_floor_ns, row.copy_ns, row.work_ns), (Some(30), 170, 230));
    assert_eq!(run.operations.phase2.blocked_ns, Some(170));
}

#[test]
fn polls_are_polling_and_the_gaps_between_far_ones_are_free() {
    let mut tape = Tape::new(Model::Nonblocking, Transport::Udp);
    for at in [1000, 1250, 1500] {
        tape.call(enter(RECVFROM, at).exit(at + 200, EAGAIN));
    }
    tape.ready(1650);
    tape.call(enter(RECVFROM, 1800).receives(1900, SIZE).exit(2000, ALL));
    tape.message(950, 1600, 2050);
    // The thread sleeps between these.
    tape.call(enter(RECVFROM, 10_000).exit(10_200, EAGAIN));
    tape.ready(50_000);
    tape.call(enter(RECVFROM, 60_000).receives(60_100, SIZE).exit(60_200, ALL));
    tape.message(2050, 49_990, 60_250);
    let (run, _) = tape.play();
    let row = row(&run, "recvfrom");
    assert_eq!((row.calls, row.errors.get("EAGAIN"), row.wait_ns), (6, Some(&4), 0));
    assert_eq!((row.latency.count, row.latency.sum_ns), (6, 1200));
    // First: 50 free, then 650 up to the readiness inside the last poll. Second: one poll of 200.
    assert_eq!(phase1(&run), (0, 650 + 200, 50 + 47_950 - 200));
    assert_eq!(sum(run.operations.pickup.as_ref()), (150 + 10_000, 2));
}

#[test]
fn a_poller_that_loses_the_cpu_is_blocked() {
    let mut tape = Tape::new(Model::Nonblocking, Transport::Udp);
    tape.call(enter(RECVFROM, 1000).exit(1200, EAGAIN));
    let mut next = enter(RECVFROM, 9000).exit(9200, EAGAIN);
    next.before_runq = 7700;
    tape.call(next);
    tape.ready(9300);
    tape.call(enter(RECVFROM, 9400).receives(9500, SIZE).exit(9600, ALL));
    tape.message(1000, 9250, 9650);
    let (run, _) = tape.play();
    assert_eq!(phase1(&run), (7700, 8200 - 7700, 100));
}

/// The call that finds data is no poll, but the thread was about to make it all the time.
#[test]
fn a_poller_that_loses_the_cpu_until_data_is_there_is_blocked_too() {
    let mut tape = Tape::new(Model::Nonblocking, Transport::Udp);
    tape.call(enter(RECVFROM, 1000).exit(1200, EAGAIN));
    tape.ready(5000);
    let mut next = enter(RECVFROM, 9000).receives(9100, SIZE).exit(9200, ALL);
    next.before_runq = 7700;
    tape.call(next);
    tape.message(950, 4990, 9250);
    // One that slept between its polls did so by itself.
    tape.call(enter(RECVFROM, 10_000).exit(10_200, EAGAIN));
    tape.ready(50_000);
    let mut next = enter(RECVFROM, 60_000).receives(60_100, SIZE).exit(60_200, ALL);
    next.before_runq = 30;
    tape.call(next);
    tape.message(9250, 49_990, 60_250);
    let (run, _) = tape.play();
    assert_eq!(phase1(&run), (3800, 200 + 200, 50 + 750 + 39_800));
}

#[test]
fn a_readiness_call_waits_and_its_data_call_copies() {
    let mut tape = Tape::new(Model::Select, Transport::Udp);
    tape.ready(5030);
    tape.call(enter(SELECT, 1000).sleeps(1100, 5040, 5200).exit(5300, 1));
    tape.call(enter(RECVFROM, 5400).receives(5600, SIZE).exit(5700, ALL));
    tape.message(950, 5000, 5750);
    let (run, _) = tape.play();
    let (ready, data) = (row(&run, "select"), row(&run, "recvfrom"));
    assert_eq!(
        (ready.wait_ns, ready.runq_ns, ready.bytes, ready.copy_source),
        (3940, 160, 0, CopySource::None)
    );
    assert_eq!((data.wait_ns, data.bytes, data.copy_ns), (0, SIZE, 200));
    assert_eq!(run.operations.joined_to_readiness, Some(1));
    assert_eq!(run.operations.calls_per_message, 2.0);
    assert_eq!(phase1(&run), (4030, 0, 50));
    assert_eq!(sum(run.operations.pickup.as_ref()), (370, 1));
}

#[test]
fn a_readiness_call_whose_time_was_up_announces_nothing() {
    let mut tape = Tape::new(Model::Select, Transport::Udp);
    tape.call(enter(SELECT, 1000).sleeps(1100, 2000, 2100).exit(2200, 0));
    tape.ready(2310);
    tape.call(enter(RECVFROM, 2400).receives(2500, SIZE).exit(2600, ALL));
    tape.message(950, 2300, 2650);
    let (run, _) = tape.play();
    assert_eq!((row(&run, "select").timeouts, run.operations.joined_to_readiness), (1, Some(0)));
}

#[test]
fn a_message_without_records_is_missed_and_said_so() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    tape.ready(5030);
    tape.call(enter(RECVFROM, 1100).sleeps(1300, 5040, 5200).receives(5900, SIZE).exit(6000, ALL));
    tape.message(1000, 5000, 6050);
    // Its call was lost.
    tape.message(6050, 7000, 7500);
    let (run, warnings) = tape.play();
    assert_eq!((run.operations.count, run.operations.bytes), (1, SIZE));
    assert_eq!(sum(run.operations.latency.as_ref()), (1020, 1), "of the other message only");
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.code, "messages_not_joined");
    assert!(warning.text.contains("1 of 2 messages"), "{warning:?}");
}

#[test]
fn a_message_that_came_in_part_is_missed() {
    let mut tape = Tape::new(Model::Blocking, Transport::Tcp);
    tape.call(enter(RECVFROM, 1100).copies(1200, 1250).exit(1300, ALL - 40));
    // The call that brought the other 40 bytes was lost.
    tape.message(1000, 1050, 2000);
    let (run, _) = tape.play();
    assert_eq!((run.operations.count, run.operations.bytes), (0, SIZE - 40));
}

#[test]
fn without_any_record_nothing_is_made_up() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    tape.message(1000, 5000, 6050);
    let (run, warnings) = tape.play();
    assert_eq!((run.operations.count, run.calls.len()), (0, 0));
    assert!(warnings.iter().any(|warning| warning.text.contains("the verdict says nothing")), "{warnings:?}");
    assert!(run.operations.pickup.is_none() && run.operations.latency.is_none() && run.strip.is_none());
    assert_eq!((run.operations.phase2.blocked_ns, run.operations.phase2.free_ns), (None, None));
}

#[test]
fn where_the_kernel_gives_no_sign_the_peer_stands_in_and_is_named() {
    let mut tape = Tape::new(Model::Nonblocking, Transport::Pipe);
    tape.call(enter(RECVFROM, 1000).exit(1200, EAGAIN));
    tape.call(enter(RECVFROM, 3000).exit(3200, ALL));
    tape.message(950, 2000, 3250);
    let (run, warnings) = tape.play();
    assert_eq!(run.operations.ready_source, ReadySource::Peer);
    // The send call returned at 2050.
    assert_eq!(phase1(&run), (0, 200, 900));
    assert_eq!(sum(run.operations.pickup.as_ref()), (950, 1));
    assert!(warnings.iter().any(|warning| warning.code == "ready_from_peer"), "{warnings:?}");
}

/// The sender lost the CPU between queueing a message and saying so.
#[test]
fn a_sign_after_the_read_is_of_the_message_while_its_sender_is_in_the_call() {
    for (sign, source) in [(2040, ReadySource::SkDataReady), (2060, ReadySource::Peer)] {
        let mut tape = Tape::new(Model::Nonblocking, Transport::Udp);
        tape.call(enter(RECVFROM, 1000).exit(1200, EAGAIN));
        tape.call(enter(RECVFROM, 2005).receives(2015, SIZE).exit(2020, ALL));
        // The send call returns at 2050.
        tape.ready(sign);
        tape.message(950, 2000, 2030);
        let (run, _) = tape.play();
        assert_eq!(run.operations.ready_source, source);
        assert_eq!(sum(run.operations.pickup.as_ref()), (0, 1), "it was ready when its copy began");
    }
}
