//! What `iotrace selftest` found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One figure of iotrace beside the truth. Numbers are `null` where the check was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was done and which figure of it: `wait-tcp/wait`.
    pub name: String,
    /// Where the truth comes from, which iotrace has no part in.
    pub oracle: String,
    /// The truth: of times that are known as a range its middle, of repeated calls the median.
    pub expected: Option<i64>,
    /// What iotrace says.
    pub measured: Option<i64>,
    /// How far the two are apart; of repeated calls the median of the distances.
    pub error: Option<i64>,
    /// How far they may be: half the range in which the truth lies, and what clocks differ by.
    pub allowed: Option<i64>,
    /// Unit of the four: `ns`, `ns/KiB`, `bytes`, or what was counted.
    pub unit: String,
    /// Whether `error` is at most `allowed`; `null` where skipped.
    pub pass: Option<bool>,
    /// Why it could not be made here.
    pub skipped: Option<String>,
    /// The first kernel on which it can be made, where this one is too old.
    pub since: Option<String>,
    /// How often it was tried: a busy machine may spoil one attempt.
    pub attempts: u32,
}

impl Check {
    /// Whether it was made and did not pass.
    pub fn failed(&self) -> bool {
        self.pass == Some(false)
    }
}
