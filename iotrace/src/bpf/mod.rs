//! Loads, attaches and reads the probes. The only module that imports aya.

pub mod aggregates;
pub mod attach;
pub mod btf;
pub mod exact;
pub mod floor;
pub mod hook;
pub mod ids;
pub mod loader;
mod members;
pub mod probe;
pub mod probes;
mod prog_info;
pub mod settings;
pub mod targets;
