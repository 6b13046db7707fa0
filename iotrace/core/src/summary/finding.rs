//! What `doctor` found: one entry for each thing that was looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it should.
    Ok,
    /// Not here; the rest works.
    Degraded,
    /// Not here, and nothing works without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What: `privileges`, `btf`, or the name of a probe.
    pub name: String,
    /// How well it works.
    pub status: Standing,
    /// How that is known.
    pub reason: String,
    /// What to do about it; `null` where nothing needs doing.
    pub remedy: Option<String>,
    /// What cannot be measured without it; `null` where nothing is lost.
    pub lost: Option<String>,
}
