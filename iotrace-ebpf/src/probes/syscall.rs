//! `raw_syscalls:sys_enter` and `sys_exit`: the edges of a call.
//!
//! Both sit inside the entry code of the kernel: ptrace and seccomp come before the first
//! (`syscall_trace_enter`, `kernel/entry/common.c`), task work and signal delivery after the second
//! (`syscall_exit_to_user_mode`). A call that a filter answers has the second alone.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::errno::{EACCES, ENOSYS, EPERM, is_restart};
use iotrace_ebpf::abi::traits::{FD, REQUESTS, enter_by_index};
use iotrace_ebpf::abi::{Field, REGISTERED_RING, Stat, call_flags, fault, per, sinks};
use iotrace_ebpf::arch::native;
use iotrace_ebpf::span::zero;
use iotrace_ebpf::thread::before;

use super::close::{close, close_rarely};
use super::decode::{Called, Handed, Registers, decode, is_compat, is_plain, register};
use super::restart::{goes_on, in_flight_ended};
use crate::file;
use crate::maps::{ATTACHED, FAULT, PER, PREEMPTIBLE, count, sinks_to, traced};
use crate::memory::{arg, current_address, read};
use crate::task::{self, Task, by_chance, current_known, mark, now};
use crate::transfers;

/// `(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    entered(arg(&ctx, 1), false, &Handed(ctx.arg(0)))
}

/// Begins a call. `again`: called by the second program, after one that may have begun the call already.
#[inline(always)]
pub fn entered(nr: u64, again: bool, regs: &impl Registers) -> i32 {
    let entry = traced(nr);
    if is_plain(entry, regs) {
        return 0;
    }
    let Some(mut thread) = task::target() else { return 0 };
    let Some(called) = decode(nr, entry, regs) else { return 0 };
    let Some(task) = thread.introduced() else { return 0 };
    task.settled = 1;
    if (task.restarting | task.before | task.parked) != 0 && goes_on(task, &called, regs.stack()) {
        return 0;
    }
    if called.nr == native::RESTART_NUMBER {
        if !task.span.is_open() {
            task.before = before::RESUMED;
        }
        return 0;
    }
    if task.span.is_open() {
        if again {
            return 0;
        }
        // Its exit was missed, or a handler ran and `signal_deliver` did not tell.
        count(Stat::Unmatched);
    }
    begin(task, &called);
    // The clock comes last: what this probe does is not the call's time.
    task.span.enter(mark(fault::ENTER, now()));
    0
}

/// Notes what call begins.
#[inline(always)]
fn begin(task: &mut Task, called: &Called) {
    let [fd, arg1, arg2, arg3] = called.arguments;
    task.nr = called.nr;
    task.traits = called.traits;
    task.fd = fd as i32;
    task.arg1 = arg1;
    task.arg2 = arg2;
    task.arg3 = arg3;
    task.flags = 0;
    task.restarts = 0;
    task.restarting = 0;
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
        let by_index = task.traits & REQUESTS != 0 && enter_by_index(task.arg3);
        task.file = if task.traits & FD != 0 && !by_index { file::of_descriptor(task.fd) } else { 0 };
        task.file_id = if by_index { REGISTERED_RING } else { file::id(task.file) };
    }
}

/// `(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let regs: *const u8 = ctx.arg(0);
    let (nr, ret, regs) = (register(regs, native::NUMBER_OFFSET), arg(&ctx, 1) as i64, Handed(regs));
    // Most calls are not traced: their number tells without looking for the thread.
    let entry = traced(nr);
    if is_plain(entry, &regs) {
        return if nr >> 30 == native::X32_BIT >> 30 { x32(ret as u64) as i32 } else { 0 };
    }
    let Some(task) = task::target().and_then(|mut thread| thread.introduced()) else { return 0 };
    if PREEMPTIBLE.load() != 0 {
        task.ended = 1;
    }
    exited(nr, entry, ret, task, &regs, close)
}

/// `sys_exit` by perf, which runs after [`sys_exit`]: ends the call if that program was skipped.
#[inline(always)]
pub fn exited_again(nr: u64, ret: i64, regs: &impl Registers) -> i32 {
    let entry = traced(nr);
    if is_plain(entry, regs) {
        return 0;
    }
    let Some(task) = current_known() else { return 0 };
    if task.ended != 0 {
        task.ended = 0;
        return 0;
    }
    exited(nr, entry, ret, task, regs, |task, ret, now| close_rarely(task, ret, now))
}

