//! From the kernel's sums to the processes of a result.

use std::collections::BTreeMap;

use iotrace_ebpf::abi::traits::SYNC;
use iotrace_ebpf::abi::{AGG_INPUT, AGG_WAITS, AggKey, WAKE_OUTSIDE, WakeKey};

use crate::domain::{Direction, Role, ThreadRole, WaitsFor, syscall};
use crate::rows::batch::Since;
use crate::rows::fold::{self, Line};
pub use crate::rows::in_flight::InFlightCalls;
use crate::rows::names::Names;
use crate::rows::others::OTHERS;
use crate::rows::recognise;
use crate::rows::replies;
use crate::rows::row::{self, Facts};
use crate::rows::sums::{Row, Snapshot};
use crate::rows::time;
use crate::summary::{Call, InFlight, Process, Waker};

/// The processes of a snapshot, the one with the most time in calls that is not idle first, see [`active_ns`].
pub fn processes(snapshot: &Snapshot, names: &Names, open: &InFlightCalls) -> Vec<Process> {
    let mut by_process: BTreeMap<u32, Vec<(&AggKey, &Row)>> = BTreeMap::new();
    for (key, row) in &snapshot.rows {
        by_process.entry(key.tgid).or_default().push((key, row));
    }
    for key in snapshot.lives.keys() {
        by_process.entry(key.tgid).or_default();
    }
    for pid in open.open.iter().map(|call| call.tgid).chain(open.before.iter().map(|call| call.pid)) {
        by_process.entry(pid).or_default();
    }
    let mut all: Vec<Process> =
        by_process.into_iter().map(|(pid, rows)| process(pid, &rows, snapshot, names, open)).collect();
    by_activity(&mut all, |process| &process.calls);
    all
}

fn process(
    pid: u32,
    rows: &[(&AggKey, &Row)],
    snapshot: &Snapshot,
    names: &Names,
    open: &InFlightCalls,
) -> Process {
    let lines = fold::lines(rows, names);
    let mut calls: Vec<Call> = lines.iter().map(|line| call(line, snapshot, names, open)).collect();
    by_activity(&mut calls, std::slice::from_ref);
    let ways = snapshot.ways.iter().filter(|(key, _)| key.tgid == pid);
    let ways = ways.map(|(key, &times)| ((syscall::name(u32::from(key.nr)), key.way), times)).collect();
    let stand_in = names.stand_ins.get(&pid);
    let triggers = names.triggers.get(&pid).copied().unwrap_or_default();
    let in_flight = in_flight(pid, open);
    let thread_times = time::of_threads(pid, snapshot, names, open);
    Process {
        pid: if stand_in.is_some() { 0 } else { pid },
        comm: stand_in.map_or_else(|| names.process(pid), |entry| entry.name.clone()),
        processes: stand_in.map_or(1, |entry| entry.processes),
        others: pid == OTHERS,
        threads: names.threads.values().filter(|thread| thread.pid == pid && thread.called).count() as u64
            + names.ended_threads.get(&pid).copied().unwrap_or(0),
        models: recognise::models(&calls, &ways, triggers),
        time: time::of_process(pid, &thread_times, snapshot, names, open),
        diagnosis: Vec::new(),
        throttled_ns: names.throttled.get(&pid).map(|[from, to]| to.saturating_sub(*from)),
        replies: replies::of(pid, snapshot, names),
        thread_times,
        calls,
        rows_left_out: 0,
        operations: None,
        wakers: wakers(pid, snapshot, names),
        in_flight_left_out: (in_flight.len() as u64).saturating_sub(IN_FLIGHT as u64),
        in_flight: in_flight.into_iter().take(IN_FLIGHT).collect(),
        longest: names.longest.of(pid),
    }
}

