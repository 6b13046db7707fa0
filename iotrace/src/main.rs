//! The command line: parses it, runs one command, turns its failure into a message and an exit code.

use std::process::ExitCode;

use clap::Parser;
use iotrace::cli::{Cli, Command};
use iotrace::cmd;
use iotrace::host::stderr::say;

fn main() -> ExitCode {
    give_back_large_buffers();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // Help and version, which have nothing of others in them.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            say(error.render().to_string().trim_end());
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let outcome = match command {
        Command::Run(args) => cmd::run::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => cmd::trace::main(&args),
        Command::Study(args) => cmd::study::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => cmd::doctor::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Selftest(args) => cmd::selftest::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Act(args) => cmd::selftest::act(&args).map(|()| ExitCode::SUCCESS),
        Command::Schema => cmd::output::schema().map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => cmd::replay::main(&args).map(|()| ExitCode::SUCCESS),
        Command::Floor => cmd::floor::main().map(|()| ExitCode::SUCCESS),
        Command::Workload(args) => cmd::workload::main(&args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|failure| {
        say(&format!("iotrace: {failure}"));
        ExitCode::from(failure.code())
    })
}

/// The kernel's BTF passes through buffers of megabytes. glibc raises the size from which it maps memory of
/// its own whenever such a buffer is freed, and then keeps the next ones (mallopt(3)): 5 MiB more resident.
fn give_back_large_buffers() {
    // SAFETY: before the first thread. Where it cannot be set, memory stays as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) };
}
