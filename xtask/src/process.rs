//! Starting other programs, with errors that say which one and why.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A wait longer than this is explained on stderr.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a command to its end; a status other than 0 is an error. What it prints goes to stderr, so that
/// stdout stays the one of the program that the user asked for.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    check(command, status)
}

/// Does `work`, saying `what` it is if it takes long enough to wonder.
pub fn patiently<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("xtask: {what} ...");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Runs a command and returns what it wrote to stdout; its stderr belongs to the error, if any.
pub fn output(command: &mut Command) -> Result<String> {
    let out =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !out.status.success() {
        bail!("{}: {}\n{}", shown(command), out.status, String::from_utf8_lossy(&out.stderr).trim_end());
    }
    String::from_utf8(out.stdout)
        .with_context(|| format!("{} printed something that is no text", shown(command)))
}

/// Runs a command, passing what it prints on line by line and showing each line to `each`: stdout and stderr,
/// as a test tells past libtest, which keeps the stdout of those that pass, how often it tried.
pub fn tee(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    let (pipe, end) = std::io::pipe().context("cannot make a pipe")?;
    let other = end.try_clone().context("cannot share a pipe")?;
    command.stdin(Stdio::null()).stdout(end).stderr(other);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    // The command keeps the writing end open for as long as it lives, and what is read has no end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut out = std::io::stdout();
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.with_context(|| format!("cannot read from {}", shown(command)))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(out, "{line}").context("cannot write to stdout")?;
        each(&line);
    }
    child.wait().with_context(|| format!("cannot wait for {}", shown(command)))
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

/// A command for an error message: without its environment, and without apt's settings, which are long.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    let mut args = command.get_args().map(OsStr::to_string_lossy).peekable();
    while let Some(arg) = args.next() {
        if arg == "-o" && args.next_if(|value| value.contains("::")).is_some() {
            continue;
        }
        words.push(arg);
    }
    words.join(" ")
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user; this saves a dependency on libc.
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// A command that runs as root: by itself, or through sudo.
pub fn as_root(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--").arg(program);
    sudo
}

/// Where `cargo install` puts programs.
fn cargo_bin() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo"))).map(|home| home.join("bin"))
}

/// PATH with cargo's own directory in it: a CI shell or sudo may have left it out, and the build of the
/// eBPF object must find bpf-linker.
pub fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = env::split_paths(&path).collect();
    match cargo_bin() {
        Some(bin) if !all.contains(&bin) => all.push(bin),
        _ => return path,
    }
    env::join_paths(all).unwrap_or(path)
}

/// The first executable of that name on [`path`], or among the system's administration programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = path();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
