//! What a study shows beside its series: several measures in one table, and the course of one message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Strip;

/// Measures that are read side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// What they have in common.
    pub title: String,
    /// [`super::Measure::name`] of each column; they have no `x`. The rows are the arms.
    pub measures: Vec<String>,
}

/// The median message of an arm: of the repeat whose median latency was the middle one, among those whose median
/// message had to wait for its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// The arm.
    pub arm: String,
    /// Which of the five classic models the arm is usually counted among.
    pub group: String,
    /// What the thread did in most of phase 1 / in phase 2, from the medians of the repeats.
    pub caption: String,
    /// The message.
    pub strip: Strip,
}
