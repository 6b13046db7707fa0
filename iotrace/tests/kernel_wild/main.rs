//! `iotrace trace` on programs as they are found: short-lived, interrupted, renamed, in namespaces, of another ABI.
//!
//! Each program knows the truth by its own clock and counters, and is a fork of this one, so that nothing has to be
//! installed in a VM. No test here repeats.

#[path = "../support/children.rs"]
mod children;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trace.rs"]
mod trace;

mod descriptors;
mod idle;
mod intervals;
mod models;
mod rings;
