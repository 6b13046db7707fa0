//! Results as the options want them: rendered, and handed to the outputs.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use crate::bpf::exact::Refused;
use crate::cli::{Color, OutputArgs};
use crate::cmd::targets::{Outputs, print};
use crate::host::launch::OF_TAPE;
use crate::host::stderr::say;
use crate::host::terminal;
use crate::session::error::Failure;
use crate::session::sink::{Begun, Sink};
use iotrace_core::report::{self, Format, Options, Screen, Size};
use iotrace_core::summary::Document;

/// Columns of a report that goes to no terminal.
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
    /// The terminal on which results of intervals take the place of each other, where they do.
    pub screen: Option<Screen>,
}

impl<'a> Printer<'a> {
    /// By these options; without intervals.
    pub fn new(args: &'a OutputArgs, outputs: Outputs) -> Self {
        Self { args, outputs, intervals: false, says_begin: false, screen: None }
    }

    /// Shows the result of an interval in the place of the one before. A terminal that has not taken that yet is not
    /// given another one: the next takes its place anyway.
    fn redraw(&mut self, document: &Document, size: Size) -> io::Result<()> {
        if !self.outputs.is_idle() {
            return Ok(());
        }
        let Some(screen) = &mut self.screen else { return Ok(()) };
        let mut bytes = Vec::new();
        report::render(Format::Table, document, &options(self.args, true), &mut bytes)?;
        self.outputs.interval(screen.draw(&String::from_utf8_lossy(&bytes), size).into_bytes());
        Ok(())
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
        if self.screen.is_some()
            && let Some(size) = terminal::size()
        {
            if let Err(error) = self.redraw(document, size) {
                self.outputs.fail(&format!("cannot show the result of an interval: {error}"));
            }
            return;
        }
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
            if self.screen.is_some() {
                // Below what a terminal shows last, and below the `^C` behind that.
                self.outputs.interval(b"\n".to_vec());
            }
            write(document, self.args, &self.outputs);
        }
    }
}

/// Whether results of intervals take the place of each other: tables on a terminal that can show it, on which no command
/// writes, which would be lost then.
pub fn in_place(args: &OutputArgs, with_command: bool, terminal: Option<Size>) -> bool {
    args.format == Format::Table && args.output.is_none() && !with_command && terminal.is_some()
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
    let width = terminal::size().filter(|_| to_stdout).map_or(WIDTH, |size| size.columns);
    Options { unit: args.unit, color, width, summary: args.summary }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        output: OutputArgs,
    }

    #[test]
    fn only_tables_on_a_terminal_of_ones_own_take_the_place_of_each_other() {
        let terminal = Some(Size { lines: 24, columns: 80 });
        let of = |options: &[&str], with_command, terminal| {
            let typed = Typed::parse_from([&["iotrace"], options].concat());
            in_place(&typed.output, with_command, terminal)
        };
        assert!(of(&[], false, terminal) && of(&["--summary"], false, terminal));
        assert!(!of(&[], false, None), "a file or a pipe");
        assert!(!of(&[], true, terminal), "the command writes there");
        assert!(!of(&["-o", "/dev/stdout"], false, terminal));
        assert!(!of(&["--format", "json"], false, terminal));
        assert!(!of(&["--format", "timeline"], false, terminal));
    }
}
