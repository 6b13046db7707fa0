//! Results as the options want them: rendered, and handed to the outputs.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use crate::bpf::exact::Refused;
use crate::cli::{Color, OutputArgs};
use crate::cmd::targets::{Outputs, print};
use crate::host::launch::OF_TAPE;
use crate::host::stderr::say;
use crate::session::error::Failure;
use crate::session::sink::{Begun, Sink};
use iotrace_core::report::{self, Format, Options};
use iotrace_core::summary::Document;

/// Columns of a report.
const WIDTH: usize = 100;

/// Where the tape of an observation is kept: `IOTRACE_TAPE` names a file. Tests set it, to leave what a failure came of.
pub fn tape() -> Option<PathBuf> {
    std::env::var_os(OF_TAPE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Prints the results of an observation as the options say.
pub struct Printer<'a> {
    args: &'a OutputArgs,
    /// Where they go.
    pub outputs: Outputs,
    /// Whether results of intervals come before the whole.
    pub intervals: bool,
    /// Whether it is said on a terminal that tracing has begun.
    pub says_begin: bool,
}

impl<'a> Printer<'a> {
    /// By these options; without intervals.
    pub fn new(args: &'a OutputArgs, outputs: Outputs) -> Self {
        Self { args, outputs, intervals: false, says_begin: false }
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

    fn interval(&mut self, document: &Document) {
        match interval(document, self.args, &self.outputs) {
            Ok(bytes) => self.outputs.interval(bytes),
            Err(error) => self.outputs.fail(&format!("cannot write the result of an interval: {error}")),
        }
    }

    fn wanted(&self) -> bool {
        !self.intervals || self.outputs.wanted()
    }

    fn failed(&mut self, text: &str) {
        self.outputs.fail(text);
    }

    fn end(&mut self, document: &Document) {
        // In JSON the whole is a line like those of its intervals, and the last one, so that all of the output is one
        // document a line; unless it goes to a file of its own.
        if self.intervals && self.args.format == Format::Json && self.outputs.to_stdout {
            match interval(document, self.args, &self.outputs) {
                Ok(bytes) => self.outputs.whole(bytes),
                Err(error) => self.outputs.fail(&format!("cannot write the result: {error}")),
            }
        } else {
            write(document, self.args, &self.outputs);
        }
    }
}

/// Says which function could not be hooked, where that was tried.
fn say_refused(refused: Option<&Refused>) {
    if let Some(Refused { function, why }) = refused {
        say(&format!("not in the exact tier: cannot hook {function} ({why})"));
    }
}

/// Writes the result where it was asked for. [`Outputs::outcome`] tells what came of it.
pub fn write(document: &Document, args: &OutputArgs, outputs: &Outputs) {
    let format = if args.is_timeline() { Format::Timeline } else { args.format };
    let mut bytes = Vec::new();
    match report::render(format, document, &options(args, outputs.to_stdout), &mut bytes) {
        Ok(()) => outputs.whole(bytes),
        Err(error) => outputs.fail(&format!("cannot write the result: {error}")),
    }
}

/// What happened in an interval: a report, or one line of JSON. Goes to stdout even with `-o`, which gets the whole
/// result in the end.
fn interval(document: &Document, args: &OutputArgs, outputs: &Outputs) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if args.format == Format::Json {
        report::line(document, &mut bytes)?;
    } else {
        report::render(Format::Table, document, &options(args, outputs.to_stdout), &mut bytes)?;
        writeln!(bytes)?;
    }
    Ok(bytes)
}

/// Prints a document to stdout, for commands without options of output.
///
/// # Errors
/// Of writing it. A reader that went away is none.
pub fn show(document: &Document, format: Format) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    report::render(format, document, &Options::default(), &mut bytes)
        .map_err(Failure::while_doing("writing the result"))?;
    print(bytes)
}

/// Prints the JSON Schema of the JSON output.
///
/// # Errors
/// Of writing it. A reader that went away is none.
pub fn schema() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&report::schema()).unwrap_or_default();
    print(format!("{text}\n").into_bytes())
}

fn options(args: &OutputArgs, to_stdout: bool) -> Options {
    let color = match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            to_stdout
                && io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    };
    Options { unit: args.unit, color, width: WIDTH, summary: args.summary }
}
