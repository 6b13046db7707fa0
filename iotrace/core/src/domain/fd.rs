//! What a descriptor is, what a wait on it is for, and how epoll registrations of a process are triggered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file behind a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fd {
    /// Kind of file: `tcp`, `udp`, `unix`, `pipe`, ...
    pub kind: String,
    /// Address or path; `several` where calls used several descriptors of this kind.
    pub name: String,
}

/// What a call on a connection waits for: idleness is no problem, a slow reply may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The next request: the process accepted the connection (its port is a listening one). Idle.
    NextRequest,
    /// A reply: the process made the connection. Inside a request of its own.
    Reply,
}

/// How the epoll registrations of a process are triggered, in recordings whose sums do not tell it of each read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    /// Number of registrations with `EPOLLET`.
    pub edge: u64,
    /// Number of registrations without `EPOLLET`.
    pub level: u64,
}

impl Triggers {
    /// Keeps the larger of each number: registrations come and go.
    pub fn keep_most(&mut self, seen: Triggers) {
        self.edge = self.edge.max(seen.edge);
        self.level = self.level.max(seen.level);
    }
}
