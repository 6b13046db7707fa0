//! What lies in the kernel's memory.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use iotrace_ebpf::abi::Field;

use crate::maps;

/// The address of the current thread's `task_struct`.
#[inline(always)]
pub fn current_address() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_get_current_task() }
}

/// A field of a kernel object; 0 if it cannot be read.
#[inline(always)]
pub fn read<T: Copy + Default + 'static>(object: u64, field: Field) -> T {
    peek(object + maps::offset(field))
}

/// What lies at a kernel address; 0 if it cannot be read.
#[inline(always)]
pub fn peek<T: Copy + Default + 'static>(address: u64) -> T {
    // SAFETY: a probe read of a kernel address fails, it does not fault.
    unsafe { bpf_probe_read_kernel(address as *const T) }.unwrap_or_default()
}
