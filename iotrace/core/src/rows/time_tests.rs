use iotrace_ebpf::abi::AggKey;

use super::*;
use crate::rows::open::Open;
use crate::rows::sums::Row;

fn life(what: u32, place: u32, ns: u64) -> (LifeKey, LifeSum) {
    (LifeKey { tgid: 7, tid: 0, what, place }, LifeSum { ns, times: 2 })
}

fn names() -> Names {
    Names { traced: [0, 232].into(), ..Names::default() }
}

fn sums() -> Snapshot {
    let mut row = Row { calls: 1, ..Row::default() };
    row.parts = Parts { total: 100, wait: 60, work: 40, ..Parts::default() };
    let lives = [
        life(LifeKey::NONE, place::OBSERVED, 2000),
        life(LifeKey::NONE, place::RUNQ, 30),
        life(LifeKey::NONE, place::STOPPED, 70),
        life(202, place::WAIT, 500),
        life(35, place::WAIT, 300),
        life(LifeKey::FAULT, place::DISK, 10),
        life(257, place::LOCK, 5),
        // Open since before it was observed, and shorter than was asked for.
        life(232, place::WAIT, 200),
        life(LifeKey::SHORT, place::WORK, 15),
    ];
    Snapshot {
        rows: [(AggKey { tgid: 7, nr: 0, fd: -1, ..AggKey::default() }, row)].into(),
        lives: lives.into(),
        taken: [(TakenKey { tgid: 7, taker: 9 }, 20)].into(),
        wakes: [(WakeKey { tgid: 7, nr: 202 | WAKE_OUTSIDE, waker: 8, by_socket: 0 }, 3)].into(),
        ..Snapshot::default()
    }
}

#[test]
fn every_nanosecond_is_in_one_place() {
    let time = of_process(7, &[], &sums(), &names(), &InFlightCalls::default()).unwrap();
    assert_eq!((time.observed_ns, time.accounted_ns()), (2000, 2000));
    assert_eq!((time.in_calls.wait_ns, time.in_calls.work_ns), (260, 55));
    assert_eq!((time.runq_ns, time.stopped_ns), (30, 70));
    assert_eq!(time.own_ns, 2000 - 315 - 30 - 70 - 815);
    let rows: Vec<_> = time.elsewhere.iter().map(|one| (one.what.as_str(), one.class, one.ns)).collect();
    assert_eq!(
        rows,
        [
            ("futex", Class::Lock, 500),
            ("nanosleep", Class::Timer, 300),
            ("page fault", Class::Disk, 10),
            ("openat", Class::Lock, 5),
        ]
    );
    assert_eq!(time.elsewhere[0].woken_by, [WokenBy { tid: 8, comm: "unknown".to_owned(), wakes: 3 }]);
    assert_eq!(time.cpu_taken_by, [Taker { pid: 9, comm: "process 9".to_owned(), ns: 20 }]);
}

#[test]
fn calls_that_are_open_are_in_it_once() {
    let parts = Parts { total: 50, wait: 50, ..Parts::default() };
    let open = vec![Open { tgid: 7, parts, ..Open::default() }];
    let calls = InFlightCalls { open, ..InFlightCalls::default() };
    assert_eq!(of_process(7, &[], &sums(), &names(), &calls).unwrap().in_calls.wait_ns, 310);
    let calls = InFlightCalls { booked: true, ..calls };
    assert_eq!(of_process(7, &[], &sums(), &names(), &calls).unwrap().in_calls.wait_ns, 260);
}

#[test]
fn what_was_read_later_than_the_life_makes_it_longer() {
    let mut sums = sums();
    sums.lived(LifeKey { tgid: 7, tid: 0, what: 61, place: place::WAIT }, LifeSum { ns: 5000, times: 1 });
    let time = of_process(7, &[], &sums, &names(), &InFlightCalls::default()).unwrap();
    assert_eq!((time.own_ns, time.observed_ns), (0, time.accounted_ns()));
    assert_eq!(time.elsewhere[0].class, Class::Child);
}

#[test]
fn threads_and_all_processes_add_up_too() {
    let mut one = of_process(7, &[], &sums(), &names(), &InFlightCalls::default()).unwrap();
    one.add(&one.clone());
    assert_eq!((one.observed_ns, one.accounted_ns()), (4000, 4000));
    assert_eq!(one.cpu_taken_by[0].ns, 40);
    assert!(of_process(8, &[], &sums(), &names(), &InFlightCalls::default()).is_none());
    assert!(of_threads(7, &sums(), &names(), &InFlightCalls::default()).is_empty());
}

#[test]
fn a_process_is_the_sum_of_its_threads() {
    let of = |tid, what, place, ns| (LifeKey { tgid: 7, tid, what, place }, LifeSum { ns, times: 1 });
    // The places of thread 1 were read after its life had been, and those of thread 2 leave some.
    let lives = [
        of(1, LifeKey::NONE, place::OBSERVED, 100),
        of(1, 35, place::WAIT, 130),
        of(2, LifeKey::NONE, place::OBSERVED, 100),
        of(2, 35, place::WAIT, 20),
    ];
    let sums = Snapshot { lives: lives.into(), ..Snapshot::default() };
    let threads = of_threads(7, &sums, &names(), &InFlightCalls::default());
    let time = of_process(7, &threads, &sums, &names(), &InFlightCalls::default()).unwrap();
    assert_eq!((time.observed_ns, time.own_ns, time.elsewhere[0].ns), (230, 80, 150));
    assert_eq!(threads.iter().map(|one| one.time.observed_ns).sum::<u64>(), time.observed_ns);
}

#[test]
fn a_sleep_of_a_32_bit_program_has_its_name() {
    assert_eq!(what(162 | LifeKey::COMPAT), "32-bit nanosleep");
    let key = LifeKey { what: 240 | LifeKey::COMPAT, place: place::WAIT, ..LifeKey::default() };
    assert_eq!((what(key.what).as_str(), class(&key)), ("32-bit futex", Class::Lock));
}

/// A call that is traced with `-e` is in its row, or in the calls that were open before: never elsewhere.
#[test]
fn what_is_traced_is_never_elsewhere() {
    let mut sums = sums();
    sums.lives.extend([
        life(73, place::WAIT, 40),
        life(202 | LifeKey::HELD, place::WAIT, 50),
        life(162 | LifeKey::COMPAT, place::WAIT, 60),
        life(306, place::LOCK, 7),
    ]);
    let traced = |more: &[u32]| {
        let mut names = names();
        names.traced.extend(more);
        of_process(7, &[], &sums, &names, &InFlightCalls::default()).unwrap()
    };
    let (without, with) = (traced(&[]), traced(&[35, 73, 202, 257, 306]));
    assert_eq!((without.accounted_ns(), with.accounted_ns()), (2000, 2000));
    assert_eq!(with.own_ns, without.own_ns, "only where the sleeps are told changes");
    let left: Vec<_> = with.elsewhere.iter().map(|one| (one.what.as_str(), one.ns)).collect();
    assert_eq!(left, [("page fault", 10)]);
    assert_eq!(with.in_calls.wait_ns, without.in_calls.wait_ns + 300 + 60, "timers, of 32-bit programs too");
    assert_eq!(with.in_calls.lock_ns, 500 + 50 + 40 + 5, "locks, whatever the thread's state says");
    assert_eq!(with.in_calls.disk_ns, 7, "a journal's commit");
}
