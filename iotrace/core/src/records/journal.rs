//! Everything a run recorded, in order of time, with stretches of polling folded into one entry.
//!
//! A spinning reader makes a million calls a second; what matters of them is how many, how long, and
//! their distribution. Folding keeps exactly that, so memory grows with messages, not with polls.

use std::collections::HashMap;

use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::traits::SIGNAL;
use iotrace_ebpf::abi::{
    CallRecord, CopyRecord, FileRecord, ReadyRecord, RecvRecord, SignalRecord, TaskRecord, UringRecord,
};
use iotrace_ebpf::book::{self, Recorded, Sums};

use crate::domain::dist::Histogram;
use crate::domain::{Role, ThreadRole};
use crate::domain::{name, syscall};
use crate::records::record::Record;

/// Largest gap between two polls of one stretch, ns, time without the CPU not counted. In a longer gap the thread did
/// something else. A shorter one is the way out of one call, the loop, an interrupt, and the way into
/// the next.
pub const POLL_GAP_NS: u64 = 20_000;

/// One call, or a stretch of like polls of one thread.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The call; of a stretch, the first, with `head.at` and `parts` those of all.
    pub call: CallRecord,
    /// Number of calls.
    pub count: u64,
    /// Of a stretch: time between its polls in which the thread was runnable, but not running, ns.
    pub lost_cpu: u64,
    /// Of a stretch: the sums of its calls.
    pub polls: Option<Box<Sums<Histogram>>>,
}

impl Entry {
    /// When the call (of a stretch: the first) was entered, ns.
    pub fn enter(&self) -> u64 {
        self.call.enter
    }

    /// When the call (of a stretch: the last) returned, ns.
    pub fn exit(&self) -> u64 {
        self.call.head.at
    }

    /// What the call was for.
    pub fn role(&self) -> Role {
        syscall::role_of(self.call.nr, self.call.arg2, self.call.arg3)
    }

    /// Whether the call returned "not yet" without having slept.
    pub fn is_poll(&self) -> bool {
        is_poll(&self.call)
    }
}

fn is_poll(call: &CallRecord) -> bool {
    if call.sleeps > 0 {
        return false;
    }
    match syscall::role_of(call.nr, call.arg2, call.arg3) {
        Role::Data => call.ret == -EAGAIN,
        Role::Readiness => call.ret == 0,
        Role::Completion => call.ret == 0 || (syscall::is(call.nr, SIGNAL) && call.ret == -EAGAIN),
        Role::Submit | Role::Connection | Role::Sync | Role::Durable | Role::Other => false,
    }
}

/// The name of a thread as text, see [`name::of`].
pub fn name(task: &TaskRecord) -> String {
    name::of(task.comm.split(|&byte| byte == 0).next().unwrap_or_default())
}

/// All that was recorded.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Calls, in order of exit.
    pub calls: Vec<Entry>,
    /// Copies outside data calls.
    pub copies: Vec<CopyRecord>,
    /// Moments at which sockets became ready.
    pub ready: Vec<ReadyRecord>,
    /// Signals generated or delivered.
    pub signals: Vec<SignalRecord>,
    /// Events of io_uring requests.
    pub uring: Vec<UringRecord>,
    /// Receives outside data calls.
    pub recvs: Vec<RecvRecord>,
    /// Files behind descriptors.
    pub files: Vec<FileRecord>,
    /// Names of threads when they were first seen, by thread id.
    pub names: HashMap<u32, String>,
    /// Process ids of threads, by thread id.
    pub processes: HashMap<u32, u32>,
    /// Copies of the exact tier beside marked ones.
    pub beside: Vec<CopyRecord>,
    /// Whether function hooks marked the copies.
    pub exact: bool,
    /// Number of items that could not be decoded, or are more than are kept.
    pub unknown: u64,
    /// Most records that are kept; 0: any number.
    most: usize,
    /// Number of records that are kept.
    kept: usize,
    /// Index of the last entry of each thread in `calls`, to extend a stretch.
    last: HashMap<u32, usize>,
}

