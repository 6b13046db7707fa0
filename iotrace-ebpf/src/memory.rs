//! Reads what the kernel and the programs keep in memory.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_task;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::Field;
use iotrace_ebpf::thread::Task;

use crate::maps::offset;

/// A field of a kernel object; 0 if it cannot be read.
#[inline(always)]
pub fn read<T: Copy + Default + 'static>(object: u64, field: Field) -> T {
    peek(object + offset(field))
}

/// What lies at a kernel address; 0 if it cannot be read.
///
/// Nobody asks what the helper returned: where it fails it writes zeros (`bpf_probe_read_kernel_common`,
/// `kernel/trace/bpf_trace.c`), and with a branch at each read the verifier has twice as much to follow.
#[inline(always)]
pub fn peek<T: Copy + Default + 'static>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes as many bytes as the value has, and every type that is read is made of integers. A
    // probe read of a kernel address fails, it does not fault.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// What lies at an address of the program; 0 if it cannot be read.
#[inline(always)]
pub fn peek_user<T: Copy + Default + 'static>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as in `peek`; `bpf_probe_read_user_common` writes zeros where it fails, too.
    unsafe {
        bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// The address of the current thread's `task_struct`.
#[inline(always)]
pub fn current_address() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Argument `n` of a tracepoint, or of a function that is entered or left, as a plain number.
#[inline(always)]
pub fn arg(ctx: &impl EbpfContext, n: usize) -> u64 {
    // SAFETY: the loader attaches a program only where BTF says that there is such an argument.
    unsafe { ctx.as_ptr().cast::<u64>().add(n).read() }
}

/// The thread id in a `struct task_struct *` that is argument `n`.
///
/// The argument has a type for the verifier, and the offset is a constant for it: this is a plain load, no
/// helper call.
#[inline(always)]
pub fn tid_of(ctx: &BtfTracePointContext, n: usize) -> u32 {
    field_of(ctx, n, Field::TaskPid)
}

/// A field of four bytes of the structure that argument `n` points to, by a plain load as in [`tid_of`].
#[inline(always)]
pub fn field_of(ctx: &BtfTracePointContext, n: usize, field: Field) -> u32 {
    let object: *const u8 = ctx.arg(n);
    // SAFETY: the verifier checks the load against BTF; should the address be bad, it yields 0.
    unsafe { object.add(offset(field) as usize).cast::<u32>().read() }
}

/// A field of one byte, as [`field_of`].
#[inline(always)]
pub fn byte_of(ctx: &BtfTracePointContext, n: usize, field: Field) -> u8 {
    let object: *const u8 = ctx.arg(n);
    // SAFETY: as in `field_of`.
    unsafe { object.add(offset(field) as usize).read() }
}

/// A field of eight bytes, as in [`field_of`].
#[inline(always)]
pub fn word_of(ctx: &BtfTracePointContext, n: usize, field: Field) -> u64 {
    let object: *const u8 = ctx.arg(n);
    // SAFETY: as in `field_of`.
    unsafe { object.add(offset(field) as usize).cast::<u64>().read() }
}

/// Writes a value to the state of the thread and reads it back: what the verifier knew of it, it does not know any
/// longer. Else it follows what comes next once for each way by which the value came about, and these multiply: a
/// program of 3,500 instructions took 300,000 steps to verify.
#[inline(always)]
pub fn pass(task: &Task, place: usize, value: u64) -> u64 {
    let place = core::ptr::from_ref(&task.scratch[place]).cast_mut();
    // SAFETY: the thread's own state, which no other program uses at this moment; nothing holds a reference into
    // `scratch`.
    unsafe {
        place.write_volatile(value);
        place.read_volatile()
    }
}

/// Reads a field of the thread's state from memory, for the reason of [`pass`].
#[inline(always)]
pub fn again<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is a valid place.
    unsafe { core::ptr::from_ref(field).read_volatile() }
}
