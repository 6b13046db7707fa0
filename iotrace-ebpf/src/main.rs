//! The probes. Built for the BPF target only; on the host this binary is empty.
//!
//! [`probes`] has one file for each family of tracepoints. [`threads`] stores the state of each thread, [`task`]
//! decides which threads belong to the target, [`ids`] translates ids where iotrace is in a
//! pid namespace, [`maps`] declares all maps and constants, and [`sink`] and [`aggregate`]
//! are the two ways out: records and sums. [`transfers`] counts by which way data came.
//!
//! Functions with a name that is not mangled are global ones, which take numbers: the verifier follows each once, by
//! itself, and assumes nothing about its arguments (`do_check_subprogs`, `kernel/bpf/verifier.c`). Any other function it
//! follows at every call, once for each way to get there. Finding the state of the thread again is the price, so what is
//! on the way of every call is inlined.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod aggregate;
#[cfg(target_arch = "bpf")]
mod context;
#[cfg(target_arch = "bpf")]
mod ends;
#[cfg(target_arch = "bpf")]
mod file;
#[cfg(target_arch = "bpf")]
mod ids;
#[cfg(target_arch = "bpf")]
mod life;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod probes;
#[cfg(target_arch = "bpf")]
mod sink;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod threads;
#[cfg(target_arch = "bpf")]
mod transfers;
#[cfg(target_arch = "bpf")]
mod watch;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Not reachable in a program that loads: a bounds check or overflow check that the compiler kept would lead here, and
/// the verifier refuses an endless loop.
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
