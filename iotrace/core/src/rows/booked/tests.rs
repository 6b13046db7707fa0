use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::{Head, Kind, Wake};
use iotrace_ebpf::book::Distribution;
use iotrace_ebpf::span::Parts;

use super::*;
use crate::records::journal::Journal;
use crate::records::record::Record;
use crate::rows::sums::{Coarse, Row};

const READ: u32 = 0;
const RECVFROM: u32 = 45;
const RECVMMSG: u32 = 299;
const SPLICE: u32 = 275;
const POLL: u32 = 7;
const EPOLL_WAIT: u32 = 232;
const ENTER: u32 = 426;
const PRICES: Prices = Prices { socket_per_kib: 512, file_per_kib: 1024 };

/// A call of process 5 with these parts: wait, run queue, copy, work, all ns.
fn call(tid: u32, nr: u32, enter: u64, ret: i64, [wait, runq, copy, work]: [u64; 4]) -> CallRecord {
    let parts = Parts { total: wait + runq + copy + work, wait, runq, copy, work, ..Parts::default() };
    let head = Head { kind: Kind::Call as u32, tid, tgid: 5, reserved: 0, at: enter + parts.total };
    CallRecord { head, enter, parts, ret, nr, last_in: enter, ..CallRecord::default() }
}

/// A call that slept once, and was woken by thread 9 or by a socket.
fn slept(call: CallRecord, sock: u64) -> CallRecord {
    let last_in = call.enter + call.parts.wait + call.parts.runq;
    let wake = Wake { at: last_in - call.parts.runq, sock, tid: 9, ..Wake::default() };
    CallRecord { last_in, wake, sock, sleeps: 1, ..call }
}

/// Calls of many kinds, as they are recorded.
fn recording() -> [CallRecord; 13] {
    let marked = call(6, RECVFROM, 1000, 100, [0, 0, 300, 700]);
    let window = call(6, READ, 3000, 2048, [0, 0, 0, 5000]);
    let of_socket = call(7, READ, 4000, 1024, [0, 0, 0, 400]);
    let waits = call(6, ENTER, 30_000, 1, [0, 0, 0, 70]);
    [
        CallRecord { copies: 1, floors: 100, sock: 0x50c, pickup: 51, ..marked },
        // Floors above the copy leave nothing of it.
        CallRecord {
            copies: 1,
            floors: 400,
            ..slept(call(7, RECVFROM, 2000, 50, [500, 20, 300, 80]), 0x50c)
        },
        window,
        // A price above the work is bounded by it.
        CallRecord { sock: 1, ..of_socket },
        slept(call(6, READ, 5000, 1, [900, 40, 0, 60]), 0),
        call(6, RECVFROM, 7000, -EAGAIN, [0, 0, 0, 200]),
        call(6, READ, 7500, -9, [0, 0, 0, 150]),
        CallRecord { restarts: 1, ..slept(call(6, READ, 8000, -512, [100, 10, 0, 40]), 0) },
        call(6, POLL, 9000, 0, [0, 0, 0, 90]),
        // The time was up.
        slept(call(6, EPOLL_WAIT, 10_000, 0, [5000, 30, 0, 70]), 0),
        CallRecord { recv_bytes: 300, ..slept(call(6, RECVMMSG, 20_000, 3, [700, 0, 0, 1000]), 0x50c) },
        call(6, SPLICE, 25_000, 4096, [0, 0, 0, 600]),
        CallRecord { arg2: 1, arg3: 1, ..waits },
    ]
}

fn booked(by: By) -> Snapshot {
    let mut sums = Snapshot::default();
    for call in &recording() {
        book(&mut sums, call, by, PRICES);
    }
    sums
}

fn counted(values: &[u64]) -> Coarse {
    let mut coarse = Coarse::default();
    values.iter().for_each(|value| coarse.count(*value));
    coarse
}

fn of(nr: u32) -> AggKey {
    AggKey { tgid: 5, nr, fd: -1, ..AggKey::default() }
}

