use super::*;
use crate::abi::CallRecord;
use crate::abi::Head;
use crate::arch::native::SYSCALLS;

/// A distribution that remembers what was counted.
#[derive(Default)]
struct Values(Vec<u64>);

impl Distribution for Values {
    fn count(&mut self, value: u64) {
        self.0.push(value);
    }
}

fn traits(name: &str) -> u32 {
    SYSCALLS.iter().find(|syscall| syscall.name == name).expect("a traced syscall").traits
}

/// A call of 1000 ns that returned `ret`, all of it work.
fn call(ret: i64) -> CallRecord {
    let parts = Parts { total: 1000, work: 1000, ..Parts::default() };
    CallRecord {
        head: Head { at: 2000, ..Head::default() },
        enter: 1000,
        ret,
        parts,
        ..CallRecord::default()
    }
}

fn moved_by(name: &str, call: &CallRecord) -> Moved {
    moved(&Recorded { call, traits: traits(name) })
}

fn booked(name: &str, call: &CallRecord, copy_ns: u64) -> (Sums<Values>, Outcome) {
    let call = Recorded { call, traits: traits(name) };
    let mut row = Sums::default();
    let outcome = add(&mut row, &call, &moved(&call), copy_ns);
    (row, outcome)
}

#[test]
fn the_window_begins_at_the_last_switch_in_and_ends_with_the_receive() {
    let mut one = CallRecord { last_in: 1400, recv_at: 1900, sleeps: 1, ..call(8) };
    assert_eq!(moved_by("recvfrom", &one), Moved::Window { upper: 500, bytes: 8 });
    one.recv_at = 1300;
    assert_eq!(moved_by("recvfrom", &one), Moved::Window { upper: 600, bytes: 8 }, "of an earlier piece");
    (one.preempts, one.parts.work) = (1, 450);
    assert_eq!(
        moved_by("recvfrom", &one),
        Moved::Window { upper: 450, bytes: 8 },
        "the time on the CPU bounds it"
    );
}

#[test]
fn marks_come_before_windows() {
    let mut one = CallRecord { copies: 2, ..call(8) };
    one.parts = Parts { total: 1000, copy: 700, work: 300, ..Parts::default() };
    assert_eq!(moved_by("recvfrom", &one), Moved::Marked { raw: 700, copies: 2 });
    assert_eq!(
        moved_by("epoll_wait", &one),
        Moved::Marked { raw: 700, copies: 2 },
        "task work in an unrelated call"
    );
}

#[test]
fn what_copies_nothing_is_decided_here() {
    let received = CallRecord { recv_bytes: 64, ..call(2) };
    let slept = CallRecord { sleeps: 1, ..call(1) };
    for (name, call) in [
        ("read", call(0)),
        ("read", call(-EAGAIN)),
        ("splice", call(100)),
        ("sendfile", call(100)),
        ("epoll_wait", call(3)),
        ("io_uring_enter", call(1)),
        // Of messages whose bytes nobody counted.
        ("recvmmsg", call(2)),
        // A poll request.
        ("io_submit", call(1)),
    ] {
        assert_eq!(moved_by(name, &call), Moved::Nothing, "{name} {}", call.ret);
    }
    assert_eq!(moved_by("recvmmsg", &received), Moved::Window { upper: 1000, bytes: 64 });
    assert_eq!(moved_by("io_submit", &received), Moved::Window { upper: 1000, bytes: 64 });
    assert_eq!(moved_by("io_submit", &slept), Moved::Window { upper: 1000, bytes: 0 });
    assert_eq!(moved_by("write", &call(100)), Moved::Window { upper: 1000, bytes: 100 });
}

#[test]
fn a_copy_costs_its_marks_less_the_floors_or_its_bytes_within_the_bounds() {
    let price = |name: &str, call: &CallRecord| {
        let call = Recorded { call, traits: traits(name) };
        priced(&call, &moved(&call), || Prices { socket_per_kib: 100, file_per_kib: 50 })
    };
    let mut marked = CallRecord { copies: 1, floors: 300, ..call(8) };
    marked.parts.copy = 700;
    assert_eq!(price("recvfrom", &marked), 400);
    marked.floors = 900;
    assert_eq!(price("recvfrom", &marked), 0, "a floor is never longer than what lies on it");
    assert_eq!((price("recvfrom", &call(2048)), price("read", &call(2048))), (200, 100));
    assert_eq!(price("read", &CallRecord { sock: 1, ..call(2048) }), 200, "a read of a socket");
    assert_eq!(price("read", &call(1 << 20)), 1000, "no longer than its window");
}

