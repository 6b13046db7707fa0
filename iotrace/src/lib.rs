//! iotrace: where does I/O block, waiting for the data or copying it?
//!
//! Data flows one way: probes ([`iotrace_ebpf`]) → records → phases → [`summary`] → report.

pub mod dist;
pub mod model;
pub mod report;
pub mod summary;
pub mod workload;