fn call(line: &Line, snapshot: &Snapshot, names: &Names, open: &InFlightCalls) -> Call {
    let key = &line.key;
    let nr = key.nr & !(AGG_WAITS | AGG_INPUT);
    let input = key.nr & AGG_INPUT != 0;
    let mut errors = BTreeMap::new();
    for (error, times) in snapshot.errors.iter().filter(|(error, _)| line.keys.contains(&error.row)) {
        *errors.entry(error.errno as i64).or_default() += times;
    }
    let facts = Facts {
        nr,
        role: match nr {
            _ if key.nr & AGG_WAITS != 0 => Role::Completion,
            _ if syscall::is(nr, SYNC) => Role::Sync,
            _ => syscall::role_of(nr, 0, 0),
        },
        thread_role: ThreadRole::App,
        tid: (key.tid != 0).then_some(key.tid),
        fd: line.fd.clone(),
        waits_for: line.waits_for.filter(|_| input || syscall::direction(nr) == Some(Direction::In)),
        errors,
        input,
        exact: names.exact,
        copy_floor_ns: None,
    };
    let mine = open.open.iter().filter(|call| open.booked && line.keys.contains(&call.key));
    let thread_name = names.threads.get(&key.tid).filter(|_| key.tid != 0).map(|thread| thread.name.clone());
    Call { open: mine.count() as u64, thread_name, ..row::call(&line.row, facts) }
}

/// Time of a call row that is not idle, ns: all but waiting for something to come in, unless that is known to be a
/// reply. A server that waits for its next request, and a daemon that waits for an event, are idle; so may a client be
/// whose wait for a reply nothing tells from these.
pub fn active_ns(call: &Call) -> u64 {
    let waits_for_input =
        call.direction != Some(Direction::Out) && call.role != Role::Submit && call.syscall != "connect";
    let idle = waits_for_input && call.waits_for != Some(WaitsFor::Reply);
    call.total_ns - if idle { call.wait_ns } else { 0 }
}

/// Orders by time that is not idle, then by all time, the most first.
fn by_activity<T>(items: &mut [T], calls: impl Fn(&T) -> &[Call]) {
    items.sort_by_cached_key(|item| {
        let sum = |of: &dyn Fn(&Call) -> u64| calls(item).iter().map(of).sum::<u64>();
        std::cmp::Reverse((sum(&active_ns), sum(&|call| call.total_ns)))
    });
}

/// Largest number of calls in flight that are listed for a process; more are counted.
const IN_FLIGHT: usize = 100;
/// Largest number of wakers shown for a process.
const WAKERS: usize = 8;

fn wakers(pid: u32, snapshot: &Snapshot, names: &Names) -> Vec<Waker> {
    let mine = snapshot.wakes.iter().filter(|(key, _)| key.tgid == pid && key.nr & WAKE_OUTSIDE == 0);
    let mut wakers: Vec<Waker> = mine
        .map(|(key, &wakes)| Waker {
            comm: match (key.waker, key.thread().map(|tid| names.threads.get(&tid))) {
                (_, Some(Some(thread))) => thread.name.clone(),
                (_, Some(None)) => "unknown".to_owned(),
                (WakeKey::MANY, None) => "several".to_owned(),
                (WakeKey::TIMER, None) => "timer".to_owned(),
                (WakeKey::NETWORK, None) => "network".to_owned(),
                (WakeKey::DISK, None) => "disk".to_owned(),
                (WakeKey::OUTSIDE, None) => "outside".to_owned(),
                (_, None) => "interrupt".to_owned(),
            },
            tid: key.thread().unwrap_or(0),
            by_socket: key.by_socket != 0,
            syscall: syscall::name(key.nr),
            wakes,
        })
        .collect();
    wakers.sort_by(|one, other| other.wakes.cmp(&one.wakes).then(one.tid.cmp(&other.tid)));
    wakers.truncate(WAKERS);
    wakers
}

