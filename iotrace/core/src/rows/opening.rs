//! What is known of a trace before its first batch.

use crate::rows::complete::Target;
use crate::summary::{Host, Warning};

/// What is known of a trace before its first batch.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Opening {
    /// The machine.
    pub host: Host,
    /// When observing began, ns of CLOCK_MONOTONIC.
    pub started: u64,
    /// Whether function hooks mark the copies.
    pub exact: bool,
    /// Processes to show, and rows of each that has one for each thread or descriptor; those with the most time in calls
    /// that is not idle. `None`: all.
    pub top: Option<usize>,
    /// Probes that are not attached and why, and other things that are known from the start.
    pub warnings: Vec<Warning>,
    /// Target processes that were there at the start.
    pub initial: Vec<u32>,
    /// Whether a command was started.
    pub with_command: bool,
    /// Whether only some calls were asked for (`-e`, `--min`).
    pub selective: bool,
    /// Numbers of the syscalls that are traced.
    #[serde(default)]
    pub traced: Vec<u32>,
    /// What it takes to see all of the target.
    #[serde(default)]
    pub target: Target,
    /// Names of the probes that are not attached.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Calls shorter than this were not asked for (`--min`), ns.
    #[serde(default)]
    pub min_ns: u64,
    /// What time it was when observing began; `None` in old recordings.
    #[serde(default)]
    pub wall_clock: Option<WallClock>,
}

/// A time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WallClock {
    /// ns since 1970-01-01 UTC.
    pub unix_ns: u64,
    /// Seconds by which local time is ahead of UTC.
    pub utc_offset_s: i32,
}
