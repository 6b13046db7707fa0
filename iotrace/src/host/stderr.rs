//! What iotrace says to its user beside the result. Everything on stderr goes through here: what others chose is in it, such
//! as names and the message of a workload, and nobody may be there to read it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::time::Duration;

use iotrace_core::domain::name::{harmless_lines, in_a_sentence};

use super::output::{Patience, Stream};

/// How long a message is waited for, so that it comes before what is printed after it.
const USUAL: Duration = Duration::from_millis(200);
/// How long the last messages may stand still.
const LAST: Duration = Duration::from_secs(1);

static STDERR: OnceLock<Option<Stream>> = OnceLock::new();

/// Says a message, of one or more lines. Unlike `eprintln!` it neither panics where stderr is full or gone, nor waits for
/// a reader who does not read: a traced command may have filled the pipe that it shares with iotrace.
pub fn say(text: &str) {
    show(format!("{}\n", harmless_lines(text)));
}

/// Shows a message in place of the one before, on a terminal; an empty one only takes that away.
pub fn progress(text: &str) {
    show(format!("\r\x1b[K{}", harmless_lines(text)));
}

/// Waits for what was said, at the end of iotrace.
pub fn say_last() {
    if let Some(Some(stream)) = STDERR.get() {
        let _ = stream.settle(&Patience { limit: LAST, cut: &|| false });
    }
}

/// A path, or another word of the machine, for a message: on one line, whatever is in it.
pub fn shown(path: impl AsRef<OsStr>) -> String {
    in_a_sentence(path.as_ref().as_bytes())
}

fn show(text: String) {
    let start = || Stream::start(|| io::stderr().as_fd().try_clone_to_owned()).ok();
    let Some(stream) = STDERR.get_or_init(start) else { return };
    // Where an earlier message still waits there is nothing to wait for.
    let idle = stream.is_idle();
    if stream.offer(text.into_bytes()) && idle {
        let _ = stream.settle(&Patience { limit: USUAL, cut: &|| false });
    }
}
