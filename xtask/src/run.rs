//! Running iotrace: set up, build, and become it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{build, process, setup};

/// Sets up and builds; returns the binary.
pub fn prepare() -> Result<PathBuf> {
    setup::ensure(setup::Scope::Build)?;
    build::release(&Workspace::find()?)
}

/// Runs iotrace as root, in this process's place: so its exit status, a signal that ends it, Ctrl-C and
/// the terminal are all its own.
pub fn iotrace(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    let binary = prepare()?;
    let mut command = process::as_root(&binary);
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", process::shown(&command)))
}
