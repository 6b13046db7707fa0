//! The longest calls of a trace, one by one: what its timeline shows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use iotrace_ebpf::abi::traits::{REQUESTS, enter_by_index};
use iotrace_ebpf::abi::{CallRecord, WakeKey, errno};

use crate::domain::{Direction, Role, syscall};
use crate::records::journal::Entry;
use crate::rows::batch::Look;
use crate::summary::LongCall;

/// Number of calls kept: one or two pages of a terminal.
pub const KEPT: usize = 40;

/// Stretches of iotrace's own work that are remembered: a call may end in one and be looked at in the next.
const LOOKS: usize = 8;
/// Descriptors of which it is remembered whether the process wrote or read first.
const FDS: usize = 8192;

/// The longest calls so far, by their time that is not idle.
#[derive(Clone, Debug, Default)]
pub struct Longest {
    /// Calls by that time, then by enter and thread, so that no two have the same key; each with its process.
    calls: BTreeMap<(u64, u64, u32), (u32, LongCall)>,
    /// Number of calls that were offered.
    seen: u64,
    /// Whether a process wrote to a descriptor before it read from it, by process and descriptor.
    wrote_first: HashMap<(u32, i32), bool>,
    /// When iotrace itself was at work, the last at the end.
    looks: VecDeque<Look>,
}

impl Longest {
    /// Notes that iotrace was at work.
    pub fn looked(&mut self, look: Look) {
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(look);
    }

    /// Offers a call of a trace that began at `started`, ns, and is about calls of at least `min` ns.
    pub fn offer(&mut self, entry: &Entry, started: u64, min: u64) {
        self.seen += entry.count;
        let (call, parts) = (&entry.call, entry.call.parts);
        let active = parts.total - if self.idles(entry) { parts.wait.min(parts.total) } else { 0 };
        let key = (active, entry.enter(), call.head.tid);
        if parts.total < min {
            return;
        }
        if self.calls.len() == KEPT {
            if self.calls.first_key_value().is_some_and(|(shortest, _)| key <= *shortest) {
                return;
            }
            self.calls.pop_first();
        }
        let error = match call.ret {
            0.. => None,
            code if errno::is_restart(code) => Some("killed".to_owned()),
            code => Some(syscall::errno_name(-code)),
        };
        let by_index = syscall::is(call.nr, REQUESTS) && enter_by_index(call.arg3);
        let has_descriptor = syscall::has_descriptor(call.nr) && !by_index;
        let long = LongCall {
            at_ns: entry.enter().saturating_sub(started),
            tid: call.head.tid,
            syscall: syscall::name(call.nr),
            fd: has_descriptor.then_some(call.fd),
            calls: entry.count,
            returned: call.ret,
            error,
            total_ns: parts.total,
            wait_ns: parts.wait,
            disk_ns: parts.disk,
            lock_ns: parts.lock,
            runq_ns: parts.runq,
            copy_ns: parts.copy,
            work_ns: parts.work,
            woken_by: WakeKey::thread_of(call.wake.tid).filter(|_| call.wake.at != 0),
            beside_iotrace: self.is_beside(call),
        };
        self.calls.insert(key, (call.head.tgid, long));
    }

    /// Whether the wait of a call is idle: for the next event or request. The wait of a read is, unless its process
    /// wrote to that descriptor before it read from it: then it asks there, and waits for replies.
    fn idles(&mut self, entry: &Entry) -> bool {
        let call = &entry.call;
        let Some(direction) = syscall::direction(call.nr) else { return entry.role() != Role::Submit };
        let fd = (call.head.tgid, call.fd);
        let is_out = direction == Direction::Out;
        if call.ret == 0 && !is_out {
            // The end of what is read: the number will be another file's.
            return !self.wrote_first.remove(&fd).unwrap_or(false);
        }
        let known = self.wrote_first.len() < FDS;
        let wrote_first = match self.wrote_first.get(&fd) {
            Some(&wrote) => wrote,
            None if known => *self.wrote_first.entry(fd).or_insert(is_out),
            None => false,
        };
        !is_out && !wrote_first
    }

    /// Whether a call waited for a CPU while iotrace was at work.
    fn is_beside(&self, call: &CallRecord) -> bool {
        if call.parts.runq == 0 {
            return false;
        }
        // After its last sleep it waited from the wake-up until it was switched in; a call that did not sleep was
        // preempted somewhere in it.
        let (from, to) = match call.wake.at {
            0 => (call.enter, call.head.at),
            woken => (woken, call.last_in.max(woken)),
        };
        self.looks.iter().any(|look| look.from <= to && from <= look.to)
    }

    /// The processes that made them.
    pub fn processes(&self) -> HashSet<u32> {
        self.calls.values().map(|(pid, _)| *pid).collect()
    }

