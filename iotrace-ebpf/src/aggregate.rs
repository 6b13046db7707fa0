//! Adds finished calls to sums in the kernel. Unlike records, sums cannot overrun a buffer, and user space need not
//! read them while the target runs.

use aya_ebpf::bindings::BPF_NOEXIST;
use iotrace_ebpf::abi::traits::{REQUESTS, enter_waits};
use iotrace_ebpf::abi::{
    AGG_INPUT, AGG_WAITS, Agg, AggKey, ErrorKey, SHARED, Stat, WakeKey, call_flags, per,
};
use iotrace_ebpf::book::{self, Finished, Moved, Outcome, Prices};
use iotrace_ebpf::span::Parts;

use crate::file;
use crate::life;
use crate::maps::{ERRORS, FOLD_AT, MIN_NS, NEW_ROW, PER, PER_KIB, ROWS, ROWS_MADE, WAKES, count};
use crate::memory::{again, pass};
use crate::task::Task;
use crate::transfers;

/// What a finished call was, beside what the state of its thread still holds. Times are `CLOCK_MONOTONIC` in ns.
pub struct Closed {
    /// When the call began.
    pub enter: u64,
    /// When it ended.
    pub exit: u64,
    /// What it returned.
    pub ret: i64,
    /// Where its time went, floors not yet subtracted.
    pub parts: Parts,
    /// When its thread was switched in last, in or before the call.
    pub last_in: u64,
    /// When the wake-up was that ended its last sleep; 0: it did not sleep.
    pub woken: u64,
}

/// A finished call as [`book`] reads it: the state of its thread, and how it ended.
#[derive(Clone, Copy)]
struct Done<'a> {
    task: &'a Task,
    closed: &'a Closed,
}

/// Adds a finished call to its row.
#[inline(always)]
pub fn add(task: &mut Task, closed: &Closed) {
    if closed.parts.total < MIN_NS.load() {
        life::short(u64::from(task.id), closed.parts.work);
        return;
    }
    let mut key = key(task);
    let Some(row) = row(&mut key, task) else {
        count(Stat::RowsFull);
        return;
    };
    let calls = row.calls;
    let call = Done { task: &*task, closed };
    let moved = passed_moved(task, book::moved(&call));
    let copy = book::priced(&call, &moved, || {
        let [socket_per_kib, file_per_kib] = PER_KIB.load();
        Prices { socket_per_kib, file_per_kib }
    });
    let copy = pass(task, 4, copy);
    let errno = match book::add(row, &call, &moved, copy) {
        Outcome::Failed(errno) => errno as u64,
        _ => 0,
    };
    let errno = pass(task, 5, errno);
    if errno != 0 {
        failed(&key, errno as i64);
    }
    if closed.woken != 0 {
        woken(&call);
    }
    transfers::read_by(task, closed.ret, closed.exit, calls);
}

/// [`pass`] for what a call shows of its copy.
#[inline(always)]
fn passed_moved(task: &Task, moved: Moved) -> Moved {
    let (kind, first, second) = match moved {
        Moved::Nothing => (0, 0, 0),
        Moved::Marked { raw, copies } => (1, raw, u64::from(copies)),
        Moved::Window { upper, bytes } => (2, upper, bytes),
    };
    let (kind, first, second) = (pass(task, 1, kind), pass(task, 2, first), pass(task, 3, second));
    match kind {
        0 => Moved::Nothing,
        1 => Moved::Marked { raw: first, copies: second as u32 },
        _ => Moved::Window { upper: first, bytes: second },
    }
}

#[inline(always)]
fn key(task: &Task) -> AggKey {
    let waits = task.traits & REQUESTS != 0 && enter_waits(task.arg2, task.arg3);
    let per = PER.load();
    let file = if per == per::FD { task.file_id } else { 0 };
    AggKey {
        file,
        tgid: task.tgid,
        tid: if per == per::THREAD { task.tid } else { 0 },
        nr: task.nr
            | if waits { AGG_WAITS } else { 0 }
            | if task.flags & call_flags::INPUT != 0 { AGG_INPUT } else { 0 },
        fd: if file == 0 || file & SHARED != 0 { -1 } else { task.fd },
    }
}

