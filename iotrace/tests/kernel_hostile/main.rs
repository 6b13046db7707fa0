//! iotrace among users who mean it harm, on this machine only: none of this depends on the version of the kernel.
//!
//! Each test plays an attack, or an accident that looks like one.

#[path = "../support/trace.rs"]
#[expect(dead_code, reason = "what starts a trace and checks its result is for all suites")]
mod trace;

mod command;
mod identity;
mod kept;
mod killed;
mod names;
mod planted;
mod privileges;
mod screen;
mod storm;