#[test]
fn recorded_calls_become_the_rows_that_the_kernel_would_have() {
    let sums = booked(By::Process);
    assert_eq!(sums.rows.len(), 7);
    let received = Row {
        calls: 3,
        bytes: 150,
        parts: Parts { total: 2100, wait: 500, runq: 20, copy: 200, work: 1380, ..Parts::default() },
        marked: 2,
        bound_ns: 600,
        sleeps: 1,
        slept_calls: 1,
        again: 1,
        pickups: 1,
        pickup_ns: 50,
        phase1: counted(&[0, 520, 0]),
        phase2: counted(&[200, 0]),
        latency: counted(&[1000, 900, 200]),
        pickup: counted(&[50]),
        ..Row::default()
    };
    assert_eq!(sums.rows[&of(RECVFROM)], received);
    let read = Row {
        calls: 5,
        bytes: 2048 + 1024 + 1,
        // 2 KiB of a file at 1024 ns, 1 KiB of a socket at 512 within 400 ns of work, and a byte at 1 ns.
        parts: Parts { total: 6700, wait: 1000, runq: 50, copy: 2449, work: 3201, ..Parts::default() },
        windows: 3,
        bound_ns: 5000 + 400 + 60,
        sleeps: 2,
        slept_calls: 2,
        errors: 1,
        restarts: 1,
        phase1: counted(&[0, 0, 940, 0, 110]),
        phase2: counted(&[2048, 400, 1]),
        latency: counted(&[5000, 400, 1000, 150, 150]),
        ..Row::default()
    };
    assert_eq!(sums.rows[&of(READ)], read);
    let many = Row {
        calls: 1,
        bytes: 300,
        returned: 3,
        parts: Parts { total: 1700, wait: 700, copy: 150, work: 850, ..Parts::default() },
        windows: 1,
        bound_ns: 1000,
        sleeps: 1,
        slept_calls: 1,
        phase1: counted(&[700]),
        phase2: counted(&[150]),
        latency: counted(&[1700]),
        ..Row::default()
    };
    assert_eq!(sums.rows[&of(RECVMMSG)], many);
    for (nr, timed_out) in [(POLL, 0), (EPOLL_WAIT, 1)] {
        let row = &sums.rows[&of(nr)];
        assert_eq!((row.calls, row.empty, row.timeouts), (1, 1 - timed_out, timed_out));
        assert_eq!((row.bytes, row.windows), (0, 0));
    }
    let spliced = &sums.rows[&of(SPLICE)];
    assert_eq!(
        (spliced.bytes, spliced.parts.work, spliced.windows),
        (4096, 600, 0),
        "none came past the process"
    );
    assert_eq!(sums.rows[&of(ENTER | AGG_WAITS)].calls, 1);
    assert_eq!(sums.errors, [(ErrorKey { row: of(READ), errno: 9 }, 1)].into());
    let woken = |nr, waker, by_socket| WakeKey { tgid: 5, nr, waker, by_socket };
    let wakes = [
        (woken(RECVFROM, 9, 1), 1),
        (woken(READ, 9, 0), 2),
        (woken(EPOLL_WAIT, WakeKey::TIMER, 0), 1),
        (woken(RECVMMSG, 9, 1), 1),
    ];
    assert_eq!(sums.wakes, wakes.into());
}

#[test]
fn rows_by_thread_add_up_to_those_by_process() {
    let (by_process, by_thread) = (booked(By::Process), booked(By::Thread));
    assert_eq!(by_thread.rows.len(), by_process.rows.len() + 2, "two threads received, and two read");
    let mut merged = Snapshot::default();
    for (key, row) in &by_thread.rows {
        assert!([6, 7].contains(&key.tid));
        crate::rows::sums::merge(merged.rows.entry(AggKey { tid: 0, ..*key }).or_default(), row);
    }
    assert_eq!(merged.rows, by_process.rows);
    assert_eq!(by_thread.wakes, by_process.wakes);
}

#[test]
fn a_folded_stretch_adds_what_its_calls_would_have() {
    let mut journal = Journal::default();
    let mut expected = Snapshot::default();
    for n in 0..500 {
        let poll = call(6, RECVFROM, 1000 + n * 700, -EAGAIN, [0, 0, 0, 30 + n]);
        book(&mut expected, &poll, By::Thread, PRICES);
        journal.add(Record::Call(poll));
    }
    assert_eq!((journal.calls.len(), journal.calls[0].count), (1, 500));
    let mut sums = Snapshot::default();
    book_entry(&mut sums, &journal.calls[0], By::Thread, PRICES);
    assert_eq!(sums, expected);
}