    /// The longest calls of one process, in order of time.
    pub fn of(&self, pid: u32) -> Vec<LongCall> {
        let mine = self.calls.values().filter(|(tgid, _)| *tgid == pid);
        let mut calls: Vec<LongCall> = mine.map(|(_, call)| call.clone()).collect();
        calls.sort_by_key(|call| call.at_ns);
        calls
    }

    /// Number of calls that were offered.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use iotrace_ebpf::abi::{Head, Kind, Wake};
    use iotrace_ebpf::span::Parts;

    use super::*;
    use crate::records::journal::Journal;
    use crate::records::record::Record;

    /// A call of process 4 on a descriptor; `parts` are wait, runq and work.
    fn entry(nr: u32, fd: i32, enter: u64, ret: i64, parts: [u64; 3]) -> Entry {
        let [wait, runq, work] = parts;
        let total = wait + runq + work;
        let head = Head { kind: Kind::Call as u32, tid: 5, tgid: 4, reserved: 0, at: enter + total };
        let parts = Parts { total, wait, runq, work, ..Parts::default() };
        let wake = Wake { at: if wait > 0 { enter + wait } else { 0 }, ..Wake::default() };
        let mut journal = Journal::default();
        let last_in = enter + wait + runq;
        journal.add(Record::Call(CallRecord {
            head,
            enter,
            parts,
            ret,
            nr,
            fd,
            wake,
            last_in,
            ..CallRecord::default()
        }));
        journal.calls.remove(0)
    }

    #[test]
    fn who_waits_for_the_next_request_does_not_come_first() {
        let mut longest = Longest::default();
        // A server reads, writes, and waits for the next request; a client writes and waits for the reply.
        for turn in 0..30u64 {
            for (nr, fd, parts) in [
                (45, 7, [9_000_000, 0, 10 + turn]),
                (44, 7, [0, 0, 600]),
                (44, 8, [0, 0, 600]),
                (45, 8, [700_000, 0, 10]),
                (232, 3, [8_000_000, 0, 10]),
            ] {
                longest.offer(&entry(nr, fd, turn * 20_000_000, 1, parts), 0, 0);
            }
        }
        let calls = longest.of(4);
        assert_eq!(calls.len(), KEPT);
        assert!(calls.iter().all(|call| call.total_ns < 8_000_000), "{calls:?}");
        assert_eq!(calls.iter().filter(|call| call.total_ns == 700_010).count(), 30);
    }

    #[test]
    fn shorter_calls_than_asked_for_are_left_out() {
        let mut longest = Longest::default();
        longest.offer(&entry(44, 7, 0, 1, [0, 0, 999]), 0, 1_000);
        longest.offer(&entry(44, 7, 0, 1, [0, 0, 1_000]), 0, 1_000);
        assert_eq!(longest.of(4).len(), 1);
    }

    #[test]
    fn a_wait_for_the_cpu_that_iotrace_had_is_marked() {
        let mut longest = Longest::default();
        longest.looked(Look { from: 5_000, to: 6_000 });
        longest.offer(&entry(45, 7, 1_000, 1, [3_500, 1_000, 10]), 0, 0);
        longest.offer(&entry(45, 7, 1_001, 1, [2_000, 1_000, 10]), 0, 0);
        longest.offer(&entry(45, 7, 1_002, 1, [4_500, 0, 10]), 0, 0);
        let marked: Vec<bool> = longest.of(4).iter().map(|call| call.beside_iotrace).collect();
        assert_eq!(marked, [true, false, false]);
    }

    #[test]
    fn the_longest_are_kept_and_told_in_order_of_time() {
        let mut journal = Journal::default();
        for n in 0..200u64 {
            let (enter, total) = (1_000_000 + n * 10_000, 100 + (n * 37) % 200);
            let head = Head { kind: Kind::Call as u32, tid: 5, tgid: 4, reserved: 0, at: enter + total };
            let parts = Parts { total, work: total, ..Parts::default() };
            journal.add(Record::Call(CallRecord {
                head,
                enter,
                parts,
                ret: 1,
                nr: 45,
                fd: 7,
                ..CallRecord::default()
            }));
        }
        let mut longest = Longest::default();
        journal.calls.iter().for_each(|entry| longest.offer(entry, 1_000_000, 0));
        let calls = longest.of(4);
        assert_eq!((calls.len(), longest.seen()), (KEPT, 200));
        assert!(calls.is_sorted_by_key(|call| call.at_ns));
        assert!(calls.iter().all(|call| call.total_ns >= 300 - KEPT as u64), "200 lengths from 100 to 299");
        assert_eq!((calls[0].syscall.as_str(), calls[0].fd), ("recvfrom", Some(7)));
        assert!(longest.of(9).is_empty());
    }
}
