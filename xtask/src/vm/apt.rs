//! A private view of the Debian archive: apt, with lists and sources of its own.
//!
//! apt brings the machine's proxy and mirror settings, checks signatures and checksums, and none of this
//! touches what the machine itself has installed or may install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::setup::KEYRING;

/// Debian's own name for its nearest mirror, where the machine's configuration names none.
const PUBLIC: &str = "http://deb.debian.org";

/// An apt that knows only the given suites.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Sets it up under `root`; a suite named `*-security` is looked for in the security archive.
    pub fn new(root: &Path, suites: &[&str]) -> Result<Self> {
        let apt = Self { root: root.to_owned() };
        for dir in ["state/lists/partial", "cache/archives/partial"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let configured = configured_sources();
        let main = mirror(&configured, "debian");
        let security = mirror(&configured, "debian-security");
        let sources: String = suites
            .iter()
            .map(|suite| {
                let uri = if suite.ends_with("-security") { &security } else { &main };
                // An old suite is signed no more, so its last signature has expired.
                format!("deb [arch=amd64 check-valid-until=no signed-by={KEYRING}] {uri} {suite} main\n")
            })
            .collect();
        let file = apt.sources();
        fs::write(&file, sources).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(apt)
    }

    /// Fetches the lists of packages.
    pub fn update(&self) -> Result<()> {
        process::output(self.command("apt-get").args(["-qq", "update"])).map(|_| ())
    }

    /// The names of the packages that match the extended regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = process::output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Downloads the newest version of a package into the directory.
    pub fn download(&self, package: &str, into: &Path) -> Result<()> {
        let mut apt = self.command("apt-get");
        process::output(apt.args(["-qq", "download", package]).current_dir(into)).map(|_| ())
    }

    fn sources(&self) -> PathBuf {
        self.root.join("sources.list")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut set = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        set("Dir::Etc::SourceList", &self.sources());
        set("Dir::Etc::SourceParts", Path::new("/dev/null"));
        set("Dir::State", &self.root.join("state"));
        set("Dir::Cache", &self.root.join("cache"));
        // Packages only: no descriptions in other languages, no catalogue for software centres.
        set("Acquire::Languages", Path::new("none"));
        set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", Path::new("false"));
        if process::is_root() {
            // The cache lies in a home directory, which apt's download user may not enter.
            set("APT::Sandbox::User", Path::new("root"));
        }
        command
    }
}

/// Everything that the machine's own apt has as sources, of either form.
fn configured_sources() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.retain(|file| file.extension().is_some_and(|e| e == "list" || e == "sources"));
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The mirror of an archive: the first URI in the sources whose path ends with its name.
fn mirror(sources: &str, archive: &str) -> String {
    sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains("://"))
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.rsplit('/').next() == Some(archive))
        .map_or_else(|| format!("{PUBLIC}/{archive}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mirror;

    #[test]
    fn the_mirror_is_the_one_that_the_machine_uses() {
        let list =
            "# deb http://old.example/debian x main\ndeb [arch=amd64] http://a.example/debian/ x main\n";
        assert_eq!(mirror(list, "debian"), "http://a.example/debian");
        let deb822 = "Types: deb\nURIs: https://b.example/debian-security\nSuites: x\n";
        assert_eq!(mirror(deb822, "debian-security"), "https://b.example/debian-security");
    }

    #[test]
    fn without_one_it_is_debians_own() {
        assert_eq!(mirror("deb https://c.example/node x main", "debian"), "http://deb.debian.org/debian");
    }
}
