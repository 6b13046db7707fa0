//! The command line: parses it, runs one command, turns its failure into a message and an exit code.

use std::process::ExitCode;

use clap::Parser;
use iotrace::cli::{Cli, Command};
use iotrace::cmd;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => cmd::run::main(&args),
        Command::Doctor(args) => cmd::doctor::main(&args),
        Command::Schema => cmd::output::schema(),
        Command::Workload(args) => cmd::workload::main(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("iotrace: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
