//! `sched_switch`, `sched_waking`, `sched_process_exit`: where a thread's time goes while it does not run.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Stat, Wake};
use iotrace_ebpf::span::Off;

use crate::maps::{SOCKS, TASK_STATE, TASKS, count};
use crate::task::{arg, find, just_ready, now};

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
    // SAFETY: a probe read of a kernel address fails, it does not fault. The low 32 bits are enough:
    // `state` was a long before 5.14, on a little-endian machine.
    let state = unsafe { bpf_probe_read_kernel((prev + u64::from(TASK_STATE.load())) as *const u32) };
    switch(prev, arg(&ctx, 2), Off::of(arg(&ctx, 0) as u8 != 0, u64::from(state.unwrap_or(0))))
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
        if SOCKS.get_ptr(ready.sock).is_none() && SOCKS.insert(ready.sock, task.tgid, 0).is_err() {
            count(Stat::SocksFull);
        }
    }
    task.wake = wake;
    0
}

/// `(struct task_struct *p, ...)`: the address may name another thread soon.
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
    0
}
