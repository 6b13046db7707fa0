//! `iotrace replay`: the results of a tape, as the observation gave them.

use std::fs::File;
use std::io::Read;

use iotrace_core::messages::replay;
use iotrace_core::rows::tape;

use crate::cli::ReplayArgs;
use crate::cmd::output;
use crate::cmd::targets::{Outputs, Wanted};
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
    let outputs = Outputs::open(&args.output, Wanted::default())?;
    let reading = format!("reading the tape {shown}");
    // Not all of what is no tape is read to find that out.
    let mut head = Vec::new();
    let file = File::open(&args.tape).map_err(Failure::while_doing(&reading))?;
    if outputs.result_is(&file) {
        return Err(Failure::Usage(format!(
            "-o is the tape {shown} itself, which would be lost; name another file"
        )));
    }
    file.take(tape::MAGIC.len() as u64).read_to_end(&mut head).map_err(Failure::while_doing(&reading))?;
    let bytes = match head == tape::MAGIC {
        true => bounded::read(&args.tape, MOST).map_err(Failure::while_doing(&reading))?,
        false => head,
    };
    let tape = tape::read(&bytes).map_err(|damage| Failure::Failed(format!("{shown}: {damage}")))?;
    if let Some(damage) = &tape.damage {
        say(&format!("iotrace: {shown} is damaged {damage}; what lies before that is shown"));
    }
    match replay::documents(&tape).last() {
        Some(document) => {
            output::write(document, &args.output, &outputs);
            outputs.outcome()
        }
        None => Err(Failure::Failed(format!(
            "{shown} has no result: the observation had not ended when its last block was written"
        ))),
    }
}
