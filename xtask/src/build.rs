//! The static release binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// Builds iotrace with the eBPF object and the C library inside, and leaves it at `target/release/iotrace`.
pub fn release(workspace: &Workspace) -> Result<PathBuf> {
    process::patiently("building iotrace (release, static)", || {
        process::run(workspace.cargo_static("build").args(["--bin", "iotrace"]))
    })
    .context("building iotrace failed")?;
    let built = workspace.static_dir().join("iotrace");
    let binary = workspace.target.join("release/iotrace");
    place(&built, &binary)?;
    Ok(binary)
}

/// Makes `to` the same file as `from`, in one step: `to` may be running, and a second xtask may be
/// placing it as well.
fn place(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a binary lies in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let fresh = dir.join(format!(".iotrace-{}", std::process::id()));
    fs::hard_link(from, &fresh)
        .or_else(|_| fs::copy(from, &fresh).map(|_| ()))
        .and_then(|()| fs::rename(&fresh, to))
        .with_context(|| format!("cannot place {} at {}", from.display(), to.display()))?;
    // Renaming a file onto another link of itself does nothing, and leaves the first name behind.
    let _ = fs::remove_file(&fresh);
    Ok(())
}

/// How a kernel test is run: those marked `#[ignore = "needs root"]` too, and one at a time, since probes
/// see the whole system.
pub const KERNEL_TEST_ARGS: [&str; 2] = ["--include-ignored", "--test-threads=1"];

/// A built `iotrace/tests/kernel_*.rs`.
pub struct KernelTest {
    /// The file's stem.
    pub name: String,
    /// The program.
    pub file: PathBuf,
}

impl KernelTest {
    /// Whether it runs on this machine only: since it observes programs that only this machine has installed, or since
    /// nothing that it tests depends on the version of the kernel.
    pub fn needs_host(&self) -> bool {
        ["kernel_host", "kernel_hostile"].contains(&self.name.as_str())
    }

    /// Whether, of several kernels, it runs on the oldest and the newest only: what it puts together, the self-test
    /// checks on each, and a VM takes four minutes for it.
    pub fn runs_at_the_ends(&self) -> bool {
        ["kernel_run", "kernel_study"].contains(&self.name.as_str())
    }
}

/// Builds the kernel tests, static like the release binary, so that one build serves this machine and
/// every VM.
pub fn kernel_tests(workspace: &Workspace) -> Result<Vec<KernelTest>> {
    let mut cargo = workspace.cargo_static("test");
    cargo.args(["--no-run", "--test", "kernel_*", "--message-format=json-render-diagnostics"]);
    cargo.stderr(Stdio::inherit());
    let messages =
        process::patiently("building the kernel tests (release, static)", || process::output(&mut cargo))
            .context("building the kernel tests failed")?;
    let mut tests: Vec<_> = messages.lines().filter_map(kernel_test).collect();
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

/// The test that one of cargo's messages announces, if it does.
fn kernel_test(message: &str) -> Option<KernelTest> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let (name, file) = (message["target"]["name"].as_str()?, message["executable"].as_str()?);
    is_test.then(|| KernelTest { name: name.to_owned(), file: file.into() })
}

#[cfg(test)]
mod tests {
    use super::kernel_test;

    #[test]
    fn finds_test_programs_among_cargos_messages() {
        let test = r#"{"reason":"compiler-artifact","executable":"/t/kernel_smoke-1","target":{"kind":["test"],"name":"kernel_smoke"}}"#;
        let found = kernel_test(test).expect("a test");
        assert_eq!((found.name.as_str(), found.file.to_str()), ("kernel_smoke", Some("/t/kernel_smoke-1")));
        let bin = test.replace(r#"["test"]"#, r#"["bin"]"#);
        assert!(kernel_test(&bin).is_none());
        assert!(kernel_test(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
