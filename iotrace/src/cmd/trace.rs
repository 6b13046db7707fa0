//! `iotrace trace`: processes that exist, a cgroup, the whole system, or a command it starts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use iotrace_core::domain::name;
use iotrace_core::report::Screen;

use crate::bpf::settings::Per;
use crate::cli::{PerArg, SinkArg, TraceArgs};
use crate::cmd::output::{self, Printer};
use crate::cmd::targets::{Outputs, Wanted};
use crate::host::identity::Identity;
use crate::host::running::Ended;
use crate::host::{check, proc, terminal};
use crate::session::asked::Asked;
use crate::session::error::Failure;
use crate::session::{trace, whom};

/// Observes and prints.
///
/// # Errors
/// Of wrong usage, or where nothing could be observed; with a command, so that it is not taken for the command's end.
pub fn main(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let with_command = !args.command.is_empty();
    observe(args).map_err(|failure| match failure {
        Failure::Failed(text) if with_command => Failure::NotTraced(text),
        other => other,
    })
}

fn observe(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let asked = asked(args);
    // Who a command would be is known before anything is touched.
    if !asked.command.is_empty() {
        Identity::of_command(asked.user.as_deref())?;
    }
    // Before any id is looked up in `/proc`.
    check::namespaces()?;
    let whom = whom::resolve(&asked)?;
    let wanted = Wanted {
        intervals: args.interval.is_some(),
        tape: asked.tape.as_deref(),
        with_command: !args.command.is_empty(),
        figure: None,
    };
    let outputs = Outputs::open(&args.output, wanted)?;
    check::prerequisites()?;
    let mut printer = Printer::new(&args.output, outputs);
    printer.intervals = args.interval.is_some();
    printer.says_begin = args.command.is_empty();
    let replaces =
        printer.intervals && output::in_place(&args.output, !args.command.is_empty(), terminal::size());
    printer.screen = replaces.then(Screen::default);
    let traced = trace::trace(&asked, whom, &mut printer)?;
    let told = printer.outputs.outcome();
    // A status of its own says more of the command than that a result was not written, which stderr says.
    if let Some(ended) = traced.ended.filter(|ended| told.is_ok() || *ended != Ended::Exited(0)) {
        return if args.output.strict && !traced.complete {
            Err(Failure::Incomplete)
        } else {
            Ok(ended.pass_on())
        };
    }
    told?;
    if args.output.strict && !traced.complete {
        return Err(Failure::Incomplete);
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes of a name as it was typed, or copied from a result. What may be either is as typed if a thread is called so.
fn named(given: &OsStr, is_taken: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let typed = given.as_bytes();
    let copied = given.to_str().map_or_else(|| typed.to_vec(), name::bytes);
    if copied == typed || is_taken(&typed[..typed.len().min(15)]) { typed.to_vec() } else { copied }
}

/// Whether there is a thread of this name.
fn is_taken(name: &[u8]) -> bool {
    let mut threads = proc::processes().into_iter().flat_map(proc::threads);
    threads.any(|tid| proc::comm_bytes(tid).is_some_and(|comm| comm == name))
}

/// What these arguments ask for.
pub fn asked(args: &TraceArgs) -> Asked {
    Asked {
        pids: args.pids.clone(),
        tids: args.tids.clone(),
        comm: args.comm.as_deref().map(|given| named(given, is_taken)),
        cgroup: args.cgroup.clone(),
        all: args.all,
        follow: args.follow,
        no_follow: args.no_follow,
        tree: args.tree,
        wait_all: args.wait_all,
        command: args.command.clone(),
        user: args.user.clone(),
        writes_file: args.output.output.is_some(),
        duration: args.duration,
        interval: args.interval,
        syscalls: args.expression.as_ref().map(|wanted| wanted.0.clone()),
        per: match args.per {
            PerArg::Process => Per::Process,
            PerArg::Thread => Per::Thread,
            PerArg::Fd => Per::Fd,
        },
        top: args.top,
        min: args.min,
        rows: args.rows,
        uncalibrated: args.uncalibrated,
        records_only: args.sink == SinkArg::Records,
        longest: args.output.is_timeline(),
        tier: args.tier.wish(),
        without: args.without.clone(),
        tape: output::tape(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_as_bytes_or_as_it_is_shown() {
        let cut = &"😀😀😀😀".as_bytes()[..15];
        let nobody = |_: &[u8]| false;
        assert_eq!(named(OsStr::from_bytes(cut), nobody), cut);
        assert_eq!(named(OsStr::new(&name::of(cut)), nobody), cut);
        assert_eq!(named(OsStr::new("nginx"), nobody), b"nginx");
        assert_eq!(named(OsStr::new("\\xff"), nobody), b"\xff");
        assert_eq!(named(OsStr::new("\\xff"), |name| name == b"\\xff"), b"\\xff");
    }
}
