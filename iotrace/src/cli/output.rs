//! Options that every command with a result has: its form, and where it goes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use iotrace_core::report::{Format, Unit};

/// Options that all measuring commands share.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Form of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Short for --format timeline: draw the median message (run) or the longest calls (trace)
    #[arg(long, conflicts_with = "format")]
    pub timeline: bool,
    /// Write the result to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Unit of all times in the table
    #[arg(long, value_enum, default_value_t = Unit::Auto)]
    pub unit: Unit,
    /// Of the table only what matters: where the time went, and what that means
    #[arg(long)]
    pub summary: bool,
    /// When to colour the table
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print the result only, no progress and no notes
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Say which probes are attached and how long attaching took
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Exit with code 3 if the result is incomplete
    #[arg(long)]
    pub strict: bool,
}

impl OutputArgs {
    /// Whether `--timeline` or `--format timeline` was given.
    pub fn is_timeline(&self) -> bool {
        self.timeline || self.format == Format::Timeline
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// If the output is a terminal and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
