//! `iotrace replay`: the results of a tape, as the observation gave them.

use std::fs::File;
use std::io::Read;

use iotrace_core::messages::replay;
use iotrace_core::rows::tape;

use crate::cli::ReplayArgs;
use crate::cmd::output;
use crate::host::bounded;
use crate::host::stderr::{self, say};
use crate::session::error::Failure;
use crate::session::tape::LONGEST;

/// Longest tape that is read, bytes: the last block of the longest may go beyond.
const MOST: u64 = LONGEST + tape::MAX_BLOCK as u64 + 64;

/// Prints the results of a tape; of a trace with intervals the whole.
///
/// # Errors
/// Where the tape cannot be read or has no result, or the result cannot be written.
pub fn main(args: &ReplayArgs) -> Result<(), Failure> {
    let shown = stderr::shown(&args.tape);
    let doing = format!("reading the tape {shown}");
    // Not all of what is no tape is read to find that out.
    let mut head = Vec::new();
    let open = File::open(&args.tape).map_err(Failure::while_doing(&doing))?;
    open.take(tape::MAGIC.len() as u64).read_to_end(&mut head).map_err(Failure::while_doing(&doing))?;
    let bytes = match head == tape::MAGIC {
        true => bounded::read(&args.tape, MOST).map_err(Failure::while_doing(&doing))?,
        false => head,
    };
    let tape = tape::read(&bytes).map_err(|damage| Failure::Failed(format!("{shown}: {damage}")))?;
    if let Some(damage) = &tape.damage {
        say(&format!("iotrace: {shown} is damaged {damage}; what lies before that is shown"));
    }
    match replay::documents(&tape).last() {
        Some(document) => output::write(document, &args.output),
        None => Err(Failure::Failed(format!(
            "{shown} has no result: the observation had not ended when its last block was written"
        ))),
    }
}
