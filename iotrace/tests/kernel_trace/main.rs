//! `iotrace trace` on programs that do a known thing: every promise of its result, on every kernel.
//!
//! The observed programs are forks of this one, so that nothing has to be installed in a VM. Programs of
//! others are in `kernel_host`.

#[path = "../support/attempts.rs"]
mod attempts;
#[path = "../support/children.rs"]
mod children;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trace.rs"]
#[expect(dead_code, reason = "what starts a trace and checks its result is for all suites")]
mod trace;

mod both_sinks;
mod command;
mod complete;
mod counts;
mod descriptors;
mod ends;
mod in_flight;
mod missing;
mod pickup;
mod skipped;
mod sources;
mod storms;
mod targets;

/// Whether this is a virtual machine under emulation, 10 to 20 times slower.
fn in_vm() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}
