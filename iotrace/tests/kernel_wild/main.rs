//! `iotrace trace` on programs as they are found: short-lived, interrupted, renamed, in namespaces, of another ABI.
//!
//! Each program knows the truth by its own clock and counters, and is a fork of this one, so that nothing has to be
//! installed in a VM. No test here repeats.

#[path = "../support/children.rs"]
mod children;
#[path = "../support/spaces.rs"]
mod spaces;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trace.rs"]
#[expect(dead_code, reason = "what starts a trace and checks its result is for all suites")]
mod trace;

mod compat;
mod denied;
mod descriptors;
mod disk;
mod ends;
mod faults;
mod idle;
mod interrupted;
mod intervals;
mod lives;
mod models;
mod names;
mod namespaces;
mod peeked;
mod pieces;
mod rings;
mod splices;
mod timeouts;
mod wakers;
mod whole;
