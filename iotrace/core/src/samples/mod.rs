//! Samples of an experiment: their medians with confidence intervals, and the lines through them with their crossings.

pub mod sheet;
pub mod stats;
