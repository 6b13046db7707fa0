//! `raw_syscalls:sys_enter` and `sys_exit`: the edges of a call.
//!
//! Both sit inside the entry code of the kernel: seccomp and ptrace come before the first, task work
//! and signal delivery after the second (`syscall_exit_to_user_mode`).

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::traits::traced::YES;
use iotrace_ebpf::abi::traits::{FD, IN, OUT, PAST, REQUESTS, enter_by_index, futex_waits, moves_in};
use iotrace_ebpf::abi::{
    CallRecord, Kind, PollRecord, REGISTERED_RING, Stat, Wake, facts, fault, per, sinks,
};
use iotrace_ebpf::arch::native;
use iotrace_ebpf::span::zero;

use crate::aggregate::{self, Closed};
use crate::ends;
use crate::file;
use crate::maps::{FAULT, PER, PREEMPTIBLE, STARTED, add, count, sinks_to, traced, traits_of};
use crate::sink;
use crate::task::{Task, arg, by_chance, current, current_known, mark, now};
use crate::transfers;

/// `(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    entered(arg(&ctx, 1), false, |n| register(regs, native::ARGUMENT_OFFSETS[n]))
}

/// A register of the current call.
#[inline(always)]
fn register(regs: *const u8, offset: usize) -> u64 {
    // SAFETY: the verifier knows the argument as `struct pt_regs *` and checks the offset.
    unsafe { regs.add(offset).cast::<u64>().read() }
}

/// Begins a call. `again`: called by the second program, after one that may have begun the call already.
#[inline(always)]
pub fn entered(nr: u64, again: bool, argument: impl Fn(usize) -> u64) -> i32 {
    let traced = traced(nr);
    if traced == 0 || (traced > YES && !futex_waits(argument(1))) {
        return 0;
    }
    let Some(task) = current() else { return 0 };
    if task.span.is_open() {
        if again {
            return 0;
        }
        count(Stat::Unmatched);
    }
    task.nr = nr as u32;
    let traits = traits_of(nr);
    task.traits = traits;
    task.fd = argument(0) as i32;
    task.arg2 = argument(2);
    task.arg3 = argument(3);
    task.slept_on = 0;
    for field in [
        &mut task.recv_at,
        &mut task.recv_bytes,
        &mut task.sock,
        &mut task.floors,
        &mut task.pickup,
        &mut task.came,
    ] {
        zero(field);
    }
    if PER.load() == per::FD {
        let by_index = traits & REQUESTS != 0 && enter_by_index(task.arg3);
        task.file = if traits & FD != 0 && !by_index { file::of_descriptor(task.fd) } else { 0 };
        task.file_id = if by_index { REGISTERED_RING } else { file::id(task.file) };
    }
    // The clock comes last: what this probe does is not the call's time.
    task.span.enter(mark(fault::ENTER, now()));
    0
}

/// `(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    // Most calls are not traced: their number tells without looking for the thread.
    let traced = traced(register(regs, native::NUMBER_OFFSET));
    if traced == 0 || (traced > YES && !futex_waits(register(regs, native::ARGUMENT_OFFSETS[1]))) {
        return 0;
    }
    let Some(task) = current_known() else { return first_exit() };
    if PREEMPTIBLE.load() != 0 {
        task.ended = 1;
        unmatched(task);
    }
    let ret = arg(&ctx, 1) as i64;
    if sinks_to(sinks::AGGREGATES) && transfers::reports(task.traits) {
        let argument = |n: usize| register(regs, native::ARGUMENT_OFFSETS[n]);
        transfers::reported(task, ret, argument(0), argument(1));
    }
    exited(ret, task)
}

/// `sys_exit` by perf, which runs after [`sys_exit`]: ends the call if that program was skipped.
#[inline(always)]
pub fn exited_again(nr: u64, ret: i64) -> i32 {
    let traced = traced(nr);
    if traced == 0 {
        return 0;
    }
    let Some(task) = current_known() else { return 0 };
    // The event has no arguments of the call, so a futex that does not wait cannot be told here.
    if task.ended == 0 && traced == YES {
        unmatched(task);
    }
    task.ended = 0;
    exited(ret, task)
}

