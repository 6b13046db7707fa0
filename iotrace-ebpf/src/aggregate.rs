//! Sums in the kernel: nothing to lose, and nothing to read while the target runs.

use aya_ebpf::bindings::BPF_NOEXIST;
use iotrace_ebpf::abi::{AGG_BUCKETS, AGG_WAITS, Agg, AggKey, EAGAIN, ErrorKey, Stat, WakeKey, per, role};
use iotrace_ebpf::hist::coarse;
use iotrace_ebpf::span::Parts;

use crate::file;
use crate::maps::{ERRORS, MIN_NS, NEW_ROW, PER, PER_KIB, ROWS, WAKES, count};
use crate::task::Task;

/// `io_uring_enter`, and the flag with which it waits.
const IO_URING_ENTER: u32 = 426;
const GETEVENTS: u64 = 1;
/// `futex`: returns nothing that could be counted.
const FUTEX: u32 = 202;
/// Syscalls below this number on x86-64 that are of the socket kind: 44 to 47, 299, 307.
const SOCKET_CALLS: core::ops::RangeInclusive<u32> = 44..=47;

/// `recvmmsg` and `sendmmsg` return messages: their bytes are those that the receive marks counted, if any.
const RETURN_MESSAGES: [u32; 2] = [299, 307];

/// `sendfile` and `splice` move pages between two files, and nothing to or from the process.
const PAST_THE_PROCESS: [u32; 2] = [40, 275];

/// What a finished call was, beside what its thread still knows.
pub struct Finished {
    /// Enter.
    pub enter: u64,
    /// Exit.
    pub exit: u64,
    /// What it returned.
    pub ret: i64,
    /// Where its time went, floors not yet subtracted.
    pub parts: Parts,
    /// Last switch-in.
    pub last_in: u64,
    /// The wake-up that ended its last sleep.
    pub woken: u64,
}

/// Adds a finished call to its row.
#[inline(always)]
pub fn add(task: &Task, call: &Finished) {
    if call.parts.total < MIN_NS.load() {
        return;
    }
    let key = key(task);
    let Some(row) = row(&key, task) else {
        count(Stat::RowsFull);
        return;
    };
    let mut parts = call.parts;
    row.calls += 1;
    row.sleeps += u64::from(task.span.sleeps);
    row.locks += u64::from(task.span.locks);
    row.preempts += u64::from(task.span.preempts);
    result(row, &key, task, call);
    copied(row, task, call, &mut parts);
    row.parts.total += parts.total;
    row.parts.wait += parts.wait;
    row.parts.lock += parts.lock;
    row.parts.runq += parts.runq;
    row.parts.copy += parts.copy;
    row.parts.work += parts.work;
    bump(&mut row.phase1, parts.wait + parts.runq);
    bump(&mut row.latency, parts.total);
    if task.pickup != 0 {
        row.pickups += 1;
        row.pickup_ns += task.pickup - 1;
        bump(&mut row.pickup, task.pickup - 1);
    }
    if call.woken != 0 {
        woken(task, call);
    }
}

#[inline(always)]
fn key(task: &Task) -> AggKey {
    let waits = task.nr == IO_URING_ENTER && task.arg3 & GETEVENTS != 0 && task.arg2 > 0;
    let per = PER.load();
    AggKey {
        file: if per == per::FD { task.file_id } else { 0 },
        tgid: task.tgid,
        tid: if per == per::THREAD { task.tid } else { 0 },
        nr: if waits { task.nr | AGG_WAITS } else { task.nr },
        fd: if per == per::FD && task.file != 0 { task.fd } else { -1 },
    }
}

#[inline(always)]
fn row(key: &AggKey, task: &Task) -> Option<&'static mut Agg> {
    // SAFETY: the value belongs to this CPU; sys_exit does not nest on one.
    if let Some(row) = ROWS.get_ptr_mut(key) {
        return Some(unsafe { &mut *row });
    }
    // SAFETY: the template is only ever read.
    let template = NEW_ROW.get_ptr(0).map(|template| unsafe { &*template })?;
    // Another CPU may have been faster: then its row is there, which is as good.
    if ROWS.insert(key, template, u64::from(BPF_NOEXIST)).is_ok() && key.file != 0 {
        file::announce(task);
    }
    // SAFETY: as above.
    ROWS.get_ptr_mut(key).map(|row| unsafe { &mut *row })
}

