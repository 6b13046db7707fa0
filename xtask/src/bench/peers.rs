//! What the peers need on a machine: their packages, and for bcc some kernel's headers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, setup};

/// What was found.
#[derive(Default)]
pub struct Peers {
    /// Headers for bcc, where it finds none by itself.
    pub headers: Option<PathBuf>,
    /// What could not be installed.
    pub failure: Option<String>,
}

impl Peers {
    /// Installs what is missing. A failure is told, and the arms that miss it fail by themselves.
    pub fn install(scratch: &Path) -> Self {
        let mut peers = Self::default();
        if let Err(error) = setup::ensure(setup::Scope::Bench) {
            peers.failure = Some(format!("{error:#}"));
        }
        match headers(scratch) {
            Ok(found) => peers.headers = found,
            Err(error) => peers.failure = Some(format!("{error:#}")),
        }
        peers
    }
}

/// bcc compiles against kernel headers. syscount reads tracepoints only, so those of any kernel will do;
/// Debian's are in two directories, and bcc wants one.
fn headers(scratch: &Path) -> Result<Option<PathBuf>> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("/proc is mounted")?;
    if Path::new("/lib/modules").join(release.trim()).join("build").exists() {
        return Ok(None);
    }
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/src")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-common")))
        .collect();
    installed.sort();
    let common = installed.pop().context("no kernel headers in /usr/src")?;
    let own = common.to_string_lossy().replace("-common", "-cloud-amd64");
    let merged = scratch.join("headers");
    fs::create_dir_all(&merged).with_context(|| format!("cannot make {}", merged.display()))?;
    for part in [common.to_string_lossy().as_ref(), own.as_str()] {
        process::run(Command::new("cp").arg("-rsf").arg(format!("{part}/.")).arg(&merged))?;
    }
    Ok(Some(merged))
}
