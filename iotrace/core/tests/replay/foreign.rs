//! Operations of messages that no built-in workload made: a program's own account of them is enough.

use iotrace_core::domain::spec::{Connection, Counters, Message};
use iotrace_core::domain::traffic::{RequestKind, Traffic, Window};
use iotrace_core::domain::{CopySource, Phase1, ReadySource};
use iotrace_core::messages::operation::{Measured, Threads, operations};
use iotrace_core::messages::requests::requests;
use iotrace_core::messages::strip::strip;
use iotrace_core::messages::transfer::{Place, transfers};
use iotrace_core::records::journal::Journal;
use iotrace_core::records::record::Record;
use iotrace_ebpf::abi::{CallRecord, ReadyRecord};

use crate::drawn::{RECVFROM, SOCK, head, on};

/// The threads of a server: each serves one connection.
const THREADS: [u32; 2] = [21, 22];

fn connections() -> [Connection; 2] {
    THREADS.map(|thread| Connection { fd: thread as i32, name: "10.0.0.1:443".to_owned(), thread })
}

/// A message that was received over this connection; its send call took 10 ns.
fn message(connection: u32, want_ns: u64, sent_ns: u64, have_ns: u64, bytes: u64) -> Message {
    Message { connection, sent_ns, sent_done_ns: sent_ns + 10, want_ns, have_ns, bytes }
}

/// A call for the connection of this thread.
fn call(call: CallRecord) -> Record {
    Record::Call(CallRecord { fd: call.head.tid as i32, ..call })
}

fn journal() -> Journal {
    let mut journal = Journal::default();
    // The request of the first client: waited for, then copied between marks.
    journal.add(Record::Ready(ReadyRecord { head: head(99, 5030), sock: SOCK }));
    let slept = on(THREADS[0], RECVFROM, 1100).sleeps(1300, 5040, 5200).copies(5300, 5400);
    journal.add(call(slept.exit(5600, 300)));
    // That of the second: there before it was asked for.
    let mut ready = on(THREADS[1], RECVFROM, 7000).copies(7100, 7150).exit(7300, 40);
    ready.sock = SOCK + 1;
    journal.add(call(ready));
    // A read of a descriptor that is none of the connections.
    journal.add(Record::Call(on(THREADS[1], RECVFROM, 7400).exit(7500, 8)));
    journal.sort();
    journal
}

#[test]
fn messages_that_no_workload_made_become_operations() {
    let (journal, connections) = (journal(), connections());
    let messages = [message(0, 1000, 5000, 5700, 300), message(1, 6500, 6000, 7350, 40)];
    let traffic = Traffic {
        connections: &connections,
        messages: &messages,
        calibration: 0,
        warmup: 0,
        reference: None,
        app_threads: &THREADS,
        measured: Window { from_ns: 1000, to_ns: 7350 },
        requests: None,
    };
    let threads = Threads::of(&journal);
    let transfers = transfers(&journal, &traffic);
    assert_eq!(transfers.iter().map(|one| one.connection).collect::<Vec<_>>(), [0, 1]);
    assert!(transfers.iter().all(|one| one.place == Place::DataCall), "{transfers:?}");

    let Measured { operations, copies } = operations(&journal, &threads, &transfers, &traffic);
    let [first, second] = &operations[..] else { panic!("{operations:?}") };
    assert!(!copies.is_exact());
    assert_eq!((first.index, first.bytes(), first.message), (0, 300, messages[0]));
    assert_eq!((first.ready, first.ready_source), (5030, ReadySource::SkDataReady));
    // 4030 ns from the request to ready; the first 100 before the call.
    assert_eq!(first.phase1, Phase1 { blocked_ns: 3930, polling_ns: 0, free_ns: 100 });
    assert_eq!((first.pickup(), first.latency()), (170, 670));
    assert_eq!((first.copy_blocked, first.copy_free, first.copy_source), (100, 0, CopySource::Marked));

    assert_eq!((second.index, second.bytes()), (1, 40));
    assert_eq!((second.ready, second.ready_source), (6010, ReadySource::Peer));
    assert_eq!(second.phase1, Phase1::default());
    assert_eq!((second.pickup(), second.latency(), second.copy_blocked), (990, 1340, 50));

    let strip = strip(&journal, &threads, &operations, &traffic).expect("two operations");
    assert_eq!((strip.message, strip.lanes[0].tid), (1, THREADS[1]), "the later of two is the median");
    assert!(requests(&journal, &operations, &traffic, &Counters::default()).is_none());
}

/// The first message gives the floor under the copies of the others, and the second is left out.
#[test]
fn a_program_may_calibrate_and_warm_up_by_its_own_messages() {
    let connections = connections();
    let mut journal = Journal::default();
    let copied = [(1000, 30, 1), (2000, 400, 100), (3000, 230, 100)];
    for (at, copy, bytes) in copied {
        let one = on(THREADS[0], RECVFROM, at).copies(at + 100, at + 100 + copy);
        journal.add(call(one.exit(at + 700, bytes)));
    }
    journal.sort();
    let messages = copied.map(|(at, _, bytes)| message(0, at - 50, at - 40, at + 750, bytes as u64));
    let traffic = Traffic {
        connections: &connections,
        messages: &messages,
        calibration: 1,
        warmup: 1,
        reference: None,
        app_threads: &THREADS,
        measured: Window { from_ns: 2950, to_ns: 3750 },
        requests: Some(RequestKind::Helper),
    };
    let threads = Threads::of(&journal);
    let transfers = transfers(&journal, &traffic);
    let Measured { operations, .. } = operations(&journal, &threads, &transfers, &traffic);
    let [counted] = &operations[..] else { panic!("{operations:?}") };
    assert_eq!((counted.index, counted.message, counted.copy_blocked), (0, messages[2], 200));
    // What only the program can count is given beside the traffic.
    let counters = Counters { submitted: 5, completed: 4, ..Counters::default() };
    let requests = requests(&journal, &operations, &traffic, &counters).expect("it makes requests");
    assert_eq!((requests.submitted, requests.completed, requests.copied_in.data_call), (5, 4, 1));
}
