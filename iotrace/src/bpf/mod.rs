//! All contact with the kernel's BPF: the only module that knows aya.

pub mod aggregates;
pub mod attach;
pub mod btf;
pub mod exact;
pub mod floor;
pub mod hook;
pub mod loader;
pub mod probe;
pub mod probes;
mod prog_info;
pub mod settings;
