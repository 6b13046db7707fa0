//! Every test that can run here.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::build::KernelTest;
use crate::tally::Tally;
use crate::times::Times;
use crate::workspace::Workspace;
use crate::{build, process, setup, vm};

/// Arguments of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the virtual machines out
    #[arg(long)]
    no_vm: bool,
    /// Run only the tests whose name contains this
    #[arg(last = true)]
    filter: Option<String>,
}

/// `cargo xtask test`: ends with one line, `N passed, N failed`.
pub fn run(args: &Args) -> Result<ExitCode> {
    let tally = all(!args.no_vm, args.filter.as_deref())?;
    Ok(tally.conclude(args.filter.is_some()))
}

/// Runs them: those that need nothing, the kernel tests on this kernel, the kernel tests in VMs.
pub fn all(with_vm: bool, filter: Option<&str>) -> Result<Tally> {
    setup::ensure(if with_vm { setup::Scope::TestAndVm } else { setup::Scope::Test })?;
    let workspace = Workspace::find()?;
    let mut tally = timed("everything that needs no root", || plain(&workspace, filter))?;
    let tests = build::kernel_tests(&workspace)?;
    tally += timed("kernel tests on this kernel", || kernel(&workspace, &tests, filter))?;
    if with_vm {
        tally += timed("kernel tests in VMs", || vm::all(&workspace, &tests, filter))?;
    }
    if tally == Tally::default() {
        eprintln!("xtask: no test ran");
    }
    Ok(tally)
}

/// Runs a part of the tests, and says what came of it and how long it took.
fn timed(name: &str, run: impl FnOnce() -> Result<Tally>) -> Result<Tally> {
    let start = Instant::now();
    let tally = run()?;
    println!("== {name}: {tally}, {:.1} s", start.elapsed().as_secs_f64());
    Ok(tally)
}

/// `cargo test`, as the user who called us.
fn plain(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--no-fail-fast", "--quiet"]);
    // Nothing here loads a probe: those tests are static programs of their own.
    cargo.env("IOTRACE_SKIP_EBPF", "1");
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    counted(&mut cargo, "cargo test", &mut Times::new(Instant::now()))
}

/// The kernel tests on the running kernel, as root: the same static programs that the VMs run.
fn kernel(workspace: &Workspace, tests: &[KernelTest], filter: Option<&str>) -> Result<Tally> {
    let iotrace = build::release(workspace)?;
    // Made by who called us, who can clear it away.
    std::fs::create_dir_all(workspace.tapes()).context("cannot make a directory for tapes")?;
    let (mut tally, mut times) = (Tally::default(), Times::new(Instant::now()));
    for test in tests {
        let head = format!("== {} (this kernel, as root)", test.name);
        println!("{head}");
        times.take(&head, Instant::now());
        let mut command = process::as_root("/usr/bin/env");
        command.arg(format!("IOTRACE_BIN={}", iotrace.display()));
        command.arg(format!("IOTRACE_TAPES={}", workspace.tapes().display()));
        // Named, as sudo would drop it: see kernel_budget.rs.
        if let Ok(update) = std::env::var("UPDATE_BUDGET") {
            command.arg(format!("UPDATE_BUDGET={update}"));
        }
        command
            .arg(&test.file)
            .args(build::KERNEL_TEST_ARGS)
            .args(filter)
            .current_dir(workspace.root.join("iotrace"));
        tally += counted(&mut command, &test.name, &mut times)?;
    }
    times.report(Instant::now()).iter().for_each(|line| println!("{line}"));
    Ok(tally)
}

/// Counts what ran. A program that fails without a failed test (it did not build, it crashed) counts as
/// one failure.
fn counted(command: &mut std::process::Command, name: &str, times: &mut Times) -> Result<Tally> {
    let mut tally = Tally::default();
    let status = process::tee(command, |line| {
        tally.take(line);
        times.take(line, Instant::now());
    })
    .with_context(|| format!("cannot run {name}"))?;
    if !status.success() && tally.failed == 0 {
        eprintln!("xtask: {name}: {status}, though no test said that it failed");
        tally.failed = 1;
    }
    Ok(tally)
}
