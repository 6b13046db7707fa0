//! The kinds of places that a program can be attached to, and how it is attached.

use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError, TracePoint};

use super::btf::{Arg, Btf};

/// A kind of place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint.
    Tracepoint,
    /// A tracepoint by perf, as an event of this category, and not by BTF.
    Perf(&'static str),
    /// The entry of a function.
    Entry,
    /// The return of a function.
    Return,
}

/// The arguments that a program expects at its hook.
#[derive(Debug)]
pub enum Shape {
    /// These arguments and no others.
    Exactly(&'static [Arg]),
    /// These arguments first; the program does not read any that follow.
    Begins(&'static [Arg]),
}

impl Shape {
    /// Whether a program of this shape can read `args`.
    pub fn fits(&self, args: &[Arg]) -> bool {
        match self {
            Shape::Exactly(wanted) => args == *wanted,
            Shape::Begins(wanted) => args.starts_with(wanted),
        }
    }
}

impl Hook {
    /// The arguments that a program finds there; `None` where this kernel has no such place.
    pub(super) fn arguments(self, btf: &Btf, name: &str) -> Option<Vec<Arg>> {
        match self {
            Hook::Tracepoint | Hook::Perf(_) => btf.tracepoint(name),
            Hook::Entry | Hook::Return => btf.function(name),
        }
    }

    /// Whether that is a function, not a tracepoint.
    pub fn is_function(self) -> bool {
        matches!(self, Hook::Entry | Hook::Return)
    }

    /// Loads a program for the place.
    pub(super) fn load(self, program: &mut Program, name: &str, btf: &aya::Btf) -> Result<(), String> {
        let done = match self {
            Hook::Tracepoint => {
                <&mut BtfTracePoint>::try_from(program).and_then(|program| program.load(name, btf))
            }
            Hook::Perf(_) => <&mut TracePoint>::try_from(program).and_then(TracePoint::load),
            Hook::Entry => <&mut FEntry>::try_from(program).and_then(|program| program.load(name, btf)),
            Hook::Return => <&mut FExit>::try_from(program).and_then(|program| program.load(name, btf)),
        };
        done.map_err(|error| with_causes(&error))
    }

    /// Attaches a program that is loaded.
    pub(super) fn attach(self, program: &mut Program, name: &str) -> Result<Link, String> {
        let done = match self {
            Hook::Tracepoint => again(program).map(Some),
            Hook::Perf(category) => <&mut TracePoint>::try_from(program)
                .and_then(|program| program.attach(category, name))
                .map(|_| None),
            Hook::Entry => <&mut FEntry>::try_from(program).and_then(FEntry::attach).map(|_| None),
            Hook::Return => <&mut FExit>::try_from(program).and_then(FExit::attach).map(|_| None),
        };
        done.map_err(|error| with_causes(&error))
    }

    /// Detaches and unloads a program.
    pub(super) fn detach(self, program: &mut Program) {
        // A program that cannot be unloaded goes on marking copies that are not closed, which does no harm.
        let _ = match self {
            Hook::Tracepoint => <&mut BtfTracePoint>::try_from(program).and_then(BtfTracePoint::unload),
            Hook::Perf(_) => <&mut TracePoint>::try_from(program).and_then(TracePoint::unload),
            Hook::Entry => <&mut FEntry>::try_from(program).and_then(FEntry::unload),
            Hook::Return => <&mut FExit>::try_from(program).and_then(FExit::unload),
        };
    }
}

/// What [`again`] and [`off`] take for a program that is attached; only a tracepoint by BTF has one.
pub(super) type Link = Option<BtfTracePointLinkId>;

/// Takes a program off its tracepoint; it stays loaded.
pub(super) fn off(program: &mut Program, link: BtfTracePointLinkId) -> Result<(), ProgramError> {
    <&mut BtfTracePoint>::try_from(program)?.detach(link)
}

/// Attaches a program that is loaded to its tracepoint, for the first time or again.
pub(super) fn again(program: &mut Program) -> Result<BtfTracePointLinkId, ProgramError> {
    <&mut BtfTracePoint>::try_from(program)?.attach()
}

/// Lines at the end of the verifier's log that are shown: they name the cause, and hundreds before them the way to it.
const LOG_LINES: usize = 6;

/// An error and its causes in one line, the verifier's log cut to its end.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    // A refusal before the verifier looked has no log.
    let text = text.trim_end().trim_end_matches(" Verifier output:").to_owned();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= LOG_LINES {
        return text;
    }
    let first = lines[0].split(" Verifier output:").next().unwrap_or_default();
    format!("{first} The verifier: ... {}", lines[lines.len() - LOG_LINES..].join("; "))
}
