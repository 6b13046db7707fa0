//! In which context the CPU is: an interrupt borrows whichever thread it stops, and the thread is not the cause of what
//! the interrupt does.

use aya_ebpf::Global;
use iotrace_ebpf::abi::{Field, context};

use crate::maps::PREEMPT_COUNT;
use crate::memory::{current_address, peek, read};

/// Distance from `runqueues` to the CPU's preemption count, both per-CPU variables; 0: not known.
#[unsafe(no_mangle)]
pub static PREEMPT_DISTANCE: Global<i64> = Global::new(0);

/// Bit of the count that is set while a softirq is served (`include/linux/preempt.h`); a disabled softirq adds twice
/// as much.
const SERVING_SOFTIRQ: u32 = 0x100;
/// Bits that count interrupts of devices, timers and others, and those that cannot be masked.
const HARDIRQ: u32 = 0x00ff_0000;

/// The context of this moment: one of `abi::context`.
#[inline(always)]
pub fn now() -> u32 {
    let address = preempt_count();
    if address == 0 {
        return context::UNKNOWN;
    }
    let count: u32 = peek(address);
    if count & HARDIRQ != 0 {
        context::HARDIRQ
    } else if count & SERVING_SOFTIRQ != 0 {
        context::SOFTIRQ
    } else {
        context::THREAD
    }
}

/// Where this CPU's preemption count lies: beside its run queue, which is that of the current thread
/// (`current->se.cfs_rq->rq`). The run queue never moves, so the address is looked for once.
#[inline(always)]
fn preempt_count() -> u64 {
    let distance = PREEMPT_DISTANCE.load();
    if distance == 0 {
        return 0;
    }
    let Some(slot) = PREEMPT_COUNT.get_ptr_mut(0) else { return 0 };
    // SAFETY: the slot belongs to this CPU.
    let known = unsafe { *slot };
    if known != 0 {
        return known;
    }
    let cfs: u64 = read(current_address(), Field::TaskCfsRq);
    if cfs == 0 {
        return 0;
    }
    let queue: u64 = read(cfs, Field::CfsRqRq);
    if queue == 0 {
        return 0;
    }
    let address = queue.wrapping_add_signed(distance);
    // SAFETY: as above.
    unsafe { *slot = address };
    address
}
