//! Kernels to test on: Debian's cloud images, which have everything we need built in and BTF as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::apt::Apt;
use crate::process;

/// The kernels of `cargo xtask vm`, oldest first, and the suites that have them.
const SERIES: [(&str, &[&str]); 4] = [
    // Stands in for 5.14 and 5.15, which have no Debian image.
    ("5.10", &["bullseye", "bullseye-security"]),
    ("6.1", &["bookworm", "bookworm-security"]),
    ("6.12", &["trixie", "trixie-security"]),
    // The moving end: once sid has left this series, the newest that it has takes its place.
    (NEWEST, &["sid"]),
];
const NEWEST: &str = "7.2";
/// Where a series that is in no table is looked for.
const ANYWHERE: &[&str] = &["bookworm-backports", "trixie-backports", "trixie", "sid", "experimental"];
/// Names of packages that hold an image: Debian splits it off as `linux-binary` since 7.x, and before that
/// has it with and without a signature for secure boot.
const IMAGES: &str = r"^linux-(binary|image)-[0-9][^ ]*-cloud-amd64(-unsigned)?$";
/// How long a kernel is taken for the newest without asking.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// A kernel that can be booted.
pub struct Kernel {
    /// Its series, as `IOTRACE_VM` names it: `6.12`.
    pub series: String,
    /// What `uname -r` says: `6.12.117+deb13-cloud-amd64`.
    pub release: String,
    /// Its vmlinuz.
    pub image: PathBuf,
}

/// The series that are tested when none is named.
pub fn default_series() -> Vec<String> {
    SERIES.iter().map(|(series, _)| (*series).to_owned()).collect()
}

/// Whether a series is the oldest or the newest of those that are tested.
pub fn is_an_end(series: &str) -> bool {
    [SERIES.first(), SERIES.last()].iter().flatten().any(|(end, _)| *end == series)
}

/// The newest kernel of a series, downloaded unless the cache has it. Versions are found by pattern each
/// day, since an archive keeps only the newest; without a network the cached one serves.
pub fn get(cache: &Path, series: &str) -> Result<Kernel> {
    let dir = cache.join("kernels").join(series);
    let current = dir.join("current");
    let cached = cached(&dir, &current);
    if let Some(kernel) = cached.as_ref().filter(|_| is_fresh(&current)) {
        return kernel_of(&dir, kernel);
    }
    let what = format!("looking for the newest kernel {series}");
    match process::patiently(&what, || download(cache, &dir, series)) {
        Ok(release) => {
            fs::write(&current, &release).with_context(|| format!("cannot write {}", current.display()))?;
            kernel_of(&dir, &release)
        }
        Err(error) => match cached {
            Some(release) => {
                eprintln!(
                    "xtask: taking {release} from the cache, as the archive does not answer: {error:#}"
                );
                kernel_of(&dir, &release)
            }
            None => Err(error.context(format!("no kernel {series}, neither from the archive nor cached"))),
        },
    }
}

fn cached(dir: &Path, current: &Path) -> Option<String> {
    let release = fs::read_to_string(current).ok()?;
    dir.join(&release).join("vmlinuz").is_file().then_some(release)
}

fn is_fresh(file: &Path) -> bool {
    let age = fs::metadata(file).and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age < FRESH)
}

fn kernel_of(dir: &Path, release: &str) -> Result<Kernel> {
    let series: Vec<&str> = release.split('.').take(2).collect();
    Ok(Kernel {
        series: series.join("."),
        release: release.to_owned(),
        image: dir.join(release).join("vmlinuz"),
    })
}

