//! Where all the time of a thread went, against the program's own clock and the scheduler's, and what that means.

#![expect(clippy::unwrap_used, reason = "a program of a test that cannot go on fails it")]

#[path = "../support/attempts.rs"]
mod attempts;
#[path = "../support/children.rs"]
#[expect(dead_code, reason = "not all of what suites share is needed here")]
mod children;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trace.rs"]
#[expect(dead_code, reason = "what starts a trace and checks its result is for all suites")]
mod trace;

mod asked;
mod attaching;
mod disk;
mod meaning;
mod places;
mod programs;
mod quota;

/// Whether this is a virtual machine under emulation, 10 to 20 times slower.
fn in_vm() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}
