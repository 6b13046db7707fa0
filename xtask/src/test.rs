//! Every test that can run here.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::tally::Tally;
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
    println!("{tally}");
    Ok(if tally.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs them: those that need nothing, the kernel tests on this kernel, the kernel tests in VMs.
pub fn all(with_vm: bool, filter: Option<&str>) -> Result<Tally> {
    setup::ensure(if with_vm { setup::Scope::TestAndVm } else { setup::Scope::Test })?;
    let workspace = Workspace::find()?;
    let mut tally = plain(&workspace, filter)?;
    tally += kernel(&workspace, filter)?;
    if with_vm {
        tally += vm::all(&workspace, filter)?;
    }
    if tally == Tally::default() {
        eprintln!("xtask: no test ran");
    }
    Ok(tally)
}

/// `cargo test`, as the user who called us.
fn plain(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--no-fail-fast", "--quiet"]);
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    counted(&mut cargo, "cargo test")
}

/// The kernel tests on the running kernel, as root: the same static programs that the VMs run.
fn kernel(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let iotrace = build::release(workspace)?;
    let mut tally = Tally::default();
    for test in build::kernel_tests(workspace)? {
        println!("== {} (this kernel, as root)", test.name);
        let mut command = process::as_root("/usr/bin/env");
        command.arg(format!("IOTRACE_BIN={}", iotrace.display()));
        // Named, as sudo would drop it: see kernel_budget.rs.
        if let Ok(update) = std::env::var("UPDATE_BUDGET") {
            command.arg(format!("UPDATE_BUDGET={update}"));
        }
        command
            .arg(&test.file)
            .args(build::KERNEL_TEST_ARGS)
            .args(filter)
            .current_dir(workspace.root.join("iotrace"));
        tally += counted(&mut command, &test.name)?;
    }
    Ok(tally)
}

/// Counts what ran. A program that fails without a failed test (it did not build, it crashed) counts as
/// one failure.
fn counted(command: &mut std::process::Command, name: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    let status = process::tee(command, |line| {
        tally.take(line);
    })
    .with_context(|| format!("cannot run {name}"))?;
    if !status.success() && tally.failed == 0 {
        eprintln!("xtask: {name}: {status}, though no test said that it failed");
        tally.failed = 1;
    }
    Ok(tally)
}
