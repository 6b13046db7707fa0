//! Which kind of hook measured a copy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which hooks measured the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Function hooks around the copy.
    Exact,
    /// Tracepoints only.
    Tracepoint,
}
