//! Everything that a change must pass, quick checks first.

use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, lint, process, setup, test};

/// `cargo xtask ci`: stops at the first step that fails; ends with one line, `N passed, N failed`.
pub fn run() -> Result<ExitCode> {
    let start = Instant::now();
    let workspace = Workspace::find()?;
    step(start, "format", || process::run(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    step(start, "lint", lint::run)?;
    step(start, "setup", || setup::ensure(setup::Scope::TestAndVm))?;
    // Side by side: each of the two has long stretches in which it keeps one CPU busy, and they share no directory.
    thread::scope(|scope| {
        let checks = scope.spawn(|| checks(start, &workspace));
        let built = step(start, "build", || build::release(&workspace))
            .and_then(|_| step(start, "build kernel tests", || build::kernel_tests(&workspace)));
        let checked = checks.join().unwrap_or_else(|_| bail!("the checks panicked"));
        built.and(checked)
    })?;
    let tally: Tally = step(start, "test", || test::all(true, None))?;
    Ok(tally.conclude(false))
}

/// What needs no test to run. Neither looks at the probes inside: [`probes`] does, so none are built for these.
fn checks(start: Instant, workspace: &Workspace) -> Result<()> {
    let cargo = |args: &str| {
        let mut cargo = workspace.cargo();
        cargo.args(args.split(' ')).env("IOTRACE_SKIP_EBPF", "1");
        cargo
    };
    step(start, "clippy", || {
        process::run(&mut cargo("clippy --quiet --locked --workspace --all-targets -- -Dwarnings"))
    })?;
    step(start, "probes", || process::run(&mut probes(workspace)))?;
    step(start, "doc", || {
        process::run(cargo("doc --quiet --locked --workspace --no-deps").env("RUSTDOCFLAGS", "-Dwarnings"))
    })
}

/// Runs a step and says how long it took, and how long everything has taken.
fn step<T>(start: Instant, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    eprintln!("xtask: ci: {name} ...");
    let result = work();
    let (took, total) = (begin.elapsed().as_secs_f64(), start.elapsed().as_secs_f64());
    let how = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("xtask: ci: {name} {how} in {took:.1} s ({total:.0} s in all)");
    result.with_context(|| format!("ci: {name} failed"))
}

/// The probes, checked for the target that they run on: clippy sees an empty program, and the warnings of iotrace's
/// build script are not shown.
fn probes(workspace: &Workspace) -> Command {
    let rustc = std::env::var_os("IOTRACE_BPF_RUSTC").unwrap_or_else(|| "/usr/bin/rustc".into());
    let mut cargo = workspace.cargo();
    cargo
        .args(["check", "--quiet", "--locked", "--package", "iotrace-ebpf", "--lib", "--bins"])
        .args(["--target", "bpfel-unknown-none", "--target-dir"])
        .arg(workspace.target.join("probes"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        // As iotrace/build.rs has it.
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "aya_ebpf")
        .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"\x1f-Dwarnings");
    cargo
}
