//! Samples of an experiment: medians with intervals, lines and crossings.

pub mod sheet;
pub mod stats;
