//! The built-in workloads: one textbook loop a model, and the peer that sends to it.

pub mod spec;

/// Steps of the multiply-add chain in one unit of own work.
pub const UNIT_STEPS: u32 = 400;