/// Counts a call whose enter was skipped: it ends, and no call is open. A thread without any traced call so far entered
/// it before the probes were attached, and is not counted.
#[inline(always)]
fn unmatched(task: &Task) {
    if !task.span.is_open() && task.traits != 0 {
        count(Stat::Unmatched);
    }
}

/// Ends the open call, if there is one.
#[inline(always)]
fn exited(ret: i64, task: &mut Task) -> i32 {
    if !task.span.is_open() {
        return 0;
    }
    let now = mark(fault::EXIT, now());
    if FAULT.load() == fault::SKIP_EXIT && by_chance() {
        return 0;
    }
    if task.span.runs(now, task.wake.at) {
        count(Stat::SwitchUnseen);
    }
    let span = &task.span;
    let (enter, last_in, woken) = (span.enter, span.last_in, span.woken);
    let parts = task.span.exit(now);
    let call = Closed { enter, exit: now, ret, parts, last_in, woken, facts: facts(task) };
    if sinks_to(sinks::AGGREGATES) {
        aggregate::add(task, &call);
    }
    if sinks_to(sinks::RECORDS) {
        record(task, &call);
    }
    0
}

/// Counts a call that was open when observing began: its thread is seen for the first time as it leaves the call.
#[inline(always)]
fn first_exit() -> i32 {
    if current().is_some() {
        count(Stat::InFlightStart);
        add(Stat::InFlightStartNs, now().saturating_sub(STARTED.load()));
    }
    0
}

/// What else is known of a call that ends. Only one that slept for a disk, or moved pages past the process, is looked at
/// more closely.
#[inline(always)]
fn facts(task: &Task) -> u32 {
    if task.traits & PAST != 0 {
        if ends::is_input(task) { facts::INPUT } else { 0 }
    } else if task.span.disks != 0 {
        facts_of_disk(task)
    } else {
        0
    }
}

/// Whether the disk moved the data of a call itself.
#[inline(never)]
fn facts_of_disk(task: &Task) -> u32 {
    let data = task.traits & FD != 0 && task.traits & (IN | OUT) != 0;
    if data && file::is_direct(file::of_descriptor(task.fd)) { facts::DIRECT } else { 0 }
}

#[inline(always)]
fn record(task: &Task, call: &Closed) {
    let span = &task.span;
    let parts = call.parts;
    let undisturbed = parts.total == parts.work && span.before_runq == 0 && span.before_sleep == 0;
    if call.ret == -EAGAIN && moves_in(task.traits) && undisturbed {
        let head = task.head(Kind::Poll, call.exit);
        sink::emit(PollRecord { head, enter: call.enter, nr: task.nr, fd: task.fd });
        return;
    }
    let known = call.woken != 0 && task.wake.at == call.woken;
    sink::emit(CallRecord {
        head: task.head(Kind::Call, call.exit),
        enter: call.enter,
        parts,
        ret: call.ret,
        nr: task.nr,
        fd: task.fd,
        arg2: task.arg2,
        arg3: task.arg3,
        first_out: span.first_out,
        last_in: if call.last_in > call.enter { call.last_in } else { call.enter },
        copy_first: span.copy_first,
        copy_last: span.copy_last,
        copy_bytes: span.copy_bytes,
        recv_at: task.recv_at,
        sock: task.sock,
        wake: if known { task.wake } else { Wake { at: call.woken, ..Wake::default() } },
        sleeps: span.sleeps,
        disks: span.disks,
        locks: span.locks,
        preempts: span.preempts,
        copies: span.copies,
        facts: call.facts,
        recv_bytes: task.recv_bytes,
        before_runq: span.before_runq,
        before_sleep: span.before_sleep,
        pickup: task.pickup,
        floors: task.floors,
    });
}
