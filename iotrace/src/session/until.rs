//! Observing targets that nobody controls: until they end, the time is up, or Ctrl-C.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::host::running::{Ended, Running};
use crate::session::command::{self, Over};
use crate::session::error::Failure;
use crate::session::interrupts;

/// How often the ring is drained and the targets are looked at. Sums are kept in the kernel; the ring
/// carries only names.
pub const LOOK: Duration = Duration::from_millis(20);

/// When to stop.
pub struct Until {
    /// After this long.
    pub duration: Option<Duration>,
    /// The command that was started, if one was.
    pub command: Option<Running>,
    /// Whether to go on after the command's end until nobody of the target is left.
    pub wait_all: bool,
}

/// What there is to do meanwhile.
pub trait Watcher {
    /// Looks after things; `false` when there is nothing left to observe.
    ///
    /// # Errors
    /// Of keeping what was seen.
    fn look(&mut self) -> Result<bool, Failure>;

    /// The command has ended. `waiting`: processes that it has left behind are waited for.
    ///
    /// # Errors
    /// Of keeping what was seen.
    fn command_ended(&mut self, waiting: bool) -> Result<(), Failure>;

    /// An interval is over.
    ///
    /// # Errors
    /// Of making its result.
    fn interval(&mut self) -> Result<(), Failure>;

    /// Whether somebody still gets results.
    fn wanted(&self) -> bool;
}

/// Watches until it is over. Whatever comes of it, a command that goes on is still in `until`.
///
/// # Errors
/// Of the runtime's set-up, and of the watcher.
pub fn trace(
    until: &mut Until,
    interval: Option<Duration>,
    watcher: &mut impl Watcher,
) -> Result<Over, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::while_doing("starting to watch"))?;
    runtime.block_on(tracing(until, interval, watcher))
}

async fn tracing(
    until: &mut Until,
    interval: Option<Duration>,
    watcher: &mut impl Watcher,
) -> Result<Over, Failure> {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut last = started;
    let mut ended: Option<Ended> = None;
    let over = |ended: Option<Ended>| ended.map_or(Over::Target, Over::Command);
    loop {
        look.tick().await;
        if ended.is_some() && interrupts::count() > 0 {
            return Ok(over(ended));
        }
        // A command gets the terminal's Ctrl-C, too, and what was sent to us alone is passed on: it decides how it
        // ends. The second time tracing ends, and the command goes on (`session/command.rs`).
        if let Some(command) = &until.command {
            command::pass_on(command);
        }
        match (interrupts::count(), &until.command) {
            (0, _) | (1, Some(_)) => {}
            (_, Some(_)) => return Ok(Over::Again),
            (_, None) => return Ok(Over::Target),
        }
        let left = watcher.look()?;
        if let Some(command) = &mut until.command
            && let Some(how) = command.try_wait().map_err(Failure::while_doing("waiting for the command"))?
        {
            watcher.command_ended(until.wait_all)?;
            if !until.wait_all {
                until.command = None;
                return Ok(Over::Command(how));
            }
            until.command = None;
            ended = Some(how);
        }
        if until.command.is_none() && !left {
            return Ok(over(ended));
        }
        if !watcher.wanted() {
            return Ok(ended.map_or(Over::Unwanted, Over::Command));
        }
        if until.duration.is_some_and(|limit| started.elapsed() >= limit) {
            return Ok(ended.map_or(Over::Time, Over::Command));
        }
        if interval.is_some_and(|every| last.elapsed() >= every) {
            last = Instant::now();
            watcher.interval()?;
        }
    }
}
