//! The options of `selftest`, and of the hidden command `act` that it observes.

use clap::Args;

use iotrace_core::domain::ProbeId;

use super::probe::probe;
use super::{OutputArgs, duration};
use crate::bpf::settings::Fault;

/// Options of `selftest`.
#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// Play only the scenes whose names contain one of these
    #[arg(value_name = "SCENE")]
    pub scenes: Vec<String>,
    /// Leave out a probe, named by its tracepoint
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = probe, hide = true)]
    pub without: Vec<ProbeId>,
    /// Make the probes get one thing wrong: MARK=SHIFT (such as exit=10us), or skip-exit
    #[arg(long, value_name = "FAULT", value_parser = fault, hide = true)]
    pub fault: Option<Fault>,
    /// Form of the result and where it goes
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of the hidden `act`.
#[derive(Args, Debug)]
pub struct ActArgs {
    /// Descriptor of the control pipe.
    #[arg(long)]
    pub control: i32,
    /// Names of the scenes to play, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub scenes: Vec<String>,
}

fn fault(word: &str) -> Result<Fault, String> {
    let (name, shift) = word.split_once('=').unwrap_or((word, "0"));
    let (sign, size) = shift.strip_prefix('-').map_or((1, shift), |size| (-1, size));
    Fault::named(name, sign * duration(size)?.as_nanos() as i64)
        .ok_or_else(|| format!("use one of {}", Fault::NAMES.map(|(name, _)| name).join(", ")))
}
