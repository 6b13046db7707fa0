//! Where the outputs of a command go: each stands on its own, and all are checked before anything is measured.

use std::cell::Cell;
use std::path::Path;

use crate::cli::OutputArgs;
use crate::host::output::{Target, Trouble};
use crate::host::stderr::{say, shown};
use crate::session::error::Failure;
use crate::session::interrupts;

/// What a command writes beside the result of `-o`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Results of intervals, to stdout.
    pub intervals: bool,
    /// A figure, to this file.
    pub figure: Option<&'a Path>,
    /// A tape, to this file.
    pub tape: Option<&'a Path>,
    /// A command that was started has the same stdout.
    pub with_command: bool,
}

/// The open outputs of a command.
#[derive(Debug)]
pub struct Outputs {
    result: Target,
    /// Whether the result goes to stdout, by default or by a name of it.
    pub to_stdout: bool,
    /// Stdout, where the result goes elsewhere and intervals come first.
    intervals: Option<Target>,
    figure: Option<Target>,
    with_command: bool,
    /// Something was not written, and that was said.
    failed: Cell<bool>,
    /// Nobody takes intervals any more.
    over: Cell<bool>,
    /// Intervals for which there was no room.
    left_out: Cell<u64>,
}

impl Outputs {
    /// Opens and checks all of them. Nothing of them is changed.
    ///
    /// # Errors
    /// Where one cannot be written, or two are the same.
    pub fn open(args: &OutputArgs, wanted: Wanted<'_>) -> Result<Self, Failure> {
        let stdout = || Target::stdout().map_err(|error| unwritable("stdout", &error));
        let named = args.output.as_deref().map(open).transpose()?;
        let figure = wanted.figure.map(open).transpose()?;
        let tape = wanted.tape.map(open).transpose()?;
        let to_stdout = named.as_ref().is_none_or(Target::is_stdout);
        let result = if to_stdout { stdout()? } else { named.map_or_else(stdout, Ok)? };
        let intervals = (wanted.intervals && !to_stdout).then(stdout).transpose()?;
        let all: Vec<&Target> = [Some(&result), intervals.as_ref(), figure.as_ref(), tape.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                if one.is_same(other).map_err(Failure::while_doing("comparing the outputs"))? {
                    return Err(Failure::Usage(format!(
                        "{} and {} are the same: one output would be lost, or mixed with the other. Give each a file of \
                         its own; nothing was started",
                        other.name(),
                        one.name()
                    )));
                }
            }
        }
        Ok(Self {
            result,
            to_stdout,
            intervals,
            figure,
            with_command: wanted.with_command,
            failed: Cell::new(false),
            over: Cell::new(false),
            left_out: Cell::new(0),
        })
    }

    /// Whether the result would take the place of this file.
    pub fn result_is(&self, file: &std::fs::File) -> bool {
        self.result.is_file(file)
    }

    /// Hands over the result of an interval; waits for nothing.
    pub fn interval(&self, bytes: Vec<u8>) {
        if self.over.get() {
            return;
        }
        let stdout = self.intervals.as_ref().unwrap_or(&self.result);
        match stdout.offer(bytes) {
            Ok(true) => {}
            Ok(false) => self.left_out.set(self.left_out.get() + 1),
            Err(trouble) => self.intervals_end(&trouble),
        }
    }

    /// Whether the results of intervals so far have been taken.
    pub fn is_idle(&self) -> bool {
        self.intervals.as_ref().unwrap_or(&self.result).is_idle()
    }

    /// Whether somebody still gets results: not when stdout has failed, or its reader went away, and nothing goes
    /// elsewhere.
    pub fn wanted(&self) -> bool {
        let stdout = self.intervals.as_ref().unwrap_or(&self.result);
        if !self.over.get()
            && stdout.has_failed()
            && let Err(trouble) = stdout.offer(Vec::new())
        {
            self.intervals_end(&trouble);
        }
        !self.over.get() || self.intervals.is_some()
    }

    fn intervals_end(&self, trouble: &Trouble) {
        self.over.set(true);
        let next = match &self.intervals {
            Some(_) => format!("the whole result still goes to {}", self.result.name()),
            None => "tracing ends".to_owned(),
        };
        match trouble {
            // The reader has seen enough (`| head`).
            Trouble::Gone { .. } if !self.with_command && self.intervals.is_none() => {}
            Trouble::Gone { .. } => say(&format!("iotrace: the reader of stdout went away: {next}")),
            trouble => {
                self.fail(&format!("cannot write the results of intervals to stdout: {trouble}; {next}"));
            }
        }
    }

    /// Writes the result. Where that fails it goes to stdout instead, or to stderr, if a command writes to stdout.
    pub fn whole(&self, bytes: Vec<u8>) {
        let left_out = self.left_out.get();
        if left_out > 0 {
            self.fail(&format!(
                "{left_out} results of intervals were left out: the reader of stdout did not read"
            ));
        }
        if self.to_stdout && self.over.get() {
            return;
        }
        let kept = if self.to_stdout { Vec::new() } else { bytes.clone() };
        if let Some(trouble) = write(&self.result, bytes) {
            let name = self.result.name();
            if self.to_stdout {
                return self.fail(&format!("cannot write the result to {name}: {trouble}"));
            }
            let other = if self.with_command { "stderr" } else { "stdout" };
            self.fail(&format!("cannot write {name}: {trouble}. The result follows on {other} instead"));
            if self.with_command {
                return say(&String::from_utf8_lossy(&kept));
            }
            let lost = match Target::stdout() {
                Ok(stdout) => write(&stdout, kept).map(|trouble| trouble.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = lost {
                self.fail(&format!("cannot write the result to stdout either: {why}"));
            }
        }
        // Intervals that still wait for their reader.
        if let Some(trouble) =
            self.intervals.as_ref().filter(|_| !self.over.get()).and_then(|out| write(out, Vec::new()))
        {
            self.fail(&format!("cannot write the results of intervals to stdout: {trouble}"));
        }
    }

    /// Writes the figure, if one was asked for.
    pub fn figure(&self, draw: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let Some(figure) = &self.figure else { return };
        let mut bytes = Vec::new();
        let trouble = match draw(&mut bytes) {
            Ok(()) => write(figure, bytes),
            Err(error) => Some(Trouble::Failed(error)),
        };
        if let Some(trouble) = trouble {
            self.fail(&format!("cannot write the figure to {}: {trouble}", figure.name()));
        }
    }

    /// What came of the outputs.
    ///
    /// # Errors
    /// Where one was not written as a whole, which has been said.
    pub fn outcome(&self) -> Result<(), Failure> {
        if self.failed.get() { Err(Failure::Told) } else { Ok(()) }
    }

    /// Says that an output failed, and remembers it.
    pub fn fail(&self, text: &str) {
        self.failed.set(true);
        say(&format!("iotrace: {text}"));
    }
}

/// Writes to stdout, for commands without options of output.
///
/// # Errors
/// Of writing it. A reader that went away is none.
pub fn print(bytes: Vec<u8>) -> Result<(), Failure> {
    let stdout = Target::stdout().map_err(|error| unwritable("stdout", &error))?;
    match write(&stdout, bytes) {
        None => Ok(()),
        Some(trouble) => Err(Failure::Failed(format!("cannot write to stdout: {trouble}"))),
    }
}

/// What came in the way, if it is trouble: a reader who went away has seen enough (`| head`), but one who never took
/// anything from a file that was named has not.
fn write(target: &Target, bytes: Vec<u8>) -> Option<Trouble> {
    let before = interrupts::count();
    match target.write(bytes, before > 0, &|| interrupts::count() > before) {
        Ok(()) => None,
        Err(Trouble::Gone { written }) if written > 0 || target.is_stdout() => None,
        Err(trouble) => Some(trouble),
    }
}

fn open(path: &Path) -> Result<Target, Failure> {
    Target::open(path).map_err(|error| unwritable(&shown(path), &error))
}

fn unwritable(name: &str, error: &std::io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot write {name}: {error}. Name another file, or leave -o out to print to the terminal; nothing was \
         started"
    ))
}