/// The row of a call, and in `key` the key that it has: that of its file, or the one that its file shares.
#[inline(always)]
fn row(key: &mut AggKey, task: &Task) -> Option<&'static mut Agg> {
    // SAFETY: the value belongs to this CPU; sys_exit does not nest on one.
    if let Some(row) = ROWS.get_ptr_mut(&*key) {
        return Some(unsafe { &mut *row });
    }
    // SAFETY: one word; an addition that is lost on a race only means that room is made a little later.
    let made = unsafe { ROWS_MADE.get_ptr_mut(0).map(|made| &mut *made) }?;
    if PER.load() == per::FD && task.file != 0 && *made >= FOLD_AT.load() {
        (key.file, key.fd) = (file::folded(task.file), -1);
        // SAFETY: as above.
        if let Some(row) = ROWS.get_ptr_mut(&*key) {
            return Some(unsafe { &mut *row });
        }
    }
    *made += 1;
    // SAFETY: the template is only ever read.
    let template = NEW_ROW.get_ptr(0).map(|template| unsafe { &*template })?;
    // The insert fails where another CPU has made the row meanwhile, and the look-up below finds that one.
    if ROWS.insert(&*key, template, u64::from(BPF_NOEXIST)).is_ok() && task.file != 0 && key.file != 0 {
        file::announce(task, key.file);
    }
    // SAFETY: as above.
    ROWS.get_ptr_mut(&*key).map(|row| unsafe { &mut *row })
}

#[inline(always)]
fn failed(key: &AggKey, errno: i64) {
    let key = ErrorKey { row: *key, errno: errno as u64 };
    match ERRORS.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(times) => unsafe { *times += 1 },
        None if ERRORS.insert(key, 1, 0).is_err() => count(Stat::RowsFull),
        None => {}
    }
}

#[inline(always)]
fn woken(call: &Done<'_>) {
    let task = call.task;
    let known = task.wake.at == call.closed.woken;
    let wake = known.then_some(&task.wake);
    let by_socket = wake.is_some_and(|wake| book::by_socket(call, wake));
    if by_socket {
        life::waited_for(u64::from(task.id), call.closed.parts.wait);
    }
    let waker = book::waker(call, wake, by_socket);
    let key = WakeKey { tgid: task.tgid, nr: task.nr, waker, by_socket: u32::from(by_socket) };
    match WAKES.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(times) => unsafe { *times += 1 },
        // Full: the wake-ups themselves are counted in the rows, only their sources stay unknown.
        None => drop(WAKES.insert(key, 1, 0)),
    }
}

impl Finished for Done<'_> {
    #[inline(always)]
    fn traits(&self) -> u32 {
        again(&self.task.traits)
    }
    #[inline(always)]
    fn ret(&self) -> i64 {
        again(&self.task.scratch[0]) as i64
    }
    #[inline(always)]
    fn enter(&self) -> u64 {
        self.closed.enter
    }
    #[inline(always)]
    fn exit(&self) -> u64 {
        self.closed.exit
    }
    #[inline(always)]
    fn last_in(&self) -> u64 {
        self.closed.last_in
    }
    #[inline(always)]
    fn parts(&self) -> &Parts {
        &self.closed.parts
    }
    #[inline(always)]
    fn sleeps(&self) -> u32 {
        again(&self.task.span.sleeps)
    }
    #[inline(always)]
    fn disks(&self) -> u32 {
        again(&self.task.span.disks)
    }
    #[inline(always)]
    fn locks(&self) -> u32 {
        self.task.span.locks
    }
    #[inline(always)]
    fn preempts(&self) -> u32 {
        self.task.span.preempts
    }
    #[inline(always)]
    fn copies(&self) -> u32 {
        again(&self.task.span.copies)
    }
    #[inline(always)]
    fn floors(&self) -> u64 {
        self.task.floors
    }
    #[inline(always)]
    fn recv_at(&self) -> u64 {
        self.task.recv_at
    }
    #[inline(always)]
    fn recv_bytes(&self) -> u64 {
        self.task.recv_bytes
    }
    #[inline(always)]
    fn sock(&self) -> u64 {
        self.task.sock
    }
    #[inline(always)]
    fn pickup(&self) -> u64 {
        self.task.pickup
    }
    #[inline(always)]
    fn arg1(&self) -> u64 {
        self.task.arg1
    }
    #[inline(always)]
    fn arg2(&self) -> u64 {
        self.task.arg2
    }
    #[inline(always)]
    fn arg3(&self) -> u64 {
        self.task.arg3
    }
    #[inline(always)]
    fn restarts(&self) -> u32 {
        self.task.restarts
    }
    #[inline(always)]
    fn flags(&self) -> u32 {
        again(&self.task.flags)
    }
}
