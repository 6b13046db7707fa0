//! What a VM runs: an initramfs with busybox, iotrace, the tests, and `/init`.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use crate::build::{KERNEL_TEST_ARGS, KernelTest};
use crate::process;

const INIT: &str = include_str!("init.sh");
/// Directories that `/init` mounts on or writes to.
const DIRECTORIES: [&str; 9] = ["bin", "dev", "etc", "proc", "root", "sys", "tests", "tmp", "var"];
/// Names that a program may look up.
const ETC: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
];

/// What is to happen in the VM.
#[derive(Clone, Copy)]
pub enum Job<'a> {
    /// Run the tests whose name contains the filter.
    Tests { tests: &'a [&'a KernelTest], filter: Option<&'a str> },
    /// Run one command line.
    Command(&'a str),
}

/// Writes the initramfs for one kernel to `file`.
pub fn write(file: &Path, scratch: &Path, iotrace: &Path, kernel: &str, job: Job<'_>) -> Result<()> {
    let out = fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut archive = Archive::new(BufWriter::new(out));
    fill(&mut archive, scratch, iotrace, kernel, job)
        .and_then(|()| Ok(archive.finish()?.flush()?))
        .with_context(|| format!("cannot fill {}", file.display()))
}

fn fill(
    archive: &mut Archive<impl std::io::Write>,
    scratch: &Path,
    iotrace: &Path,
    kernel: &str,
    job: Job<'_>,
) -> Result<()> {
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    // The kernel opens it for /init before anything is mounted.
    archive.device("dev/console", 5, 1)?;
    archive.file("init", INIT.as_bytes())?;
    archive.file("bin/busybox", &fs::read(busybox()?)?)?;
    archive.symlink("bin/sh", "busybox")?;
    archive.file("bin/iotrace", &stripped(iotrace, scratch)?)?;
    for (name, content) in ETC {
        archive.file(name, content.as_bytes())?;
    }
    let mut args = KERNEL_TEST_ARGS.join(" ");
    match job {
        Job::Tests { tests, filter } => {
            args.extend(filter.map(|filter| format!(" {filter}")));
            for test in tests.iter().filter(|test| !test.needs_host()) {
                archive.file(&format!("tests/{}", test.name), &stripped(&test.file, scratch)?)?;
            }
        }
        Job::Command(command) => archive.file("etc/command", command.as_bytes())?,
    }
    let environment = format!("export IOTRACE_VM={}\nTEST_ARGS={}\n", quoted(kernel), quoted(&args));
    archive.file("etc/vm.env", environment.as_bytes())?;
    Ok(())
}

/// The program without symbols: under emulation every megabyte of the image costs boot time.
fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let copy = scratch.join("stripped");
    process::run(Command::new("strip").arg("-o").arg(&copy).arg(program))?;
    Ok(fs::read(&copy)?)
}

fn busybox() -> Result<PathBuf> {
    process::find("busybox").context("no busybox on PATH: `cargo xtask setup --vm`")
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
