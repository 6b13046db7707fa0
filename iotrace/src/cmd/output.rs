//! Where a result goes: the terminal, a pipe, or a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::bpf::exact::Refused;
use crate::cli::{Color, OutputArgs};
use crate::host::launch::Identity;
use crate::host::stderr::{self, say};
use crate::session::error::Failure;
use crate::session::sink::{Begun, Sink};
use iotrace_core::report::{self, Format, Options};
use iotrace_core::summary::Document;

/// Columns of a report.
const WIDTH: usize = 100;

/// Checks before measuring that `-o` can be written: a long run must not end in nothing.
///
/// # Errors
/// Where it cannot be written.
pub fn check(args: &OutputArgs) -> Result<(), Failure> {
    let Some(path) = &args.output else { return Ok(()) };
    if is_special(path) {
        return File::options().write(true).open(path).map(drop).map_err(|error| unwritable(path, &error));
    }
    let part = beside(path);
    File::create(&part).map_err(|error| unwritable(path, &error))?;
    fs::remove_file(&part).map_err(|error| unwritable(path, &error))
}

/// Where the tape of an observation is kept: `IOTRACE_TAPE` names a file. Tests set it, to leave what a failure came of.
pub fn tape() -> Option<PathBuf> {
    std::env::var_os("IOTRACE_TAPE").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Prints the results of an observation as the options say.
pub struct Printer<'a> {
    args: &'a OutputArgs,
    /// Whether results of intervals come before the whole.
    pub intervals: bool,
    /// Whether it is said on a terminal that tracing has begun.
    pub says_begin: bool,
}

impl<'a> Printer<'a> {
    /// By these options; without intervals.
    pub fn new(args: &'a OutputArgs) -> Self {
        Self { args, intervals: false, says_begin: false }
    }
}

impl Sink for Printer<'_> {
    fn note(&mut self, text: &str) {
        if !self.args.quiet && io::stderr().is_terminal() {
            say(text);
        }
    }

    fn warn(&mut self, text: &str) {
        if !self.args.quiet {
            say(&format!("iotrace: {text}"));
        }
    }

    fn begin(&mut self, begun: &Begun<'_>) {
        if self.args.verbose {
            let of = begun.workload.map_or(String::new(), |workload| format!("{workload}: "));
            say(&format!("{of}attached in {:.0?}: {}", begun.took, begun.attached.join(" ")));
            say_refused(begun.refused);
        }
        if self.says_begin {
            self.note(&format!("Tracing {} ... Ctrl-C to end.", begun.about));
        }
    }

    fn interval(&mut self, document: &Document) -> Result<(), Failure> {
        interval(document, self.args).map_err(Failure::while_doing("writing the result"))
    }

    fn end(&mut self, document: &Document) -> Result<(), Failure> {
        if self.intervals { after_intervals(document, self.args) } else { write(document, self.args) }
    }
}

/// Says which function could not be hooked, where that was tried.
fn say_refused(refused: Option<&Refused>) {
    if let Some(Refused { function, why }) = refused {
        say(&format!("not in the exact tier: cannot hook {function} ({why})"));
    }
}

/// Writes the result where it was asked for.
///
/// # Errors
/// Of writing it. A reader that went away is none.
pub fn write(document: &Document, args: &OutputArgs) -> Result<(), Failure> {
    let format = if args.is_timeline() { Format::Timeline } else { args.format };
    let options = Options { unit: args.unit, color: colored(args), width: WIDTH };
    match &args.output {
        None => match report::render(format, document, &options, &mut BufWriter::new(io::stdout().lock())) {
            // The reader has seen enough (`| head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Failure::while_doing("writing the result")),
        },
        Some(path) => to_file(path, |out| report::render(format, document, &options, out)),
    }
}

/// Draws the figure of a study into a file.
///
/// # Errors
/// Of writing the file.
pub fn figure(document: &Document, path: &Path) -> Result<(), Failure> {
    to_file(path, |out| report::svg(document, out))
}

/// Writes the whole after its intervals: in JSON a line like theirs, the last one, so that all of the output
/// is one document a line; unless it goes to a file of its own.
///
/// # Errors
/// Of writing it.
pub fn after_intervals(document: &Document, args: &OutputArgs) -> Result<(), Failure> {
    if args.format != Format::Json || args.output.is_some() {
        return write(document, args);
    }
    interval(document, args).map_err(Failure::while_doing("writing the result"))
}

/// Writes what happened in an interval: a report, or one line of JSON. Goes to the terminal even with
/// `-o`, which gets the whole result in the end.
///
/// # Errors
/// Of writing it.
pub fn interval(document: &Document, args: &OutputArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.format == Format::Json {
        report::line(document, &mut out)?;
    } else {
        let options = Options { unit: args.unit, color: colored(args), width: WIDTH };
        report::render(Format::Table, document, &options, &mut out)?;
        writeln!(out)?;
    }
    out.flush()
}

/// Whole or not at all: written beside, then renamed. Belongs to the user behind sudo.
///
/// What is there and no regular file (`/dev/null`, a terminal, a pipe) is written to as it is: a rename
/// would put a file in its place.
fn to_file(path: &Path, render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    if is_special(path) {
        let written = File::options().write(true).open(path).and_then(|file| {
            let mut out = BufWriter::new(file);
            render(&mut out)?;
            out.flush()
        });
        return written.map_err(|error| unwritable(path, &error));
    }
    let part = beside(path);
    let written = (|| {
        let mut out = BufWriter::new(File::create(&part)?);
        render(&mut out)?;
        out.flush()?;
        if let Some(who) = Identity::behind_sudo() {
            std::os::unix::fs::chown(&part, Some(who.uid), Some(who.gid))?;
        }
        fs::rename(&part, path)
    })();
    written.map_err(|error| {
        // What is left of it helps nobody; that it may not be there is no new error.
        let _ = fs::remove_file(&part);
        unwritable(path, &error)
    })
}

fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot write {}: {error}. Name another file with -o (or --svg), or leave it out to print to the terminal",
        stderr::shown(path)
    ))
}

fn colored(args: &OutputArgs) -> bool {
    match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            args.output.is_none()
                && io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

/// Prints the JSON Schema of the JSON output.
///
/// # Errors
/// Of writing it. A reader that went away is none.
pub fn schema() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&report::schema()).unwrap_or_default();
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::while_doing("writing the schema")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stays_a_device() {
        use std::os::unix::fs::FileTypeExt;
        to_file(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_result_that_fails_halfway_leaves_the_old_one() {
        let path = std::env::temp_dir().join(format!("iotrace-output-{}", std::process::id()));
        to_file(&path, |out| out.write_all(b"old")).unwrap();
        assert!(to_file(&path, |_| Err(io::Error::other("no more"))).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::remove_file(&path).unwrap();
        assert!(!beside(&path).exists());
    }
}
