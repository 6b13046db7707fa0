//! Messages of a stream that arrive in pieces, and messages of several connections.

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::{Connection, Message};
use iotrace_core::domain::{CopySource, ReadySource};

use crate::drawn::{APP, FD, RECVFROM, SIZE, Tape, enter, phase1, row, sum};

#[test]
fn pieces_are_one_message_and_its_wait_is_that_for_all_of_them() {
    let mut tape = Tape::new(Model::Blocking, Transport::Tcp);
    tape.ready(5030);
    tape.call(enter(RECVFROM, 1000).sleeps(1100, 5040, 5200).copies(5300, 5350).exit(5500, 60));
    tape.ready(7990);
    tape.call(enter(RECVFROM, 5550).sleeps(5600, 8000, 8100).copies(8200, 8230).exit(8300, 40));
    tape.message(950, 5000, 8350);
    let (run, warnings) = tape.play();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!((run.operations.count, run.operations.bytes), (1, SIZE));
    let row = row(&run, "recvfrom");
    assert_eq!((row.calls, row.bytes, row.wait_ns), (2, SIZE, 3940 + 2400));
    // Until the first piece was ready, and asleep once more for the second.
    assert_eq!(phase1(&run), (4030 + 2400, 0, 50));
    assert_eq!(sum(run.operations.pickup.as_ref()), (170, 1), "for its first piece");
    assert_eq!(sum(run.operations.latency.as_ref()), (8350 - 5030, 1));
    assert_eq!((row.copy_ns, run.operations.phase2.blocked_ns), (80, Some(80)));
}

#[test]
fn one_piece_without_marks_makes_the_sum_an_estimate() {
    let mut tape = Tape::new(Model::Blocking, Transport::Tcp);
    tape.call(enter(RECVFROM, 1000).copies(1100, 1150).exit(1200, 60));
    tape.call(enter(RECVFROM, 1300).receives(1390, 40).exit(1400, 40));
    tape.message(950, 960, 1450);
    let (run, _) = tape.play();
    let row = row(&run, "recvfrom");
    assert_eq!(row.copy_source, CopySource::Estimated);
    assert_eq!((row.copy_ns, row.copy_upper_ns), (50 + 90, Some(50 + 90)));
}

#[test]
fn each_connection_has_its_own_messages() {
    let mut tape = Tape::new(Model::Epoll, Transport::Udp);
    let other = Connection { fd: FD + 1, name: "127.0.0.1:8".to_owned(), thread: APP };
    tape.log.connections.push(other);
    (tape.spec.connections, tape.spec.active) = (2, 2);
    // Sent in one order, read in the other.
    tape.message(900, 1000, 3000);
    tape.message(900, 1100, 2000);
    tape.log.messages[1].connection = 1;
    tape.log.measure_to_ns = 3000;
    let mut call = enter(RECVFROM, 1800).receives(1850, SIZE).exit(1900, SIZE as i64);
    (call.fd, call.sock) = (FD + 1, 0xdead);
    tape.call(call);
    tape.call(enter(RECVFROM, 2800).receives(2850, SIZE).exit(2900, SIZE as i64));
    let (run, _) = tape.play();
    assert_eq!((run.operations.count, run.operations.bytes), (2, 2 * SIZE));
    assert_eq!(run.operations.ready_source, ReadySource::Peer);
    // Send calls returned at 1050 and 1150.
    assert_eq!(sum(run.operations.pickup.as_ref()), ((2800 - 1050) + (1800 - 1150), 2));
    assert_eq!(sum(run.operations.latency.as_ref()), ((3000 - 1050) + (2000 - 1150), 2));
    assert_eq!(row(&run, "recvfrom").fd.as_ref().map(|fd| fd.name.as_str()), Some("several"));
}

#[test]
fn reads_of_other_descriptors_are_no_messages() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    let mut stranger = enter(RECVFROM, 1000).exit(1100, SIZE as i64);
    stranger.fd = 77;
    tape.call(stranger);
    tape.message(900, 950, 1200);
    let (run, _) = tape.play();
    assert_eq!(run.operations.count, 0);
    assert_eq!(row(&run, "recvfrom").fd, None);
}

/// A message counts as the workload counted it, whatever came before and after.
#[test]
fn warm_up_is_not_counted() {
    let mut tape = Tape::new(Model::Blocking, Transport::Udp);
    tape.spec.warmup = 1;
    let sizes = [(100, 150, 300), (1000, 1050, 1300)];
    for (want_ns, sent_ns, have_ns) in sizes {
        tape.call(enter(RECVFROM, want_ns + 10).receives(have_ns - 50, SIZE).exit(have_ns - 20, SIZE as i64));
        let message =
            Message { sent_ns, sent_done_ns: sent_ns + 9, want_ns, have_ns, bytes: SIZE, connection: 0 };
        tape.log.messages.push(message);
    }
    tape.spec.messages = 1;
    (tape.log.measure_from_ns, tape.log.measure_to_ns) = (1000, 1300);
    let (run, _) = tape.play();
    assert_eq!((run.operations.count, row(&run, "recvfrom").calls), (1, 1));
    assert_eq!(sum(run.operations.latency.as_ref()), (1300 - 1059, 1));
}
