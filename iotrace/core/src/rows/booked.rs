//! Sums made of records, exactly as the kernel makes them: same keys, same prices, same buckets.

use iotrace_ebpf::abi::traits::{REQUESTS, enter_waits};
use iotrace_ebpf::abi::{AGG_INPUT, AGG_WAITS, AggKey, CallRecord, ErrorKey, WakeKey, call_flags};
use iotrace_ebpf::book::{self, Outcome, Prices, Recorded};

use crate::domain::syscall;
use crate::records::journal::Entry;
use crate::rows::sums::{Snapshot, add_folded};

/// What tells rows of records apart, beside the syscall. Rows by descriptor cannot be made of records: they do not
/// hold the identity of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// The process.
    #[default]
    Process,
    /// The process and the thread.
    Thread,
}

/// The key under which the kernel sums up such a call.
pub fn key(call: &CallRecord, by: By) -> AggKey {
    let waits = syscall::is(call.nr, REQUESTS) && enter_waits(call.arg2, call.arg3);
    AggKey {
        file: 0,
        tgid: call.head.tgid,
        tid: if by == By::Thread { call.head.tid } else { 0 },
        nr: call.nr
            | if waits { AGG_WAITS } else { 0 }
            | if call.flags & call_flags::INPUT != 0 { AGG_INPUT } else { 0 },
        fd: -1,
    }
}

/// Adds a recorded call to its row, and to the counts of errors and wake-ups. Returns the key of the row.
pub fn book(sums: &mut Snapshot, call: &CallRecord, by: By, prices: Prices) -> AggKey {
    let key = key(call, by);
    let recorded = Recorded { call, traits: syscall::traits_of(call.nr) };
    let moved = book::moved(&recorded);
    let copy_ns = book::priced(&recorded, &moved, || prices);
    let row = sums.rows.entry(key).or_default();
    if let Outcome::Failed(errno) = book::add(row, &recorded, &moved, copy_ns) {
        *sums.errors.entry(ErrorKey { row: key, errno: errno as u64 }).or_default() += 1;
    }
    if call.wake.at != 0 {
        // A wake-up whose thread is not known has 0 in both fields, which is what the kernel counts it under.
        let by_socket = book::by_socket(&recorded, &call.wake);
        let waker = book::waker(&recorded, Some(&call.wake), by_socket);
        let key = WakeKey { tgid: call.head.tgid, nr: call.nr, waker, by_socket: u32::from(by_socket) };
        *sums.wakes.entry(key).or_default() += 1;
    }
    key
}

/// Adds an entry of a journal: a call, or a folded stretch of polls. Of such a stretch neither the wake-ups that
/// ended its sleeps for locks are known, nor the floors under its copies. Returns the key of the row.
pub fn book_entry(sums: &mut Snapshot, entry: &Entry, by: By, prices: Prices) -> AggKey {
    let Some(polls) = &entry.polls else { return book(sums, &entry.call, by, prices) };
    let key = key(&entry.call, by);
    add_folded(sums.rows.entry(key).or_default(), polls);
    key
}

#[cfg(test)]
mod tests;
