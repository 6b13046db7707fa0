//! A trace: attaches the probes, feeds what they and the host tell to the ledger, hands its results on.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use iotrace_core::rows::batch::{Batch, Closes, Closing};
use iotrace_core::rows::ledger::{self, Ledger};
use iotrace_core::rows::tape::Block;
use iotrace_core::summary::Document;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::settings::{Per, Whom};
use crate::host::identity::Identity;
use crate::host::launch::Held;
use crate::host::privileges::{self, Work};
use crate::host::proc;
use crate::host::running::Ended;
use crate::host::stderr::say;
use crate::session::asked::Asked;
use crate::session::calibrate::{self, Calibration};
use crate::session::command;
use crate::session::error::Failure;
use crate::session::live::Live;
use crate::session::settings::{self, HOOKS};
use crate::session::sink::{Begun, Sink};
use crate::session::source::{Source, Want};
use crate::session::tape::Tape;
use crate::session::until::{self, Until, Watcher};
use crate::session::{interrupts, whom};

/// What came of a trace.
pub struct Traced {
    /// How the command ended, if there was one and it did.
    pub ended: Option<Ended>,
    /// Whether every call is in the result.
    pub complete: bool,
}

/// Traces what was asked for, and hands the results to `sink`.
///
/// # Errors
/// Where a target does not exist, nothing can be attached, or the command cannot be executed.
pub fn trace(asked: &Asked, mut whom: Whom, sink: &mut impl Sink) -> Result<Traced, Failure> {
    let began = Instant::now();
    let held = hold(asked, &mut whom)?;
    let pid = held.as_ref().map(Held::pid);
    // After the fork: a command starts with the signals as they were.
    interrupts::catch().map_err(Failure::while_doing("catching Ctrl-C"))?;
    if held.is_some() {
        interrupts::relay().map_err(Failure::while_doing("catching signals for the command"))?;
    }
    let births = whom::births(&whom);
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut calibration = match asked.uncalibrated {
        true => Calibration::default(),
        false => calibrate::measure_by(&btf, &HOOKS, asked.tier),
    };
    let mut observer = attach(asked, &mut whom, &btf)?;
    let rows = settings::rows(asked, &whom);
    if !whom::keep_the_same(&mut whom, &births, &mut observer) && asked.cgroup.is_none() {
        return Err(Failure::Failed("the target ended before tracing began; nothing was traced".to_owned()));
    }
    if whom.tree {
        whom::adopt(&mut whom, &mut observer, &btf)?;
    }
    observer.set_floors(calibration.floors);
    calibration.of_others();
    let mut live = Live::new(asked, observer, &btf, whom, calibration, rows, pid)?;
    // Some megabytes that nobody asks again.
    drop(btf);
    give_up(asked, &mut live);
    let about = live.about();
    let mut trace = Trace::new(asked, live, sink)?;
    if asked.interval.is_some() {
        trace.get(Want::Begin)?;
    }
    trace.begun(&about, began.elapsed());
    let command = held.map(|held| command::release(held, &asked.command)).transpose()?;
    let mut until = Until { duration: asked.duration, command, wait_all: asked.wait_all };
    let watched = until::trace(&mut until, asked.interval, &mut trace);
    // What was seen is handed on whatever happened, and the probes are off then.
    let finished = trace.finish(asked.interval.is_some());
    let over = watched.as_ref().ok().copied();
    let outcome = watched.and(finished);
    let (Some(_), Err(failure)) = (&asked.command.first(), &outcome) else {
        let complete = outcome?;
        return Ok(Traced { ended: command::after(over, until.command, sink)?, complete });
    };
    // The command has nothing to do with it: its status is ours all the same.
    say(&format!("iotrace: {failure}"));
    let ended = command::after(over, until.command, sink)?;
    Ok(Traced { ended: ended.or(Some(Ended::Exited(i32::from(failure.code())))), complete: false })
}

/// From here on iotrace reads what others wrote, and needs less than for attaching.
fn give_up(asked: &Asked, live: &mut Live) {
    // `/proc/kallsyms` hides its addresses from whoever opens it without CAP_SYSLOG.
    proc::keep_symbols();
    let work = Work {
        command: !asked.command.is_empty(),
        descriptors: asked.per == Per::Fd,
        urgency: asked.longest,
        file: asked.writes_file || asked.tape.is_some(),
    };
    if let Some(warning) = privileges::lacking(work) {
        live.warn("privileges", warning);
    }
    if let Err(kept) = privileges::give_up(work) {
        live.warn("privileges_kept", kept.to_string());
    }
}

fn hold(asked: &Asked, whom: &mut Whom) -> Result<Option<Held>, Failure> {
    if asked.command.is_empty() {
        return Ok(None);
    }
    let words: Vec<&OsStr> = asked.command.iter().map(std::ffi::OsString::as_os_str).collect();
    let identity = Identity::of_command(asked.user.as_deref())?;
    let held =
        Held::spawn(&words, identity.as_ref(), None).map_err(Failure::while_doing("starting the command"))?;
    whom.tgids.push(held.pid());
    whom.follow |= !asked.no_follow;
    Ok(Some(held))
}

