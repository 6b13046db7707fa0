//! Where the workspace and its build products are, and cargo as this workspace calls it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The directories of this workspace.
pub struct Workspace {
    /// Where the root Cargo.toml is.
    pub root: PathBuf,
    /// Where cargo builds: CARGO_TARGET_DIR and `build.target-dir` are honoured.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub fn find() -> Result<Self> {
        // At run time, when cargo runs us: a checkout may have moved since it was built.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().context("xtask lies in the workspace")?;
        let mut metadata = cargo_in(root);
        let text =
            process::output(metadata.args(["metadata", "--no-deps", "--format-version=1", "--locked"]))?;
        let value: Value = serde_json::from_str(&text).context("cargo metadata printed no JSON")?;
        let dir = |key: &str| {
            value[key].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata has no {key}"))
        };
        Ok(Self { root: dir("workspace_root")?, target: dir("target_directory")? })
    }

    /// `cargo` in the workspace's root.
    pub fn cargo(&self) -> Command {
        cargo_in(&self.root)
    }

    /// `cargo SUBCOMMAND`, locked and quiet, for the release target with the C library linked in: such a
    /// binary runs on any kernel's machine, and in a VM that holds nothing else.
    pub fn cargo_static(&self, subcommand: &str) -> Command {
        let mut cargo = self.cargo();
        cargo
            .args([subcommand, "--release", "--locked", "--quiet", "--package", "iotrace"])
            // Named even though it is the host: else the flags would apply to build scripts as well.
            .args(["--target", &host_triple()])
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
        cargo
    }

    /// Where kernel tests that fail leave what they observed.
    pub fn tapes(&self) -> PathBuf {
        self.target.join("tapes")
    }

    /// Where [`Self::cargo_static`] leaves a binary.
    pub fn static_dir(&self) -> PathBuf {
        self.target.join(host_triple()).join("release")
    }
}

/// The target that the release is built for. iotrace is Linux only, and std for musl is no part of a
/// plain toolchain.
fn host_triple() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

fn cargo_in(dir: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir).env("PATH", process::path());
    cargo
}
