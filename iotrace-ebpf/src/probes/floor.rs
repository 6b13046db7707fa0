//! Programs that do nothing, to measure what the tracepoints themselves cost. Only `iotrace floor` attaches them.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// `(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub fn floor_enter(_: BtfTracePointContext) -> i32 {
    0
}

/// `(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
pub fn floor_exit(_: BtfTracePointContext) -> i32 {
    0
}
