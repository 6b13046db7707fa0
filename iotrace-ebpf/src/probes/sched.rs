//! `sched_switch`, `sched_waking`, `sched_process_exit`: where a thread's time goes while it does not run.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Field, SockState, Stat, Wake, mode};
use iotrace_ebpf::span::Off;

use crate::maps::{MODE, SOCKS, TASKS, TGIDS, count};
use crate::task::{announce, arg, current_known, find, just_ready, now, read};

/// From 5.18: `(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)`
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let why = Off::of(arg(&ctx, 0) as u8 != 0, u64::from(arg(&ctx, 3) as u32));
    switch(arg(&ctx, 1), arg(&ctx, 2), why)
}

/// Up to 5.17: `(bool preempt, struct task_struct *prev, struct task_struct *next)`; the state is read
/// from `prev`.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch_3(ctx: BtfTracePointContext) -> i32 {
    let prev = arg(&ctx, 1);
    if find(prev).is_none() {
        return switch(0, arg(&ctx, 2), Off::Preempted);
    }
    // The low 32 bits are enough: `state` was a long before 5.14, on a little-endian machine.
    let state: u32 = read(prev, Field::TaskState);
    switch(prev, arg(&ctx, 2), Off::of(arg(&ctx, 0) as u8 != 0, u64::from(state)))
}

#[inline(always)]
fn switch(prev: u64, next: u64, why: Off) -> i32 {
    if let Some(task) = find(prev) {
        task.span.switch_out(now(), why);
    }
    if let Some(task) = find(next) {
        let waking = task.wake.at;
        let before = task.span.unwoken;
        task.span.switch_in(now(), waking);
        if task.span.unwoken != before {
            count(Stat::Unwoken);
        }
    }
    0
}

/// `(struct task_struct *p)`: emitted once a sleep, in the waker's context.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = find(arg(&ctx, 0)) else { return 0 };
    let now = now();
    let mut wake =
        Wake { at: now, tid: aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32, ..Wake::default() };
    if let Some(ready) = just_ready(now) {
        wake.sock = ready.sock;
        wake.ready = ready.at;
        if SOCKS.get_ptr(ready.sock).is_none()
            && SOCKS.insert(ready.sock, SockState { ready: ready.at, last: ready.at }, 0).is_err()
        {
            count(Stat::SocksFull);
        }
    }
    task.wake = wake;
    0
}

/// `(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: u32 = read(arg(&ctx, 0), Field::TaskTgid);
    let child: u32 = read(arg(&ctx, 1), Field::TaskTgid);
    if parent != child && TGIDS.get_ptr(parent).is_some() && TGIDS.insert(child, 0, 0).is_err() {
        count(Stat::TargetsFull);
    }
    0
}

/// `(struct task_struct *p, ...)`: the thread has another name now, and its process another program.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(_: BtfTracePointContext) -> i32 {
    if let Some(task) = current_known() {
        // A thread that executes takes over the id of the one that led the process.
        task.tid = task.tgid;
        announce(task);
    }
    0
}

/// `(struct task_struct *p, ...)`: the address may name another thread soon, and the number another
/// process once the last thread is gone.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let address = arg(&ctx, 0);
    if let Some(task) = find(address) {
        if task.span.is_open() {
            count(Stat::EndedInCall);
        }
        // Nothing to do where it is gone already.
        let _ = TASKS.remove(address);
    }
    if MODE.load() & mode::TGIDS != 0 {
        let tgid: u32 = read(address, Field::TaskTgid);
        // do_exit has counted this thread out already.
        if TGIDS.get_ptr(tgid).is_some()
            && read::<u32>(read(address, Field::TaskSignal), Field::SignalLive) == 0
        {
            let _ = TGIDS.remove(tgid);
        }
    }
    0
}
