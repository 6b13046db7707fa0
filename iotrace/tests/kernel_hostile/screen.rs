//! `-i` on a terminal: each table in the place of the one before, and the whole below the last.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

use crate::trace::command;

/// The cursor to the first line, and clear to the end.
const ANEW: &str = "\x1b[H\x1b[J";

/// A terminal of so many lines and 120 columns: the end that shows what is written, and the end that programs write to.
fn terminal(lines: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: lines, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut shows, mut written) = (0, 0);
    // SAFETY: room for two descriptors, no name, no settings, and a size.
    let made = unsafe {
        libc::openpty(
            &raw mut shows,
            &raw mut written,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(made, 0);
    // SAFETY: both are ours and of nobody else.
    unsafe { (File::from_raw_fd(shows), OwnedFd::from_raw_fd(written)) }
}

/// What a terminal gets from a trace of the test itself.
fn shown(lines: u16, more: &[&str]) -> String {
    let (mut shows, written) = terminal(lines);
    let mut trace = command();
    trace.args(["trace", "-d", "900ms", "-i", "200ms", "--tier", "tracepoint", "--color", "always", "-p"]);
    trace.arg(std::process::id().to_string()).args(more);
    trace.env("TERM", "xterm").stdin(Stdio::null()).stdout(written).stderr(Stdio::null());
    let mut child = trace.spawn().expect("the binary starts");
    // Ours, too, or the terminal would never end.
    drop(trace);
    let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
    // EIO: nobody has it open for writing any more (`n_tty_read`, `drivers/tty/n_tty.c`).
    while let Ok(read @ 1..) = shows.read(&mut bytes) {
        text.extend_from_slice(&bytes[..read]);
    }
    assert!(child.wait().expect("our own child").success());
    String::from_utf8(text).expect("text")
}

#[test]
#[ignore = "needs root"]
fn intervals_take_each_others_place_on_a_terminal_and_the_whole_comes_below() {
    let text = shown(6, &[]);
    let frames: Vec<&str> = text.split(ANEW).collect();
    assert!(frames.len() > 3, "{text:?}");
    let (last, earlier) = frames.split_last().expect("some");
    for frame in &earlier[1..] {
        // Five lines and that of the cursor.
        assert_eq!(frame.matches('\n').count(), 5, "{frame:?}");
        assert!(frame.contains("more lines: the terminal is too small"), "{frame:?}");
        assert!(frame.contains("of the trace"), "the stretch of the interval: {frame:?}");
    }
    // The last result stays, and the whole follows, however long.
    assert_eq!(last.matches("iotrace trace ·").count(), 2, "{last:?}");
    assert!(last.contains("complete:") && last.lines().count() > 6, "{last:?}");
    assert!(!text.contains("\x1b[?"), "no mode of the terminal is changed: {text:?}");

    // On one that is large enough nothing is hidden; a file of its own, or a terminal that can do nothing, scrolls.
    assert!(!shown(200, &[]).contains("more line"));
    let scrolled = shown(6, &["-o", "/dev/null"]);
    assert!(!scrolled.contains(ANEW) && scrolled.contains("of the trace"), "{scrolled:?}");
}
