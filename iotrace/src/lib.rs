//! iotrace: where does I/O block, waiting for the data or copying it?
//!
//! Data flows one way: probes ([`iotrace_ebpf`]) → records → phases → [`summary`] → report.

pub mod analysis;
pub mod bpf;
pub mod calls;
pub mod check;
pub mod dist;
pub mod journal;
pub mod model;
pub mod operation;
pub mod phase;
pub mod record;
pub mod requests;
pub mod signals;
pub mod strip;
pub mod report;
pub mod summary;
pub mod syscall;
pub mod target;
pub mod transfer;
pub mod verdict;
pub mod workload;
