//! What the probes and user space share: the records they exchange and the arithmetic of a span.
//!
//! Compiled into the probes without `std`, and into iotrace with it, so that the same lines that run
//! in the kernel are tested on the host.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod abi;
pub mod arch;
pub mod book;
pub mod hist;
pub mod span;
pub mod thread;
