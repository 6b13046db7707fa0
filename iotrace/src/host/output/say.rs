//! What is said on stderr beside the results.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use super::stream::{Patience, Stream};

/// How long a message is waited for, so that it comes before what is printed after it.
const USUAL: Duration = Duration::from_millis(200);
/// How long the last messages may stand still.
const LAST: Duration = Duration::from_secs(1);

static STDERR: OnceLock<Option<Stream>> = OnceLock::new();

/// Says something on stderr, a line or several. Unlike `eprintln!` it neither panics where stderr is full or gone, nor
/// waits for a reader who does not read: a traced command may have filled the pipe that it shares with iotrace.
pub fn say(text: &str) {
    show(if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") });
}

/// The same as it is, without the end of a line.
pub fn show(text: String) {
    let start = || Stream::start(|| io::stderr().as_fd().try_clone_to_owned()).ok();
    let Some(stream) = STDERR.get_or_init(start) else { return };
    // Where an earlier message still waits there is nothing to wait for.
    let idle = stream.is_idle();
    if stream.offer(text.into_bytes()) && idle {
        let _ = stream.settle(&Patience { limit: USUAL, cut: &|| false });
    }
}

/// Waits for what was said, at the end of iotrace.
pub fn say_last() {
    if let Some(Some(stream)) = STDERR.get() {
        let _ = stream.settle(&Patience { limit: LAST, cut: &|| false });
    }
}
