//! The pure part of iotrace: from records and sums of the kernel to a result, and from a result to text.
//!
//! Nothing here touches the machine: this crate does not depend on libc, aya or tokio, so the compiler keeps them
//! out, and `cargo xtask lint` keeps out files, processes, clocks and the network of `std`. Each room imports only
//! those below it: domain, summary, samples, records, rows, messages, report, from the ground up.

pub mod domain;
pub mod messages;
pub mod records;
pub mod report;
pub mod rows;
pub mod samples;
pub mod summary;