impl Journal {
    /// One that keeps so many records, and counts what is more as unknown: whoever is observed decides how many it makes.
    pub fn of_at_most(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Whether there is room for one more record, which is counted as kept then.
    fn keeps(&mut self) -> bool {
        let has_room = self.most == 0 || self.kept < self.most;
        self.kept += usize::from(has_room);
        self.unknown += u64::from(!has_room);
        has_room
    }

    /// Takes one ring buffer item.
    pub fn take(&mut self, item: &[u8]) {
        match Record::parse(item) {
            Some(record) => self.add(record),
            None => self.unknown += 1,
        }
    }

    /// Takes one record.
    pub fn add(&mut self, record: Record) {
        if !matches!(record, Record::Call(_)) && !self.keeps() {
            return;
        }
        match record {
            Record::Call(call) => self.add_call(call),
            Record::Copy(copy) => self.copies.push(copy),
            Record::Exact(copy) => self.beside.push(copy),
            Record::Ready(ready) => self.ready.push(ready),
            Record::Signal(signal) => self.signals.push(signal),
            Record::Uring(event) => self.uring.push(event),
            Record::Recv(recv) => self.recvs.push(recv),
            Record::File(file) => self.files.push(file),
            Record::Task(task) | Record::Name(task) => {
                self.names.insert(task.head.tid, name(&task));
                self.processes.insert(task.head.tid, task.head.tgid);
            }
        }
    }

    fn add_call(&mut self, call: CallRecord) {
        if is_poll(&call)
            && let Some(&index) = self.last.get(&call.head.tid)
            && let Some(entry) = self.calls.get_mut(index)
            && continues(entry, &call)
        {
            extend(entry, &call);
            return;
        }
        if !self.keeps() {
            return;
        }
        self.last.insert(call.head.tid, self.calls.len());
        self.calls.push(Entry { call, count: 1, lost_cpu: 0, polls: None });
    }

    /// Puts everything in order of time: records of different CPUs may arrive swapped.
    pub fn sort(&mut self) {
        self.last.clear();
        self.calls.sort_by_key(Entry::exit);
        self.copies.sort_by_key(|copy| copy.head.at);
        self.ready.sort_by_key(|ready| ready.head.at);
        self.signals.sort_by_key(|signal| signal.head.at);
        self.uring.sort_by_key(|event| event.head.at);
        self.recvs.sort_by_key(|recv| recv.head.at);
    }

    /// Whose thread `tid` is, given the threads that run the application's code.
    pub fn thread_role(&self, tid: u32, app: &[u32]) -> ThreadRole {
        match self.names.get(&tid).map_or("", String::as_str) {
            _ if app.contains(&tid) => ThreadRole::App,
            name if name.starts_with("iou-sqp") => ThreadRole::Sqpoll,
            name if name.starts_with("iou-wrk") => ThreadRole::Worker,
            _ => ThreadRole::Helper,
        }
    }
}

fn continues(entry: &Entry, call: &CallRecord) -> bool {
    let first = &entry.call;
    entry.is_poll()
        && (first.nr, first.fd, first.ret) == (call.nr, call.fd, call.ret)
        && is_next_poll(entry, call)
}

/// Whether the thread did nothing between the two but get from one to the other, the time for which it had
/// no CPU left aside.
pub fn is_next_poll(entry: &Entry, call: &CallRecord) -> bool {
    call.enter.saturating_sub(entry.exit()).saturating_sub(call.before_runq) <= POLL_GAP_NS
}

fn extend(entry: &mut Entry, call: &CallRecord) {
    let polls = entry.polls.get_or_insert_with(|| {
        let mut first = Box::default();
        book_poll(&mut first, &entry.call);
        first
    });
    book_poll(polls, call);
    entry.call.parts = polls.parts;
    entry.lost_cpu += call.before_runq;
    entry.call.disks += call.disks;
    entry.call.locks += call.locks;
    entry.call.preempts += call.preempts;
    entry.call.head.at = call.head.at;
    entry.count += 1;
}

/// A poll copies nothing, unless task work ran in it: then its copies lie between marks.
fn book_poll(polls: &mut Sums<Histogram>, call: &CallRecord) {
    let call = Recorded { call, traits: syscall::traits_of(call.nr) };
    let moved = book::moved(&call);
    book::add(polls, &call, &moved, call.call.parts.copy);
}

#[cfg(test)]
mod tests {
    use iotrace_ebpf::abi::{Head, Kind};
    use iotrace_ebpf::span::Parts;

