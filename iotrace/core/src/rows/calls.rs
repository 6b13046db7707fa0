//! The rows: calls summed by syscall, role and kind of thread.

use std::collections::BTreeMap;

use crate::domain::dist::Histogram;
use crate::domain::syscall::{self, IO_SUBMIT, RECVMMSG};
use crate::domain::{CopySource, Direction, Fd, Role, ThreadRole};
use crate::records::copy::{Copies, seen_in};
use crate::records::journal::{Entry, Journal};
use crate::summary::Call;

/// What the rows are made for.
pub struct Scope<'a> {
    /// Calls that returned after this ...
    pub from: u64,
    /// ... and not after this.
    pub to: u64,
    /// Threads that run the application's code.
    pub app: &'a [u32],
    /// The application's descriptors, with what they are.
    pub fds: &'a [(i32, Fd)],
    /// What the copies are measured against.
    pub copies: &'a Copies,
}

impl Scope<'_> {
    /// Whether a call belongs to the scope.
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.enter() >= self.from && entry.exit() <= self.to
    }
}

#[derive(Default)]
struct Sums {
    calls: u64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
    timeouts: u64,
    restarts: u64,
    sleeps: u64,
    total: u64,
    wait: u64,
    lock: u64,
    runq: u64,
    copy: u64,
    upper: u64,
    exact: u64,
    marked: u64,
    estimated: u64,
    fd: Option<Option<Fd>>,
    phase1: Histogram,
    phase2: Histogram,
    latency: Histogram,
    floors: Vec<u64>,
}

/// The rows of a scope, in order of role and syscall.
pub fn rows(journal: &Journal, scope: &Scope<'_>) -> Vec<Call> {
    let mut sums: BTreeMap<(Role, u32, ThreadRole), Sums> = BTreeMap::new();
    for entry in journal.calls.iter().filter(|entry| scope.holds(entry)) {
        let thread = journal.thread_role(entry.call.head.tid, scope.app);
        sums.entry((entry.role(), entry.call.nr, thread)).or_default().add(entry, scope);
    }
    sums.into_iter().map(|((role, nr, thread), sums)| sums.row(role, nr, thread)).collect()
}

impl Sums {
    fn add(&mut self, entry: &Entry, scope: &Scope<'_>) {
        let (call, parts) = (&entry.call, &entry.call.parts);
        self.calls += entry.count;
        self.sleeps += u64::from(call.sleeps);
        self.total += parts.total;
        self.wait += parts.wait;
        self.lock += parts.lock;
        self.runq += parts.runq;
        if let Some(latencies) = &entry.latencies {
            self.latency.merge(latencies);
        } else {
            self.latency.add(parts.total);
        }
        if let Some(phase1) = &entry.phase1 {
            self.phase1.merge(phase1);
        } else {
            self.phase1.add(parts.wait + parts.runq);
        }
        self.count_result(entry);
        self.count_copy(entry, scope);
        self.count_fd(entry, scope);
    }

    fn count_result(&mut self, entry: &Entry) {
        let (ret, role) = (entry.call.ret, entry.role());
        if syscall::is_restart(ret) {
            self.restarts += entry.count;
        } else if ret < 0 {
            *self.errors.entry(syscall::errno_name(-ret)).or_default() += entry.count;
        } else if ret == 0
            && matches!(role, Role::Readiness | Role::Completion)
            && entry.call.nr != syscall::FUTEX
        {
            self.timeouts += entry.count;
        } else if role == Role::Data {
            self.bytes += if entry.call.nr == RECVMMSG { entry.call.recv_bytes } else { ret as u64 };
        }
    }

    fn count_copy(&mut self, entry: &Entry, scope: &Scope<'_>) {
        let call = &entry.call;
        let moves_data = entry.role() == Role::Data || call.nr == IO_SUBMIT;
        if call.copies == 0 && !(moves_data && call.ret > 0 && carried(call.nr, call.recv_bytes, call.sleeps))
        {
            return;
        }
        let seen = seen_in(call);
        let copied = scope.copies.copied(seen);
        self.floors.extend(scope.copies.floor(seen));
        self.copy += copied.ns;
        self.upper += copied.upper;
        self.phase2.add(copied.ns);
        match copied.source {
            CopySource::Estimated => self.estimated += 1,
            CopySource::Exact => self.exact += 1,
            _ => self.marked += 1,
        }
    }

    fn count_fd(&mut self, entry: &Entry, scope: &Scope<'_>) {
        let fd = (entry.role() == Role::Data)
            .then(|| scope.fds.iter().find(|(fd, _)| *fd == entry.call.fd).map(|(_, fd)| fd.clone()))
            .flatten();
        self.fd = Some(match (self.fd.take(), fd) {
            (None, fd) => fd,
            (Some(Some(one)), Some(other)) if one.kind == other.kind => Some(if one.name == other.name {
                one
            } else {
                Fd { kind: one.kind, name: "several".to_owned() }
            }),
            _ => None,
        });
    }

    fn row(mut self, role: Role, nr: u32, thread_role: ThreadRole) -> Call {
        let source = match (self.exact, self.marked, self.estimated) {
            (0, 0, 0) => CopySource::None,
            (_, 0, 0) => CopySource::Exact,
            // One window without marks makes the sum an estimate.
            (_, _, 0) => CopySource::Marked,
            _ => CopySource::Estimated,
        };
        self.floors.sort_unstable();
        Call {
            syscall: syscall::name(nr),
            role,
            direction: (role == Role::Data).then_some(Direction::In),
            thread_role,
            tid: None,
            fd: self.fd.flatten(),
            calls: self.calls,
            bytes: self.bytes,
            errors: self.errors,
            timeouts: self.timeouts,
            restarts: self.restarts,
            sleeps: self.sleeps,
            total_ns: self.total,
            wait_ns: self.wait,
            lock_ns: self.lock,
            runq_ns: self.runq,
            copy_ns: self.copy,
            // What a floor took from the copy is work; the sum stays exact.
            work_ns: self.total - self.wait - self.lock - self.runq - self.copy,
            copy_source: source,
            copy_upper_ns: (source == CopySource::Estimated).then_some(self.upper),
            copy_floor_ns: self.floors.get(self.floors.len() / 2).copied(),
            phase1: self.phase1.dist(),
            phase2: self.phase2.measured(),
            latency: self.latency.dist(),
            waits_for: None,
            pickup: None,
        }
    }
}

/// Whether a call without marks moved data. An `io_submit` that neither received nor slept handed over
/// a poll request, which moves nothing.
fn carried(nr: u32, recv_bytes: u64, sleeps: u32) -> bool {
    nr != IO_SUBMIT || recv_bytes > 0 || sleeps > 0
}