/// Downloads the newest kernel of the series into `dir`; returns its release.
fn download(cache: &Path, dir: &Path, series: &str) -> Result<String> {
    let suites = SERIES.iter().find(|(name, _)| *name == series).map_or(ANYWHERE, |(_, suites)| suites);
    let apt = Apt::new(&cache.join("apt").join(series), suites)?;
    // One missing suite is no harm while another has the package.
    let updated = apt.update();
    let names = apt.names(IMAGES)?;
    let mut failure = None;
    // The list of an old suite may name packages that are gone from the archive: the next one, then.
    for (release, package) in newest_first(&names, series) {
        if dir.join(release).join("vmlinuz").is_file() {
            return Ok(release.to_owned());
        }
        eprintln!("xtask: downloading {package}");
        match unpack(&apt, package, release, dir) {
            Ok(()) => return Ok(release.to_owned()),
            Err(error) => failure = Some(error),
        }
    }
    updated.context("cannot fetch the lists of packages")?;
    Err(failure.unwrap_or_else(|| anyhow!("{} have no cloud kernel {series}", suites.join(", "))))
}

fn unpack(apt: &Apt, package: &str, release: &str, dir: &Path) -> Result<()> {
    let scratch = dir.join(format!(".download-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let unpacked = unpack_in(&scratch, apt, package, release, &dir.join(release));
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    unpacked
}

fn unpack_in(scratch: &Path, apt: &Apt, package: &str, release: &str, into: &Path) -> Result<()> {
    apt.download(package, scratch)?;
    let mut entries = fs::read_dir(scratch)?.flatten().map(|entry| entry.path());
    let deb = entries.find(|path| path.extension().is_some_and(|e| e == "deb")).context("no .deb came")?;
    let root = scratch.join("root");
    process::run(Command::new("dpkg-deb").arg("-x").args([&deb, &root]))?;
    let places = [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")];
    let image = places.iter().map(|place| root.join(place)).find(|file| file.is_file());
    let image = image.with_context(|| format!("{package} has no image at {}", places.join(" or ")))?;
    fs::create_dir_all(into)?;
    fs::rename(&image, into.join("vmlinuz")).with_context(|| format!("cannot keep {}", image.display()))
}

/// The releases of the series with the package that has each, newest first.
fn newest_first<'a>(packages: &'a [String], series: &str) -> Vec<(&'a str, &'a str)> {
    let exact = sorted(packages, |release| release.starts_with(&format!("{series}.")));
    if exact.is_empty() && series == NEWEST { sorted(packages, |_| true) } else { exact }
}

fn sorted(packages: &[String], wanted: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let mut found: Vec<_> = packages
        .iter()
        .filter_map(|package| {
            let (kind, rest) = package.strip_prefix("linux-")?.split_once('-')?;
            let release = rest.strip_suffix("-unsigned").unwrap_or(rest);
            // `linux-image-6.12-cloud-amd64` is no release but points to one.
            let is_release = release.split("-cloud").next()?.matches('.').count() >= 2;
            let rank = (kind == "binary", rest != release);
            (is_release && wanted(release)).then_some((numbers(release), rank, release, package.as_str()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(.., release, package)| (release, package)).collect()
}

/// The numbers in a release, which compare as the releases do.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::newest_first;

    fn found(series: &str) -> Option<(String, String)> {
        let packages = [
            "linux-image-5.10.0-9-cloud-amd64-unsigned",
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-5.10.0-46-cloud-amd64-unsigned",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.115+deb13.1-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-binary-7.3.1+deb14-cloud-amd64",
            "linux-image-7.3.1+deb14-cloud-amd64",
        ];
        let packages = packages.map(str::to_owned);
        let (release, package) = *newest_first(&packages, series).first()?;
        Some((release.to_owned(), package.to_owned()))
    }

    fn expect(series: &str, release: &str, package: &str) {
        assert_eq!(found(series), Some((release.to_owned(), package.to_owned())));
    }

    #[test]
    fn takes_the_newest_by_number_and_the_package_with_the_image() {
        expect("5.10", "5.10.0-46-cloud-amd64", "linux-image-5.10.0-46-cloud-amd64-unsigned");
        expect("6.12", "6.12.117+deb13-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64");
    }

    #[test]
    fn a_meta_package_is_no_kernel_and_series_are_not_prefixes() {
        assert_eq!(found("6.1"), None);
    }

    #[test]
    fn only_the_moving_series_moves_on() {
        expect("7.2", "7.3.1+deb14-cloud-amd64", "linux-binary-7.3.1+deb14-cloud-amd64");
        assert_eq!(found("6.18"), None);
    }
}
