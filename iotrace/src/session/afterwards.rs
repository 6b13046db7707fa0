//! The command that was started, when iotrace observes it no longer.

use std::thread;
use std::time::Duration;

use crate::host::launch::{Ended, Running};
use crate::host::output::say;
use crate::session::error::Failure;
use crate::session::interrupts;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Says that the command goes on by itself, and waits for its end. A signal that a process sends to iotrace is passed
/// on; those of the terminal the command gets anyway.
///
/// # Errors
/// Of waiting.
pub fn wait(mut command: Running) -> Result<Ended, Failure> {
    say("iotrace: detached; the command goes on, and iotrace ends when it does, with its status");
    let mut passed = interrupts::count();
    loop {
        if let Some(ended) = command.try_wait().map_err(Failure::while_doing("waiting for the command"))? {
            return Ok(ended);
        }
        let now = interrupts::count();
        if now > passed
            && let Some(number) = interrupts::sent()
        {
            command.signal(number);
        }
        passed = now;
        thread::sleep(LOOK);
    }
}
