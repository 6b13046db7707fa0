//! From the sums of a row to the row of a result: one piece of code for sums of the kernel and of records.

use std::collections::BTreeMap;

use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::traits::{OUT, SYNC};
use iotrace_ebpf::book::Sums;

use super::sums::Coarse;
use crate::domain::dist::{Dist, Histogram};
use crate::domain::{CopySource, Direction, Fd, Role, ThreadRole, WaitsFor, syscall};
use crate::summary::Call;

/// Facts of a row beside its sums.
pub struct Facts {
    /// Number of the syscall.
    pub nr: u32,
    /// What its calls were for.
    pub role: Role,
    /// Kind of the threads that made the calls.
    pub thread_role: ThreadRole,
    /// Id of the thread, where rows are by thread.
    pub tid: Option<u32>,
    /// The descriptor, where all calls of the row used one.
    pub fd: Option<Fd>,
    /// What its waits are for, where that is known.
    pub waits_for: Option<WaitsFor>,
    /// Errors other than `EAGAIN` and how often, by number, positive.
    pub errors: BTreeMap<i64, u64>,
    /// Whether a call between two files was input.
    pub input: bool,
    /// Whether function hooks made the marks.
    pub exact: bool,
    /// The floor that was subtracted from each copy, ns; `None` where each kind of mark has its own.
    pub copy_floor_ns: Option<u64>,
}

/// Distributions as rows keep them.
pub trait Shown {
    /// The distribution as a result shows it; `sum_ns` is the exact sum of its values.
    fn shown(&self, sum_ns: u64) -> Dist;
    /// Number of values.
    fn values(&self) -> u64;
}

impl Shown for Coarse {
    fn shown(&self, sum_ns: u64) -> Dist {
        self.dist(sum_ns)
    }

    fn values(&self) -> u64 {
        self.total()
    }
}

impl Shown for Histogram {
    fn shown(&self, _: u64) -> Dist {
        self.dist()
    }

    fn values(&self) -> u64 {
        self.count()
    }
}

/// Makes the row of a result.
pub fn call<D: Shown>(row: &Sums<D>, facts: Facts) -> Call {
    let Facts { nr, role, thread_role, tid, fd, waits_for, errors, input, exact, copy_floor_ns } = facts;
    let direction = if input { Some(Direction::In) } else { syscall::direction(nr) };
    let source = copy_source(row, exact);
    let again = (row.again > 0).then_some((EAGAIN, row.again));
    let parts = &row.parts;
    // As `phase1` of a call (`iotrace-ebpf/src/book/finished.rs`).
    let disk = if syscall::is(nr, OUT) { 0 } else { parts.disk };
    let lock = if syscall::is(nr, SYNC) { parts.lock } else { 0 };
    Call {
        syscall: syscall::name(nr),
        role,
        direction,
        thread_role,
        tid,
        thread_name: None,
        fd,
        calls: row.calls,
        open: 0,
        bytes: if role == Role::Data { row.bytes } else { 0 },
        returned: row.returned,
        errors: errors
            .into_iter()
            .chain(again)
            .map(|(errno, times)| (syscall::errno_name(errno), times))
            .collect(),
        peeked_bytes: row.peeked_bytes,
        denied: row.denied,
        timeouts: row.timeouts,
        empty: row.empty,
        restarts: row.restarts,
        slept_calls: row.slept_calls,
        sleeps: row.sleeps,
        total_ns: parts.total,
        wait_ns: parts.wait,
        disk_ns: parts.disk,
        lock_ns: parts.lock,
        runq_ns: parts.runq,
        copy_ns: parts.copy,
        work_ns: parts.work,
        copy_source: source,
        copy_upper_ns: (source == CopySource::Estimated).then_some(row.bound_ns),
        copy_floor_ns,
        phase1: row.phase1.shown(parts.wait + parts.runq + disk + lock),
        phase2: (row.phase2.values() > 0).then(|| row.phase2.shown(parts.copy)),
        latency: row.latency.shown(parts.total),
        waits_for,
        pickup: (row.pickups > 0).then(|| row.pickup.shown(row.pickup_ns)),
    }
}

/// How the copies of a row are known: as the least certain of them. One window without marks makes the sum an
/// estimate.
fn copy_source<D>(row: &Sums<D>, exact: bool) -> CopySource {
    match (row.marked, row.windows) {
        (0, 0) => CopySource::None,
        (_, 0) if exact => CopySource::Exact,
        (_, 0) => CopySource::Marked,
        _ => CopySource::Estimated,
    }
}