#[test]
fn a_call_ends_in_exactly_one_way() {
    for (name, ret, expected) in [
        ("read", 5, Outcome::Done(5)),
        ("read", 0, Outcome::Done(0)),
        ("epoll_wait", 0, Outcome::Empty),
        ("io_getevents", 0, Outcome::Empty),
        ("io_uring_enter", 0, Outcome::Done(0)),
        ("futex", 0, Outcome::Done(0)),
        ("read", -11, Outcome::Again),
        ("read", -4, Outcome::Failed(4)),
        ("read", -512, Outcome::Unfinished),
        ("read", -515, Outcome::Failed(515)),
        ("recvmmsg", 2, Outcome::Done(0)),
    ] {
        let (row, outcome) = booked(name, &call(ret), 0);
        assert_eq!(outcome, expected, "{name} {ret}");
        let counted = row.again + row.errors + row.empty;
        let fails = !matches!(outcome, Outcome::Done(_) | Outcome::Unfinished);
        assert_eq!((counted, row.restarts), (u64::from(fails), 0), "{name} {ret}");
        assert_eq!((row.calls, row.latency.0), (1, vec![1000]));
    }
}

#[test]
fn what_a_call_returned_is_counted_apart_from_bytes() {
    for (name, ret, returned, bytes) in [
        ("epoll_wait", 20, 20, 0),
        ("poll", 0, 0, 0),
        ("io_uring_enter", 128, 128, 0),
        ("io_submit", 3, 3, 0),
        ("io_getevents", 7, 7, 0),
        ("recvmmsg", 2, 2, 0),
        ("rt_sigtimedwait", 29, 1, 0),
        ("futex", 0, 0, 0),
        ("epoll_wait", -4, 0, 0),
        ("read", 100, 0, 100),
        ("splice", 100, 0, 100),
    ] {
        let (row, _) = booked(name, &call(ret), 0);
        assert_eq!((row.returned, row.bytes), (returned, bytes), "{name} {ret}");
    }
}

#[test]
fn the_parts_of_a_row_add_up_to_its_total() {
    let mut one = CallRecord { copies: 1, sleeps: 1, pickup: 31, ..call(8) };
    one.parts = Parts { total: 1000, wait: 150, disk: 50, lock: 50, runq: 100, copy: 400, work: 250 };
    let (row, _) = booked("recvfrom", &one, 150);
    let Parts { total, wait, disk, lock, runq, copy, work } = row.parts;
    assert_eq!((copy, work), (150, 500), "what a floor takes from the copy is work");
    assert_eq!(wait + disk + lock + runq + copy + work, total);
    assert_eq!((row.phase1.0, row.phase2.0, row.pickup.0), (vec![300], vec![150], vec![30]));
    assert_eq!((row.marked, row.windows, row.pickups, row.pickup_ns), (1, 0, 1, 30));
}

#[test]
fn a_wait_that_timed_out_was_ended_by_its_timer() {
    let seven = Wake { tid: 7, ..Wake::default() };
    for (name, ret, arg1, timed_out) in [
        ("poll", 0, 1, true),
        ("poll", 1, 1, false),
        ("epoll_wait", 0, 0, true),
        ("recvfrom", -EAGAIN, 0, true),
        ("sendto", -EAGAIN, 0, true),
        ("rt_sigtimedwait", -EAGAIN, 0, true),
        ("futex", -ETIMEDOUT, 0, true),
        // The peer of a connection that is dead.
        ("recvfrom", -ETIMEDOUT, 0, false),
        ("io_uring_enter", -ETIME, 1, true),
        ("io_uring_enter", 0, 1, false),
        ("io_getevents", 3, 10, true),
        ("io_getevents", 3, 3, false),
        ("read", 0, 0, false),
    ] {
        let slept = CallRecord { sleeps: 1, arg1, ..call(ret) };
        let recorded = Recorded { call: &slept, traits: traits(name) };
        let woken_by = if timed_out { WakeKey::TIMER } else { 7 };
        assert_eq!(waker(&recorded, Some(&seven), false), woken_by, "{name} {ret}");
        assert_eq!(booked(name, &slept, 0).0.timeouts, u64::from(timed_out), "{name} {ret}");
        let awake = CallRecord { sleeps: 0, ..slept };
        let (row, _) = booked(name, &awake, 0);
        assert_eq!(row.timeouts, 0, "{name} {ret} did not wait");
        assert_eq!(row.empty, u64::from(ret == 0 && ["poll", "epoll_wait"].contains(&name)), "{name} {ret}");
    }
}