#[inline(always)]
fn result(row: &mut Agg, key: &AggKey, task: &Task, call: &Finished) {
    let moves = task.role == u32::from(role::DATA) || task.role == u32::from(role::OUTPUT);
    match call.ret {
        ret if ret == -EAGAIN => row.again += 1,
        -516..=-512 => row.restarts += 1,
        ret if ret < 0 => {
            row.errors += 1;
            failed(key, ret);
        }
        0 if !moves && task.nr != FUTEX => {
            row.empty += 1;
            row.empty_slept += u64::from(task.span.sleeps > 0);
        }
        _ if moves && RETURN_MESSAGES.contains(&task.nr) => row.bytes += task.recv_bytes,
        ret => row.bytes += ret as u64,
    }
}

#[inline(always)]
fn failed(key: &AggKey, ret: i64) {
    let key = ErrorKey { row: *key, errno: ret.unsigned_abs() };
    match ERRORS.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(times) => unsafe { *times += 1 },
        None if ERRORS.insert(key, 1, 0).is_err() => count(Stat::RowsFull),
        None => {}
    }
}

/// Books the copy: marked ones less their floors, others by their bytes.
#[inline(always)]
fn copied(row: &mut Agg, task: &Task, call: &Finished, parts: &mut Parts) {
    let moves = task.role == u32::from(role::DATA) || task.role == u32::from(role::OUTPUT);
    if PAST_THE_PROCESS.contains(&task.nr) {
        return;
    }
    let bytes = match task.recv_bytes {
        0 if RETURN_MESSAGES.contains(&task.nr) => 0,
        0 => call.ret as u64,
        counted => counted,
    };
    let copy = if task.span.copies > 0 {
        row.marked += 1;
        parts.copy - task.floors.min(parts.copy)
    } else if moves && call.ret > 0 && bytes > 0 {
        let begin = if call.last_in > call.enter { call.last_in } else { call.enter };
        let end = if task.recv_at > begin { task.recv_at } else { call.exit };
        let mut window = end.saturating_sub(begin);
        if task.span.preempts + task.span.locks > 0 {
            // The CPU may have been lost in the copy: then all time on it is the bound.
            window = parts.work;
        }
        row.windows += 1;
        row.window_ns += window;
        let slopes = PER_KIB.load();
        let slope = if SOCKET_CALLS.contains(&task.nr) || task.sock != 0 { slopes[0] } else { slopes[1] };
        // Both bounds hold: the window is on the CPU, so it is part of what else would be work.
        (bytes.wrapping_mul(slope) >> 10).min(window).min(parts.work)
    } else {
        return;
    };
    parts.work = parts.work + parts.copy - copy;
    parts.copy = copy;
    bump(&mut row.phase2, copy);
}

#[inline(always)]
fn woken(task: &Task, call: &Finished) {
    let known = task.wake.at == call.woken;
    let by_socket = known && task.wake.sock != 0;
    let timed_out = call.ret == 0 && task.role == u32::from(role::READINESS);
    let waker = if timed_out && !by_socket {
        WakeKey::TIMER
    } else if known {
        task.wake.tid
    } else {
        0
    };
    let key = WakeKey { tgid: task.tgid, nr: task.nr, waker, by_socket: u32::from(by_socket) };
    match WAKES.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(times) => unsafe { *times += 1 },
        // Full: the wake-ups themselves are counted in the rows, only their sources stay unknown.
        None => drop(WAKES.insert(key, 1, 0)),
    }
}

/// Counts a value. The mask bounds the index for verifiers that cannot follow [`coarse`]; the compiler,
/// which can, must not see that it changes nothing.
#[inline(always)]
fn bump(buckets: &mut [u32; AGG_BUCKETS], value: u64) {
    let index = core::hint::black_box(coarse(value)) & (AGG_BUCKETS - 1);
    // SAFETY: the mask keeps the index inside the array, whose length is a power of two.
    unsafe {
        let bucket = buckets.as_mut_ptr().add(index);
        *bucket = (*bucket).wrapping_add(1);
    }
}
