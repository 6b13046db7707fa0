//! iotrace: where does I/O block, waiting for the data or copying it?
//!
//! Data flows one way: probes ([`iotrace_ebpf`]) → records → phases → [`summary`] → report.

pub mod aggregate;
pub mod analysis;
pub mod bpf;
pub mod calibrate;
pub mod calls;
pub mod check;
pub mod cli;
pub mod cmd;
pub mod degraded;
pub mod dist;
pub mod error;
pub mod journal;
pub mod longest;
pub mod model;
pub mod operation;
pub mod phase;
pub mod proc;
pub mod processes;
pub mod recognise;
pub mod record;
pub mod report;
pub mod requests;
pub mod retired;
pub mod selftest;
pub mod session;
pub mod signals;
pub mod strip;
pub mod study;
pub mod summary;
pub mod syscall;
pub mod target;
pub mod transfer;
pub mod verdict;
pub mod workload;