/// Ends the open call, if there is one and the program sees that it ended, or counts one that a filter denied.
#[inline(always)]
fn exited(
    nr: u64,
    entry: u8,
    ret: i64,
    task: &mut Task,
    regs: &impl Registers,
    close: impl FnOnce(&mut Task, i64, u64),
) -> i32 {
    if sinks_to(sinks::AGGREGATES) && transfers::reports(task.traits) {
        let compat = is_compat();
        let [first, second] = [regs.argument(0, compat), regs.argument(1, compat)];
        transfers::reported(u64::from(task.id), ret as u64, first, second);
    }
    let now = if task.span.is_open() {
        let now = mark(fault::EXIT, now());
        if FAULT.load() == fault::SKIP_EXIT && by_chance() {
            return 0;
        }
        if task.span.runs(now, task.wake.at) {
            count(Stat::SwitchUnseen);
        }
        if is_restart(ret) {
            interrupted(task, ret, regs);
            return 0;
        }
        task.restarting = 0;
        now
    } else if outside(nr, entry, ret, task, regs) {
        // How long it took is not known; a time of its own would be that of this probe.
        task.span.enter
    } else {
        return 0;
    };
    close(task, ret, now);
    0
}

/// Notes that a signal interrupted a call: it goes on, or ends with `EINTR`.
#[inline(always)]
fn interrupted(task: &mut Task, ret: i64, regs: &impl Registers) {
    task.restarting = -ret as u32;
    task.stack = regs.stack();
}

/// The end of a call whose beginning was not seen: it began before it was observed, or a filter denied it. Returns whether
/// a denied call is open now.
#[inline(always)]
fn outside(nr: u64, entry: u8, ret: i64, task: &mut Task, regs: &impl Registers) -> bool {
    let Some(called) = decode(nr, entry, regs) else { return false };
    // Ends are seen before beginnings: until these are, too, every call of a busy thread seems to have none.
    let observed = attached() != 0;
    if task.before == before::NOT {
        let began_here = task.settled != 0 || is_new();
        task.settled |= u32::from(observed);
        if called.nr == native::RESTART_NUMBER {
            if began_here {
                return false;
            }
            task.before = before::RESUMED;
        } else if began_here
            || observed && is_filtered() && (ret == -EPERM || ret == -EACCES || ret == -ENOSYS)
        {
            // Of a thread that was there already, the first end is of a call that was open then, unless a filter says no.
            return denied(&called, task);
        }
    }
    if is_restart(ret) {
        if task.before == before::NOT {
            task.before = before::INTERRUPTED;
            task.nr = called.nr;
        }
        interrupted(task, ret, regs);
        return false;
    }
    if observed {
        in_flight_ended(task);
    }
    false
}

/// Whether the current thread was born after all probes were attached: no call of it began before.
#[inline(always)]
fn is_new() -> bool {
    let attached = attached();
    attached != 0 && read::<u64>(current_address(), Field::TaskStart) >= attached
}

/// When all probes were attached, ns; 0: they are not yet.
#[inline(always)]
fn attached() -> u64 {
    // SAFETY: one aligned word, which user space alone writes.
    ATTACHED.get_ptr(0).map_or(0, |at| unsafe { *at })
}

/// Whether a filter of system calls is in force for the current thread (`SECCOMP_MODE_STRICT`, `_FILTER`).
#[inline(always)]
fn is_filtered() -> bool {
    read::<u32>(current_address(), Field::TaskSeccomp) != 0
}

/// Begins a call that was answered before it began: `SECCOMP_RET_ERRNO`, `_TRAP`, `_USER_NOTIF`. Without a filter the
/// beginning was missed.
#[inline(always)]
fn denied(called: &Called, task: &mut Task) -> bool {
    let is_filtered = is_filtered();
    if is_filtered {
        begin(task, called);
        task.flags = call_flags::DENIED;
        task.span.enter(now());
    } else if PREEMPTIBLE.load() != 0 {
        count(Stat::Unmatched);
    }
    is_filtered
}

/// Counts a call by the x32 ABI, whose numbers and arguments are others still. A kernel without it knows no such number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn x32(ret: u64) -> u64 {
    if ret as i64 != -ENOSYS && task::target().is_some() {
        count(Stat::NotDecoded);
    }
    0
}
