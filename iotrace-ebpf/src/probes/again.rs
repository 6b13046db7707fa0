//! Second programs on the tracepoints whose events must not be missed, for kernels that preempt tracepoint programs.
//!
//! From 7.0 `__bpf_trace_run` (`kernel/trace/bpf_trace.c`) leaves preemption on, and the kernel skips a program that a
//! preempted thread is in the middle of on this CPU. The programs here attach to the same tracepoints by perf, where
//! `perf_trace_*` (`include/trace/perf.h`) still turns preemption off, so the kernel never skips them. Perf costs more,
//! so these programs run second, and act only on events that the first program missed.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use iotrace_ebpf::abi::mode;

use super::decode::{Registers, saved};
use super::sched;
use super::syscall::{entered, exited_again};
use crate::maps::{MODE, NS_LEVEL, is_listed, list};
use crate::memory::current_address;

/// `CLONE_THREAD` (`include/uapi/linux/sched.h`): the new task is a thread of the same process.
const CLONE_THREAD: u64 = 0x1_0000;

/// A field of the event at `offset`, as `events/*/*/format` has it: part of the kernel's user interface.
#[inline(always)]
fn field<T: Copy>(ctx: &TracePointContext, offset: usize) -> T {
    // SAFETY: the verifier checks the offset against the size of the event; the kernel fills in the fields.
    unsafe { ctx.as_ptr().cast::<u8>().add(offset).cast::<T>().read() }
}

/// `unsigned long args[6]` at 16, from the registers of whichever ABI (`syscall_get_arguments`).
struct Fields<'a>(&'a TracePointContext);

impl Registers for Fields<'_> {
    #[inline(always)]
    fn argument(&self, n: usize, _: bool) -> u64 {
        field(self.0, 16 + 8 * n)
    }

    #[inline(always)]
    fn stack(&self) -> u64 {
        saved().stack()
    }
}

/// The registers, saved where they are needed.
struct Saved;

impl Registers for Saved {
    #[inline(always)]
    fn argument(&self, n: usize, compat: bool) -> u64 {
        saved().argument(n, compat)
    }

    #[inline(always)]
    fn stack(&self) -> u64 {
        saved().stack()
    }
}

/// `raw_syscalls:sys_enter`: `long id` at 8.
#[tracepoint]
pub fn sys_enter_again(ctx: TracePointContext) -> u32 {
    entered(field(&ctx, 8), true, &Fields(&ctx));
    0
}

/// `raw_syscalls:sys_exit`: `long id` at 8, `long ret` at 16.
#[tracepoint]
pub fn sys_exit_again(ctx: TracePointContext) -> u32 {
    exited_again(field(&ctx, 8), field(&ctx, 16), &Saved);
    0
}

/// `task:task_newtask`, just before `sched_process_fork` and by the same parent: `pid_t pid` at 8,
/// `clone_flags` at 32.
#[tracepoint]
pub fn sched_process_fork_again(ctx: TracePointContext) -> u32 {
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    let follows = MODE.load() & mode::FOLLOW != 0;
    if follows && field::<u64>(&ctx, 32) & CLONE_THREAD == 0 && is_listed(parent) {
        let child: u32 = field(&ctx, 8);
        // The event has no address of the child, so in a pid namespace its id there is not to be had.
        list(child, if NS_LEVEL.load() == 0 { child } else { 0 });
    }
    0
}

/// `sched:sched_process_exit`: of the current thread, whatever the fields.
#[tracepoint]
pub fn sched_process_exit_again(_: TracePointContext) -> u32 {
    sched::ended(current_address(), bpf_get_current_pid_tgid() as u32);
    0
}
