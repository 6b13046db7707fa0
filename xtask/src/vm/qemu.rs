//! One boot of a VM, and what came of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process;

/// What is booted, and how.
pub struct Boot<'a> {
    /// vmlinuz.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initrd: &'a Path,
    /// qemu's accelerator. `tcg` (none) works everywhere; a nested `kvm` may hang.
    pub accel: &'a str,
    /// How many CPUs.
    pub cpus: u32,
    /// Whether bytes are copied one by one, where the processor is emulated: see [`COPIES_WORDS`].
    pub copies_bytes: bool,
    /// Where its second serial line goes: tapes of tests that failed.
    pub tapes: &'a Path,
    /// The VM is killed after this.
    pub timeout: Duration,
}

/// How a boot ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `/init` said so.
    Success,
    /// `/init` said so.
    Failure,
    /// The one command ended with this status.
    Exit(u8),
    /// `/init` said nothing, or more than one thing: a panic, a hang, a kernel that does not boot.
    None(&'static str),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("init: success"),
            Self::Failure => f.write_str("init: failure"),
            Self::Exit(status) => write!(f, "init: exit {status}"),
            Self::None(why) => f.write_str(why),
        }
    }
}

/// Boots, hands each line of the console to `each`, and waits for the end.
pub fn boot(boot: &Boot<'_>, mut each: impl FnMut(&str)) -> Result<Verdict> {
    let mut command = command(boot);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", process::shown(&command)))?;
    let console = child.stdout.take().context("the console was piped")?;
    let deadline = Instant::now() + boot.timeout;
    let mut verdicts = Vec::new();
    let lines = lines(console);
    let ended = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                verdicts.extend(verdict(&line));
                each(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    reap(&mut child, ended).with_context(|| format!("cannot wait for {}", process::shown(&command)))?;
    Ok(match (verdicts.len(), verdicts.pop(), ended) {
        (1, Some(verdict), true) => verdict,
        (_, _, false) => Verdict::None("the time was up"),
        (0, ..) => Verdict::None("the VM ended without a verdict (did the kernel panic?)"),
        _ => Verdict::None("more than one verdict"),
    })
}

/// How `tcg` is to emulate.
///
/// - `thread=single`: attaching a probe patches kernel code with an int3 that goes away again. Emulated CPUs that
///   run at the same time may still execute the int3 when nobody expects one any more: the kernel oopses in the
///   patched function, or hangs there. It took 100 to 300 attachments; the kernel tests do thousands. So several
///   CPUs take turns.
/// - `icount`: the clock of the VM counts instructions, 2 ns for each, and jumps ahead when all its CPUs are idle.
///   So what else this machine does cannot be seen in the VM: no test there fails since somebody else was busy, and
///   nobody waits for a test that sleeps.
const EMULATED: [&str; 4] = ["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"];

/// A processor, and what the kernel is told, so that memory is cleared and copied by words.
///
/// Of a repeated string instruction each byte is emulated by itself. Where the processor says that they are fast
/// (`erms`, `fsrm`), the kernel clears and copies all its memory with them: of the time of a test that started iotrace
/// over and over a third was `clear_page_erms`. `clearcpuid=112` is "repeated string instructions are good"
/// (`X86_FEATURE_REP_GOOD`), which the kernel says by itself.
///
/// Without it a copied byte costs an instruction, as much more than all around it as on a machine with caches: the
/// self-test compares the copy with the whole call.
const COPIES_WORDS: (&str, &str) = ("max,-erms,-fsrm", "clearcpuid=112");

/// The kernel's command line.
///
/// - A panic reboots at once, which `-no-reboot` turns into the end. Only errors on the console (`quiet`): a message
///   in the middle of a test's line would make it unreadable. On a busy machine the kernel may find the timer too
///   slow to be one, and go without (`no_timer_check`).
/// - `init_on_alloc=0`: Debian's kernels clear every page once more as they hand it out, against bugs of the kernel
///   that are not looked for here. `cryptomgr.notests`: the kernel tries its ciphers at boot.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 quiet no_timer_check init_on_alloc=0 cryptomgr.notests";

fn command(boot: &Boot<'_>) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    let (cpu, told) = if boot.accel == "tcg" && !boot.copies_bytes { COPIES_WORDS } else { ("max", "") };
    match boot.accel {
        "tcg" => qemu.args(EMULATED).args(["-cpu", cpu]),
        other => qemu.args(["-accel", other, "-cpu", "host"]),
    };
    let cpus = boot.cpus.to_string();
    qemu.args(["-smp", &cpus, "-m", "1G"])
        // A serial line for the console, one for what is left behind, and nothing else: no network, no disk, no
        // display.
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-serial")
        .arg(tapes_to(boot.tapes))
        .arg("-kernel")
        .arg(boot.kernel)
        .arg("-initrd")
        .arg(boot.initrd)
        .args(["-append", format!("{COMMAND_LINE} {told}").trim_end()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    qemu
}

/// A serial line into a file. In qemu's options a comma ends a value, unless there are two.
fn tapes_to(file: &Path) -> OsString {
    let mut option = OsString::from("file:");
    for (index, part) in file.as_os_str().as_bytes().split(|byte| *byte == b',').enumerate() {
        option.push(if index > 0 { ",," } else { "" });
        option.push(OsStr::from_bytes(part));
    }
    option
}

/// The lines of the console, read by a thread so that a silent VM cannot hold us.
fn lines(console: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if send.send(clean(&line)).is_err() {
                break;
            }
        }
    });
    receive
}

/// The line without what is meant for a terminal: the firmware clears the screen, a tty ends lines with a
/// carriage return.
fn clean(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                // `ESC [ digits letter`, or `ESC letter`.
                let _ = chars.find(char::is_ascii_alphabetic);
            }
            '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

fn verdict(line: &str) -> Option<Verdict> {
    match line.strip_prefix("init: ")? {
        "success" => Some(Verdict::Success),
        "failure" => Some(Verdict::Failure),
        other => other.strip_prefix("exit ")?.parse().ok().map(Verdict::Exit),
    }
}

/// Waits for a qemu that closed its console, and kills one that did not.
fn reap(child: &mut Child, ended: bool) -> std::io::Result<()> {
    if !ended {
        child.kill()?;
    }
    child.wait().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_verdicts_only_from_lines_of_their_own() {
        assert_eq!(verdict("init: success"), Some(Verdict::Success));
        assert_eq!(verdict("init: failure"), Some(Verdict::Failure));
        assert_eq!(verdict("init: exit 125"), Some(Verdict::Exit(125)));
        assert_eq!(verdict("echo init: success"), None);
        assert_eq!(verdict("init: succes"), None);
    }

    #[test]
    fn a_console_line_loses_its_terminal_codes() {
        assert_eq!(clean("\u{1b}c\u{1b}[?7l\u{1b}[2Jinit: success\r"), "init: success");
        assert_eq!(clean("a\tb"), "a\tb");
    }
}
