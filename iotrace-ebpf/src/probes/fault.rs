//! `page_fault_kernel`: the kernel touches memory of the process that is not there. A thread that sleeps for it in the
//! middle of a copy does not wait for data, although `handle_userfault` (`fs/userfaultfd.c`) sleeps like one that does.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_stack;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::traits::{IN, OUT};
use iotrace_ebpf::span::Off;

use crate::maps::{FRAMES, FRAMES_OF};
use crate::memory::{arg, peek};
use crate::task::{Task, current_known};

/// `(unsigned long address, struct pt_regs *regs, unsigned long error_code)`
#[btf_tracepoint(function = "page_fault_kernel")]
pub fn page_fault_kernel(ctx: BtfTracePointContext) -> i32 {
    if let Some(task) = current_known()
        && task.span.is_open()
    {
        // The entry code pushes the registers and calls from there (`idtentry`, `arch/x86/entry/entry_64.S`).
        task.fault = peek(arg(&ctx, 1) - 8);
    }
    0
}

/// What a thread that goes to sleep sleeps for, if the kernel took a page fault for it since it got the CPU: nothing
/// says that the fault is over, so the stack tells whether the thread sleeps in it.
#[inline(always)]
pub fn sleeping(ctx: &impl EbpfContext, task: &Task, why: Off) -> Off {
    let data = task.traits & (IN | OUT) != 0 && task.span.is_open();
    // What a write takes from memory that is on a disk is waited for on that disk.
    let asks = why == Off::Wait || (why == Off::Disk && task.traits & IN != 0);
    if data && asks && is_in_fault(ctx, task.fault) { Off::Lock } else { why }
}

/// Whether `fault`, the way back from a page fault, is on the kernel stack of the current thread.
#[inline(never)]
fn is_in_fault(ctx: &impl EbpfContext, fault: u64) -> bool {
    let Some(frames) = FRAMES.get_ptr_mut(0) else { return false };
    // SAFETY: the slot belongs to this CPU and is as large as said.
    let bytes = unsafe { bpf_get_stack(ctx.as_ptr(), frames.cast(), (FRAMES_OF * 8) as u32, 0) };
    for frame in 0..FRAMES_OF {
        // SAFETY: as above.
        let at = unsafe { (*frames)[frame] };
        if (frame as i64) < bytes / 8 && at == fault {
            return true;
        }
    }
    false
}
