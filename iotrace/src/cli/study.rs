//! What may be typed after `study`.

use std::path::PathBuf;

use clap::Args;

use super::{Color, DoctorFormat};

/// What is shown below its help.
pub(super) const EXAMPLES: &str = "Examples:
  iotrace study
  sudo iotrace study scaling --svg scaling.svg
  sudo iotrace study scaling --arm poll,epoll --connections 2000
  sudo iotrace study claims --format json -o claims.json";

/// Options of `study`.
#[derive(Args, Debug)]
pub struct StudyArgs {
    /// Which; without it they are listed
    pub name: Option<String>,
    /// Counted rounds; each visits all arms [default: 9, with --quick 6]
    #[arg(long, value_name = "N")]
    pub repeats: Option<u32>,
    /// Fewer points and smaller sizes
    #[arg(long)]
    pub quick: bool,
    /// Only these arms, separated by commas
    #[arg(long = "arm", value_name = "ARM", value_delimiter = ',')]
    pub arms: Vec<String>,
    /// Study scaling: most connections [default: 10000]
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub format: DoctorFormat,
    /// Write the result to a file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw the figure, a picture that stands alone, into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Colour
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Print the result and nothing else
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Exit with 3 when the result is incomplete
    #[arg(long)]
    pub strict: bool,
}
