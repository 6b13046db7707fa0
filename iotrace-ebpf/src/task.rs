//! The state of a thread of the target, kept in place from its first traced event to its end.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns,
};
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Head, Kind, Stat, TaskRecord};
pub use iotrace_ebpf::thread::Task;

use crate::maps::{self, LAST_READY, LastReady, NEW_TASK, TARGET_TGID, TASKS};
use crate::sink;

/// The clock of every mark.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The address of the current thread's `task_struct`: its name in [`TASKS`].
#[inline(always)]
pub fn current_address() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_get_current_task() }
}

/// The thread at `address`, if it is known.
#[inline(always)]
pub fn find(address: u64) -> Option<&'static mut Task> {
    // SAFETY: the value stays valid while the probe runs; no other program writes these fields at the
    // same time (see `Task`).
    TASKS.get_ptr_mut(address).map(|task| unsafe { &mut *task })
}

/// The current thread, if it belongs to the target; made known if it is not yet.
#[inline(always)]
pub fn current() -> Option<&'static mut Task> {
    let pid_tgid = bpf_get_current_pid_tgid();
    if (pid_tgid >> 32) as u32 != TARGET_TGID.load() {
        return None;
    }
    let address = current_address();
    match find(address) {
        Some(task) => Some(task),
        None => introduce(address, pid_tgid),
    }
}

/// The current thread, if it is known already.
#[inline(always)]
pub fn current_known() -> Option<&'static mut Task> {
    if (bpf_get_current_pid_tgid() >> 32) as u32 != TARGET_TGID.load() {
        return None;
    }
    find(current_address())
}

/// Makes a thread of the target known and tells user space its name.
#[inline(never)]
fn introduce(address: u64, pid_tgid: u64) -> Option<&'static mut Task> {
    // SAFETY: the template is only ever read.
    let template = NEW_TASK.get_ptr(0).map(|template| unsafe { &*template })?;
    if TASKS.insert(address, template, 0).is_err() {
        maps::count(Stat::TasksFull);
        return None;
    }
    let task = find(address)?;
    task.tid = pid_tgid as u32;
    task.tgid = (pid_tgid >> 32) as u32;
    sink::emit(TaskRecord {
        head: task.head(Kind::Task, now()),
        comm: bpf_get_current_comm().unwrap_or_default(),
    });
    Some(task)
}

/// The `sk_data_ready` that came right before this moment on this CPU in the same context, if any.
///
/// `sock_def_readable` calls the tracepoint and then wakes the sleepers, all in one go: another
/// `current`, or 20 us in between, means that something else is waking.
#[inline(always)]
pub fn just_ready(now: u64) -> Option<LastReady> {
    // SAFETY: the slot belongs to this CPU.
    let last = LAST_READY.get_ptr(0).map(|last| unsafe { *last })?;
    (last.task == current_address() && now.saturating_sub(last.at) < 20_000 && last.sock != 0).then_some(last)
}

/// Argument `n` of a tracepoint as a plain number.
#[inline(always)]
pub fn arg(ctx: &BtfTracePointContext, n: usize) -> u64 {
    // SAFETY: the loader attaches a program only where BTF says the tracepoint has this argument.
    unsafe { ctx.as_ptr().cast::<u64>().add(n).read() }
}