/// Attaches; where the kernel cannot tell a thread's cgroup (5.10 has no such helper for tracing programs),
/// its members of now are taken, and their children, as for a cgroup of the first version.
fn attach(asked: &Asked, whom: &mut Whom, btf: &Btf) -> Result<Observer, Failure> {
    let refused = match Observer::attach(btf, &settings::of_trace(asked, whom)) {
        Ok(observer) => return Ok(observer),
        Err(error) => error,
    };
    let (Some(path), Some(_)) = (&asked.cgroup, whom.cgroup.take()) else { return Err(refused.into()) };
    whom.tgids.extend(whom::members_below(path)?);
    whom.follow = true;
    Ok(Observer::attach(btf, &settings::of_trace(asked, whom))?)
}

/// A trace that is going on.
struct Trace<'a, S: Sink> {
    source: Live,
    ledger: Ledger,
    tape: Tape,
    sink: &'a mut S,
    looks: u64,
}

impl<'a, S: Sink> Trace<'a, S> {
    fn new(asked: &Asked, source: Live, sink: &'a mut S) -> Result<Self, Failure> {
        let opening = source.opening(asked);
        let tape = Tape::begin(asked.tape.as_deref())?;
        let mut trace = Self { source, ledger: Ledger::new(opening.clone()), tape, sink, looks: 0 };
        trace.keep(|| Block::Trace(opening));
        // The names that threads have now, before the probes tell of newer ones.
        trace.get(Want::Records)?;
        Ok(trace)
    }

    /// Says that tracing has begun.
    fn begun(&mut self, about: &str, took: Duration) {
        self.sink.begin(&Begun {
            workload: None,
            about,
            attached: self.source.attached(),
            took,
            refused: self.source.refused(),
        });
    }

    fn take(&mut self, batch: Batch) -> Result<Option<Document>, Failure> {
        if self.tape.is_kept() {
            self.keep(|| Block::Batch(Box::new(batch.clone())));
        }
        Ok(self.ledger.take(batch))
    }

    fn get(&mut self, want: Want) -> Result<Option<Document>, Failure> {
        let batch = self.source.batch(want, &self.ledger);
        self.take(batch)
    }

    /// Keeps a block on the tape. Where that fails the tape ends, and the trace goes on.
    fn keep(&mut self, block: impl FnOnce() -> Block) {
        if let Err(failure) = self.tape.put(block) {
            self.sink.failed(&failure.to_string());
        }
    }

    /// Hands on the whole; where there were intervals, first the rest of the last one, of the same sums: only then do
    /// the intervals add up to the whole. Says whether it is complete.
    fn finish(mut self, with_intervals: bool) -> Result<bool, Failure> {
        let whole = if with_intervals {
            let last = self.source.batch(Want::Interval, &self.ledger);
            let closing = last.closing.clone().map(|closing| Closing { of: Closes::Whole, ..closing });
            let again = Batch { at: last.at, closing, ..Batch::default() };
            if let Some(document) = self.take(last)? {
                self.sink.interval(&document);
            }
            self.take(again)?
        } else {
            self.get(Want::Whole)?
        };
        let document = whole.ok_or_else(|| Failure::Failed("the trace gave no result".to_owned()))?;
        // Probes cost others time, and a slow reader of the result is no reason for that.
        drop(self.source);
        self.sink.end(&document);
        Ok(document.complete)
    }
}

impl<S: Sink> Watcher for Trace<'_, S> {
    fn look(&mut self) -> Result<bool, Failure> {
        self.looks += 1;
        // Every fifth of a second is soon enough for what lives longer, and cheap.
        if !self.looks.is_multiple_of(10) {
            self.get(Want::Records)?;
            return Ok(true);
        }
        self.get(Want::Sums)?;
        Ok(!self.source.is_over())
    }

    fn command_ended(&mut self, waiting: bool) -> Result<(), Failure> {
        let mut batch = self.source.batch(Want::Sums, &self.ledger);
        let left = self.source.left();
        if !left.is_empty() {
            let who = ledger::listed(&left);
            self.sink.warn(&match waiting {
                true => {
                    format!("the command has ended; waiting for processes that it has left behind: {who}")
                }
                false => ledger::left_behind(&left),
            });
        }
        if !waiting {
            batch.facts.left_behind = left;
        }
        self.take(batch).map(drop)
    }

    fn interval(&mut self) -> Result<(), Failure> {
        if let Some(document) = self.get(Want::Interval)? {
            self.sink.interval(&document);
        }
        Ok(())
    }

    fn wanted(&self) -> bool {
        self.sink.wanted()
    }
}
