//! `iotrace` in hostile hands: what a local user, a caller or a full disk may do to it. Nothing here depends on the
//! kernel's version, so it runs on this machine only. No test here repeats.

#[path = "../support/trace.rs"]
mod trace;

mod command;
mod identity;
mod privileges;
