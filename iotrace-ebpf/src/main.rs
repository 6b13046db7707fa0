//! The probes. Built for the BPF target only; on the host this binary is empty.
//!
//! One file a family under [`probes`]; [`threads`] has the state of each thread, [`task`] who belongs to the target, [`maps`] everything that
//! outlives a probe run, [`sink`] and [`aggregate`] the two ways out.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod aggregate;
#[cfg(target_arch = "bpf")]
mod file;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod probes;
#[cfg(target_arch = "bpf")]
mod sink;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod threads;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Reached by no path: a bounds check or an overflow that survives would end here, and the verifier
/// refuses a loop without end, so it would be found when the object is loaded.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Tracing helpers are GPL-only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
