//! iotrace among users who mean it harm, on this machine only: none of this depends on the version of the kernel.
//!
//! Each test plays an attack, or an accident that looks like one.

#[path = "../support/program.rs"]
mod program;

mod kept;
mod killed;
mod planted;
