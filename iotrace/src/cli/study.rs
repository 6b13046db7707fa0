//! The options of `study`.

use std::path::PathBuf;

use clap::Args;

use super::{Color, DoctorFormat};

/// Examples below the help of `study`.
pub(super) const EXAMPLES: &str = "Examples:
  iotrace study
  sudo iotrace study scaling --svg scaling.svg
  sudo iotrace study scaling --arm poll,epoll --connections 2000
  sudo iotrace study claims --format json -o claims.json";

/// Options of `study`.
#[derive(Args, Debug)]
pub struct StudyArgs {
    /// Study to run; omit to list them
    pub name: Option<String>,
    /// Counted rounds; each measures all variants once [default: 9, with --quick 6]
    #[arg(long, value_name = "N")]
    pub repeats: Option<u32>,
    /// Measure fewer points and smaller sizes, in less time
    #[arg(long)]
    pub quick: bool,
    /// Only these variants, separated by commas
    #[arg(long = "arm", value_name = "ARM", value_delimiter = ',')]
    pub arms: Vec<String>,
    /// Study scaling: most connections [default: 10000]
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
    /// Write the result to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the figure into this SVG file, which needs no other file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// When to colour the table
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print the result only, no progress and no notes
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Exit with code 3 if the result is incomplete
    #[arg(long)]
    pub strict: bool,
}
