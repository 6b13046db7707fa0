//! Rows of records: calls summed by syscall, role and kind of thread, by the same books as in the kernel.

use std::collections::BTreeMap;

use iotrace_ebpf::book::{self, Moved, Outcome, Recorded, Sums};

use crate::domain::dist::Histogram;
use crate::domain::traffic::Window;
use crate::domain::{Fd, Role, ThreadRole, syscall};
use crate::records::copy::{Copies, Seen};
use crate::records::journal::{Entry, Journal};
use crate::rows::row::{self, Facts};
use crate::summary::Call;

/// A descriptor of the application, and the file behind it.
#[derive(Clone, Debug)]
pub struct NamedFd {
    /// The descriptor's number.
    pub number: i32,
    /// The file.
    pub file: Fd,
}

/// What the rows are made for.
pub struct Scope<'a> {
    /// Calls that were entered and returned in this window.
    pub measured: Window,
    /// Threads that run the application's code.
    pub app: &'a [u32],
    /// The application's descriptors.
    pub fds: &'a [NamedFd],
    /// What the copies are measured against.
    pub copies: &'a Copies,
}

impl Scope<'_> {
    /// Whether a call belongs to the scope.
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.enter() >= self.measured.from_ns && entry.exit() <= self.measured.to_ns
    }
}

/// The sums of a row, and what its result needs beside them.
#[derive(Default)]
struct Booked {
    row: Sums<Histogram>,
    errors: BTreeMap<i64, u64>,
    fd: Option<Option<Fd>>,
    floors: Vec<u64>,
}

/// The rows of a scope, in order of role and syscall.
pub fn rows(journal: &Journal, scope: &Scope<'_>) -> Vec<Call> {
    let mut booked: BTreeMap<(Role, u32, ThreadRole), Booked> = BTreeMap::new();
    for entry in journal.calls.iter().filter(|entry| scope.holds(entry)) {
        let thread = journal.thread_role(entry.call.head.tid, scope.app);
        booked.entry((entry.role(), entry.call.nr, thread)).or_default().add(entry, scope);
    }
    let rows = booked.into_iter();
    rows.map(|((role, nr, thread), booked)| booked.call(role, nr, thread, scope.copies.is_exact())).collect()
}

impl Booked {
    fn add(&mut self, entry: &Entry, scope: &Scope<'_>) {
        self.count_fd(entry, scope);
        if let Some(polls) = &entry.polls {
            self.row.combine(polls, |sum, more| *sum += more, Histogram::merge);
            return;
        }
        let call = Recorded { call: &entry.call, traits: syscall::traits_of(entry.call.nr) };
        let moved = book::moved(&call);
        let copy_ns = match Seen::of(&entry.call, &moved) {
            Some(seen) => {
                self.floors.extend(scope.copies.floor(seen));
                scope.copies.copied(seen).ns
            }
            None => 0,
        };
        // No copy is longer than what else would be work: a window may reach beyond the thread's time on the CPU.
        let copy_ns = match moved {
            Moved::Window { .. } => copy_ns.min(entry.call.parts.work),
            _ => copy_ns,
        };
        if let Outcome::Failed(errno) = book::add(&mut self.row, &call, &moved, copy_ns) {
            *self.errors.entry(errno).or_default() += 1;
        }
    }

    fn count_fd(&mut self, entry: &Entry, scope: &Scope<'_>) {
        let fd = (entry.role() == Role::Data)
            .then(|| scope.fds.iter().find(|fd| fd.number == entry.call.fd).map(|fd| fd.file.clone()))
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

    fn call(mut self, role: Role, nr: u32, thread_role: ThreadRole, exact: bool) -> Call {
        self.floors.sort_unstable();
        let facts = Facts {
            nr,
            role,
            thread_role,
            tid: None,
            fd: self.fd.flatten(),
            waits_for: None,
            errors: self.errors,
            input: false,
            exact,
            copy_floor_ns: self.floors.get(self.floors.len() / 2).copied(),
        };
        // The operations of a run have pickup by message, from the message's own sign of readiness.
        Call { pickup: None, ..row::call(&self.row, facts) }
    }
}