#[test]
fn bytes_that_stay_or_are_dropped_are_not_those_that_were_taken() {
    let received = |name, arg2, arg3, recv_bytes| {
        let call = CallRecord { arg2, arg3, recv_bytes, ..call(100) };
        let (row, _) = booked(name, &call, 0);
        (row.bytes, row.peeked_bytes, row.windows)
    };
    assert_eq!(received("recvfrom", 4096, 0, 100), (100, 0, 1));
    assert_eq!(received("recvfrom", 4096, message::PEEK, 100), (0, 100, 1));
    assert_eq!(received("recvmsg", message::PEEK, 0, 100), (0, 100, 1), "its flags are the third argument");
    assert_eq!(received("recvmsg", 0, message::PEEK, 100), (100, 0, 1));
    assert_eq!(
        received("recvfrom", 10, message::TRUNC, 10),
        (10, 0, 1),
        "a datagram of 100 bytes, 10 were copied"
    );
    assert_eq!(received("recvfrom", 100, message::TRUNC, 0), (0, 0, 0), "TCP drops them");
    assert_eq!(received("recvmsg", message::ERRQUEUE, 0, 0), (0, 0, 0));
    assert_eq!(
        received("read", message::PEEK, message::PEEK, 0),
        (100, 0, 1),
        "the third argument is a length"
    );
}

#[test]
fn what_a_filter_denies_moves_and_returns_nothing() {
    let denied = |name, ret| {
        let call = CallRecord { flags: call_flags::DENIED, ..call(ret) };
        booked(name, &call, 0)
    };
    let (row, outcome) = denied("read", -1);
    assert_eq!((row.calls, row.denied, row.errors, outcome), (1, 1, 1, Outcome::Failed(1)));
    for (name, ret) in [("write", 1), ("epoll_wait", 232)] {
        let (row, _) = denied(name, ret);
        assert_eq!((row.calls, row.denied, row.bytes, row.returned, row.windows), (1, 1, 0, 0, 0), "{name}");
    }
}

#[test]
fn an_interrupt_is_named_by_what_it_brought_and_not_by_whom_it_stopped() {
    let woken = |call: &CallRecord, context, by_socket| {
        let wake = Wake { tid: 7, context, ..Wake::default() };
        waker(&Recorded { call, traits: traits("read") }, Some(&wake), by_socket)
    };
    let disk = CallRecord { disks: 1, ..call(9) };
    assert_eq!(woken(&call(9), context::THREAD, true), 7);
    assert_eq!(woken(&call(9), context::UNKNOWN, false), 7);
    assert_eq!(woken(&call(9), context::SOFTIRQ, true), WakeKey::NETWORK);
    assert_eq!(woken(&disk, context::HARDIRQ, false), WakeKey::DISK);
    assert_eq!(woken(&CallRecord { sleeps: 1, ..disk }, context::HARDIRQ, false), 0);
}

#[test]
fn a_wake_up_is_by_the_socket_that_the_call_read_from_and_by_no_other() {
    let by = |name: &str, sock, woken| {
        let wake = Wake { sock: woken, ..Wake::default() };
        by_socket(&Recorded { call: &CallRecord { sock, ..call(9) }, traits: traits(name) }, &wake)
    };
    assert!(by("read", 5, 5) && by("splice", 5, 5) && by("epoll_wait", 0, 5));
    assert!(!by("read", 5, 6) && !by("read", 0, 6) && !by("epoll_wait", 0, 0));
    assert!(!by("write", 5, 5), "it waits for room");
}

#[test]
fn what_the_disk_moves_itself_is_no_copy() {
    let direct = CallRecord { disks: 1, flags: call_flags::DIRECT, ..call(4096) };
    assert_eq!(moved(&Recorded { call: &direct, traits: traits("pread64") }), Moved::Nothing);
    let cold = CallRecord { disks: 1, ..call(4096) };
    assert!(matches!(moved(&Recorded { call: &cold, traits: traits("pread64") }), Moved::Window { .. }));
}

#[test]
fn a_call_that_waits_for_a_lock_waits_in_every_sleep() {
    let locked = CallRecord {
        locks: 1,
        parts: Parts { total: 1000, lock: 900, work: 100, ..Parts::default() },
        ..call(0)
    };
    for (name, slept, phase1) in [("futex", 1, 900), ("flock", 1, 900), ("semop", 1, 900), ("openat", 0, 0)] {
        let (row, _) = booked(name, &locked, 0);
        assert_eq!((row.slept_calls, row.phase1.0[0]), (slept, phase1), "{name}");
    }
    let timed_out = |name, ret| booked(name, &CallRecord { ret, ..locked }, 0).0.timeouts;
    assert_eq!((timed_out("futex_waitv", -ETIMEDOUT), timed_out("semtimedop", -EAGAIN)), (1, 1));
}

#[test]
fn the_end_of_a_sleep_on_a_timer_is_its_own() {
    let slept = |name, ret| {
        let call = CallRecord { sleeps: 1, ..call(ret) };
        let call = Recorded { call: &call, traits: traits(name) };
        let wake = Wake { tid: 7, context: context::THREAD, ..Wake::default() };
        (waker(&call, Some(&wake), false), timed_out(&call))
    };
    assert_eq!(slept("nanosleep", 0), (WakeKey::TIMER, false), "no timeout: that is what it was for");
    assert_eq!(slept("clock_nanosleep", -4), (7, false), "a signal ended it");
    assert_eq!(slept("wait4", 0), (7, false));
}
