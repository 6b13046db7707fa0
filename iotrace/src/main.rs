//! The command line: parses it, runs one command, turns its failure into a message and an exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use iotrace::cli::{Cli, Command};
use iotrace::cmd;
use iotrace::cmd::targets::print;
use iotrace::host::check;
use iotrace::host::signals;
use iotrace::host::stderr::{say, say_last};
use iotrace::session::error::Failure;

fn main() -> ExitCode {
    give_back_large_buffers();
    signals::prepare();
    if let Err(refused) = check::not_set_user_id() {
        say(&format!("iotrace: {refused}"));
        say_last();
        return ExitCode::from(2);
    }
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = match cli.command {
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
    let code = outcome.unwrap_or_else(|failure| {
        if !matches!(failure, Failure::Told) {
            say(&format!("iotrace: {failure}"));
        }
        ExitCode::from(failure.code())
    });
    say_last();
    code
}

/// What was typed. Help and version are results: where they cannot be written, that is an error.
fn parsed() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        if error.use_stderr() {
            say(error.render().to_string().trim_end());
            say_last();
            return ExitCode::from(error.exit_code() as u8);
        }
        let colored =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let text = error.render();
        let text = if colored { text.ansi().to_string() } else { text.to_string() };
        match print(text.into_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(&format!("iotrace: {failure}"));
                say_last();
                ExitCode::from(failure.code())
            }
        }
    })
}

/// The kernel's BTF passes through buffers of megabytes. glibc raises the size from which it maps memory of
/// its own whenever such a buffer is freed, and then keeps the next ones (mallopt(3)): 5 MiB more resident.
fn give_back_large_buffers() {
    // SAFETY: before the first thread. Where it cannot be set, memory stays as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) };
}
