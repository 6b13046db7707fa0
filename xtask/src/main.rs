//! Project automation: everything between a fresh clone and a tested binary. See `cargo xtask --help`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod build;
mod ci;
mod lint;
mod process;
mod run;
mod setup;
mod tally;
mod test;
mod times;
mod vm;
mod wild;
mod workspace;

/// Sets up, builds, runs and tests iotrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build needs and this machine lacks
    Setup(setup::Args),
    /// Build the static release binary, target/release/iotrace
    Build,
    /// Set up, build, then `iotrace run ARGS...` (as root)
    #[command(disable_help_flag = true)]
    Run {
        /// Arguments of `iotrace run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Set up, build, then `iotrace ARGS...` (as root): `cargo xtask exec -- doctor`
    #[command(disable_help_flag = true)]
    Exec {
        /// Arguments of `iotrace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run every test that can run here: unit, integration, kernel (as root), and kernel in VMs
    Test(test::Args),
    /// Run the kernel tests, or one command, on other kernels in virtual machines
    Vm(vm::Args),
    /// Measure what observing costs, beside strace, perf trace, bpftrace and bcc, on the same loads
    Bench(bench::Args),
    /// Observe real programs from Debian, and compare each figure with what bpftrace and the load say
    Wild(wild::Args),
    /// One load of `bench`
    #[command(hide = true)]
    BenchLoad(bench::load::Args),
    /// Check the rooms and the house rules of the source
    Lint,
    /// Everything that a change must pass
    Ci,
}

fn main() -> ExitCode {
    run(Cli::parse().task).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Build => run::prepare().map(|binary| {
            eprintln!("xtask: {}", binary.display());
            ExitCode::SUCCESS
        }),
        Task::Run { args } => run::iotrace([OsString::from("run")].into_iter().chain(args)),
        Task::Exec { args } => run::iotrace(args),
        Task::Test(args) => test::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Wild(args) => wild::run(&args),
        Task::BenchLoad(args) => bench::load::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Lint => lint::run().map(|()| ExitCode::SUCCESS),
        Task::Ci => ci::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iotrace_args(line: &str) -> Vec<String> {
        let cli = Cli::try_parse_from(line.split(' ')).expect("a valid command line");
        let (Task::Run { args } | Task::Exec { args }) = cli.task else { panic!("not run or exec") };
        args.into_iter().map(|arg| arg.into_string().expect("text")).collect()
    }

    #[test]
    fn what_is_meant_for_iotrace_reaches_it_as_it_is() {
        assert_eq!(iotrace_args("xtask run --model select"), ["--model", "select"]);
        assert_eq!(iotrace_args("xtask run --help"), ["--help"]);
        assert_eq!(iotrace_args("xtask exec -- doctor -v"), ["doctor", "-v"]);
        assert_eq!(iotrace_args("xtask exec -- trace -- ls -l"), ["trace", "--", "ls", "-l"]);
        assert_eq!(iotrace_args("xtask exec trace -a -- ls"), ["trace", "-a", "--", "ls"]);
    }

    #[test]
    fn a_vm_takes_kernels_and_a_filter() {
        let cli = Cli::try_parse_from(["xtask", "vm", "5.10", "6.1", "--", "smoke"]);
        assert!(matches!(cli.map(|cli| cli.task), Ok(Task::Vm(_))));
    }
}
