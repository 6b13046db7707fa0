//! The commands, one file each.

pub mod doctor;
pub mod floor;
pub mod output;
pub mod replay;
pub mod run;
pub mod selftest;
pub mod study;
pub mod targets;
pub mod trace;
pub mod workload;
