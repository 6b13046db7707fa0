//! The parts of a study beside its series: tables of several measures, and pictures of one message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Strip;

/// A table of several measures, to be read side by side. The rows are the arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// Title of the table: what the measures have in common.
    pub title: String,
    /// The name of the measure ([`super::Measure::name`]) in each column. These measures have no `x`.
    pub measures: Vec<String>,
}

/// The median message of an arm. It is taken from the repeat with the median of the median latencies, among the repeats
/// whose median message had to wait for its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// Name of the arm.
    pub arm: String,
    /// Which of the five classic models the arm is usually counted among.
    pub group: String,
    /// What the thread did in most of phase 1 and of phase 2, from the medians of the repeats: `blocked / blocked`.
    pub caption: String,
    /// The course of the message.
    pub strip: Strip,
}
