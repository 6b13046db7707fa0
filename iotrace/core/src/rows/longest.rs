//! The longest calls of a trace, one by one: what its timeline shows.

use std::collections::BTreeMap;

use iotrace_ebpf::abi::traits::{REQUESTS, enter_by_index};
use iotrace_ebpf::abi::{WakeKey, errno};

use crate::domain::syscall;
use crate::records::journal::Entry;
use crate::summary::LongCall;

/// Number of calls kept: one or two pages of a terminal.
pub const KEPT: usize = 40;

/// The longest calls so far.
#[derive(Clone, Debug, Default)]
pub struct Longest {
    /// Calls by duration, then by enter and thread, so that no two have the same key; each with its process.
    calls: BTreeMap<(u64, u64, u32), (u32, LongCall)>,
    /// Number of calls that were offered.
    seen: u64,
}

impl Longest {
    /// Offers a call of a trace that began at `started`, ns.
    pub fn offer(&mut self, entry: &Entry, started: u64) {
        self.seen += entry.count;
        let (call, parts) = (&entry.call, entry.call.parts);
        let key = (parts.total, entry.enter(), call.head.tid);
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
        };
        self.calls.insert(key, (call.head.tgid, long));
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
    use iotrace_ebpf::abi::{CallRecord, Head, Kind};
    use iotrace_ebpf::span::Parts;

    use super::*;
    use crate::records::journal::Journal;
    use crate::records::record::Record;

    #[test]
    fn the_longest_are_kept_and_told_in_order_of_time() {
        let mut journal = Journal::default();
        for n in 0..200u64 {
            let (enter, total) = (1_000_000 + n * 10_000, 100 + (n * 37) % 200);
            let head = Head { kind: Kind::Call as u32, tid: 5, tgid: 4, reserved: 0, at: enter + total };
            let parts = Parts { total, wait: total, ..Parts::default() };
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
        journal.calls.iter().for_each(|entry| longest.offer(entry, 1_000_000));
        let calls = longest.of(4);
        assert_eq!((calls.len(), longest.seen()), (KEPT, 200));
        assert!(calls.is_sorted_by_key(|call| call.at_ns));
        assert!(calls.iter().all(|call| call.total_ns >= 300 - KEPT as u64), "200 lengths from 100 to 299");
        assert_eq!((calls[0].syscall.as_str(), calls[0].fd), ("recvfrom", Some(7)));
        assert!(longest.of(9).is_empty());
    }
}
