//! The checks of `iotrace selftest`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One figure of iotrace compared with the truth. Numbers are `null` if the check was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Name of the scene and of the figure: `wait-tcp/wait`.
    pub name: String,
    /// Where the truth comes from: a clock or counter that iotrace has no part in.
    pub oracle: String,
    /// The truth, in `unit`. If it is known as a range: the middle of the range; of repeated calls: the median.
    pub expected: Option<i64>,
    /// The figure of iotrace, in `unit`.
    pub measured: Option<i64>,
    /// Difference of the two, in `unit`; of repeated calls the median of the differences.
    pub error: Option<i64>,
    /// Largest difference that passes, in `unit`: half the range in which the truth lies, and the difference of clocks.
    pub allowed: Option<i64>,
    /// Unit of the four numbers: `ns`, `ns/KiB`, `bytes`, or what was counted.
    pub unit: String,
    /// Whether `error` is at most `allowed`; `null` if the check was skipped with good reason.
    pub pass: Option<bool>,
    /// Why the check could not be made here; `null` if it was made.
    pub skipped: Option<String>,
    /// The first kernel on which the check can be made, if this one is too old.
    pub since: Option<String>,
    /// Number of attempts; a check is repeated because a busy machine may spoil one attempt.
    pub attempts: u32,
}

impl Check {
    /// Whether the check failed: made and not passed, or skipped without good reason.
    pub fn failed(&self) -> bool {
        self.pass == Some(false)
    }
}
