//! What the probes and user space share: the records they exchange and the arithmetic of a span.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod hist;
