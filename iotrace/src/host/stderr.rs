//! What iotrace says to its user beside the result. Everything on stderr goes through here: what others chose is in it, such
//! as names and the message of a workload.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use iotrace_core::domain::name::{harmless_lines, in_a_sentence};

/// Says a message, of one or more lines. That nobody listens is no reason to stop, or to fail.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless_lines(text));
}

/// Shows a message in place of the one before, on a terminal; an empty one only takes that away.
pub fn progress(text: &str) {
    let _ = write!(io::stderr(), "\r\x1b[K{}", harmless_lines(text));
}

/// A path, or another word of the machine, for a message: on one line, whatever is in it.
pub fn shown(path: impl AsRef<OsStr>) -> String {
    in_a_sentence(path.as_ref().as_bytes())
}
