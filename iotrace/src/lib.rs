//! iotrace: where does I/O block, waiting for the data or copying it?
//!
//! Data flows one way: probes ([`iotrace_ebpf`]), records and sums ([`bpf`]), an observation ([`session`]), and then
//! the pure part ([`iotrace_core`]): rows, messages, a result, text.

pub mod bpf;
pub mod cli;
pub mod cmd;
pub mod host;
pub mod selftest;
pub mod session;
pub mod study;
pub mod workload;