fn in_flight(pid: u32, calls: &InFlightCalls) -> Vec<InFlight> {
    let open = calls.open.iter().filter(|call| call.tgid == pid).map(|call| InFlight {
        tid: call.tid,
        syscall: syscall::name(call.nr),
        at_least_ns: calls.now.saturating_sub(call.since),
        since_before: false,
    });
    let before = calls.before.iter().filter(|call| call.pid == pid).map(|&Since { tid, nr, .. }| InFlight {
        tid,
        syscall: syscall::name(nr),
        at_least_ns: calls.now.saturating_sub(calls.started),
        since_before: true,
    });
    let mut all: Vec<InFlight> = open.chain(before).collect();
    all.sort_by_key(|call| std::cmp::Reverse(call.at_least_ns));
    all
}

/// Whether the calls of a row wait for room to write, rather than for data.
pub fn is_output(call: &Call) -> bool {
    call.direction == Some(Direction::Out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::names::Thread;

    fn sums(nr: u32, wait: u64) -> (AggKey, Row) {
        let mut row = Row { calls: 2, bytes: 10, ..Row::default() };
        row.parts.total = wait + 10;
        row.parts.wait = wait;
        row.parts.work = 10;
        (AggKey { tgid: 7, nr, fd: -1, ..AggKey::default() }, row)
    }

    #[test]
    fn rows_of_a_process_come_together_the_longest_first() {
        let snapshot = Snapshot { rows: [sums(45, 100), sums(232, 900)].into(), ..Snapshot::default() };
        let names = Names {
            threads: [(7, Thread { name: "server".to_owned(), pid: 7, called: true })].into(),
            ..Names::default()
        };
        let all = processes(&snapshot, &names, &InFlightCalls::default());
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].comm.as_str(), all[0].threads), ("server", 1));
        let names: Vec<&str> = all[0].calls.iter().map(|call| call.syscall.as_str()).collect();
        assert_eq!(names, ["epoll_wait", "recvfrom"]);
        for call in &all[0].calls {
            let sum = call.wait_ns + call.disk_ns + call.lock_ns + call.runq_ns + call.copy_ns + call.work_ns;
            assert_eq!(sum, call.total_ns);
        }
        assert_eq!(all[0].calls[0].bytes, 0, "what epoll_wait returns is no bytes");
    }

    #[test]
    fn who_works_comes_before_who_waits() {
        let (idle, busy, slow) = (sums(232, 1_000_000_000), sums(45, 500), sums(1, 2_000));
        let of = |tgid, (key, row): (AggKey, Row)| (AggKey { tgid, ..key }, row);
        // Each has 10 ns besides its wait; writing waits for room, which is not idle.
        let rows =
            [of(1, idle), of(2, busy.clone()), of(2, (AggKey { nr: 47, ..busy.0 }, busy.1)), of(3, slow)];
        let all = processes(
            &Snapshot { rows: rows.into(), ..Snapshot::default() },
            &Names::default(),
            &InFlightCalls::default(),
        );
        assert_eq!(all.iter().map(|process| process.pid).collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn an_enter_that_waits_is_a_completion_call() {
        let (mut key, row) = sums(426, 5);
        key.nr |= AGG_WAITS;
        let snapshot = Snapshot { rows: [(key, row)].into(), ..Snapshot::default() };
        let all = processes(&snapshot, &Names::default(), &InFlightCalls::default());
        assert_eq!(all[0].calls[0].role, Role::Completion);
        assert_eq!(all[0].comm, "process 7", "a name that was never seen is said so");
    }

    #[test]
    fn a_process_that_only_waits_is_there_too() {
        let open = InFlightCalls {
            before: vec![Since { pid: 9, tid: 9, nr: 0 }],
            now: 5_000,
            started: 1_000,
            ..Default::default()
        };
        let all = processes(&Snapshot::default(), &Names::default(), &open);
        assert_eq!(all[0].in_flight[0].at_least_ns, 4_000);
        assert!(all[0].in_flight[0].since_before && all[0].calls.is_empty());
    }
}