    use super::*;

    fn call(enter: u64, exit: u64, ret: i64) -> Record {
        let head = Head { kind: Kind::Call as u32, tid: 1, tgid: 1, reserved: 0, at: exit };
        let parts = Parts { total: exit - enter, work: exit - enter, ..Parts::default() };
        Record::Call(CallRecord { head, enter, parts, ret, nr: 45, fd: 3, ..CallRecord::default() })
    }

    #[test]
    fn a_stretch_of_polls_is_one_entry_with_every_figure_kept() {
        let mut journal = Journal::default();
        for n in 0..1000 {
            journal.add(call(1000 + n * 300, 1000 + n * 300 + 200 + n % 3, -EAGAIN));
        }
        journal.add(call(400_000, 401_000, 64));
        assert_eq!(journal.calls.len(), 2);
        let stretch = &journal.calls[0];
        assert_eq!(stretch.count, 1000);
        assert_eq!(stretch.call.parts.total, (0..1000).map(|n| 200 + n % 3).sum::<u64>());
        assert_eq!(stretch.polls.as_ref().unwrap().latency.count(), 1000);
        assert_eq!(stretch.polls.as_ref().unwrap().latency.sum(), stretch.call.parts.total);
        assert_eq!((stretch.enter(), stretch.exit()), (1000, 1000 + 999 * 300 + 200));
    }

    #[test]
    fn a_name_that_is_not_text_keeps_its_bytes() {
        let mut task = TaskRecord::default();
        task.comm[..5].copy_from_slice(b"a\xff\xfe\0b");
        assert_eq!(name(&task), "a\\xff\\xfe");
    }

    #[test]
    fn more_than_is_kept_is_counted() {
        let mut journal = Journal::of_at_most(2);
        journal.add(Record::Ready(ReadyRecord::default()));
        for n in 0..10 {
            journal.add(call(1_000 * n, 1_000 * n + 200, 64));
        }
        assert_eq!((journal.ready.len(), journal.calls.len(), journal.unknown), (1, 1, 9));
    }

    #[test]
    fn a_pause_ends_a_stretch() {
        let mut journal = Journal::default();
        journal.add(call(1000, 1200, -EAGAIN));
        journal.add(call(1200 + POLL_GAP_NS + 1, 9000 + POLL_GAP_NS, -EAGAIN));
        assert_eq!(journal.calls.len(), 2);
    }

    #[test]
    fn losing_the_cpu_between_two_polls_is_no_pause() {
        let mut journal = Journal::default();
        journal.add(call(1000, 1200, -EAGAIN));
        let Record::Call(mut next) = call(901_000, 901_200, -EAGAIN) else { unreachable!() };
        next.before_runq = 899_000;
        journal.add(Record::Call(next));
        assert_eq!((journal.calls.len(), journal.calls[0].lost_cpu), (1, 899_000));
    }

    #[test]
    fn threads_are_told_apart_by_who_they_are() {
        let mut journal = Journal::default();
        journal.names.insert(5, "iou-sqp-4".into());
        journal.names.insert(6, "iou-wrk-4".into());
        assert_eq!(journal.thread_role(4, &[4]), ThreadRole::App);
        assert_eq!(journal.thread_role(5, &[4]), ThreadRole::Sqpoll);
        assert_eq!(journal.thread_role(6, &[4]), ThreadRole::Worker);
        assert_eq!(journal.thread_role(7, &[4]), ThreadRole::Helper);
    }
}
