//! What the user has in the end, whatever becomes of the outputs and of the terminal: the result, the command, its status.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, pipe};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iotrace_core::summary::Document;

use crate::trace::command;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

fn trace(args: &[&str]) -> Command {
    let mut trace = command();
    trace.args(["trace", "--tier", "tracepoint"]).args(args).stdin(Stdio::null());
    trace
}

/// Its exit code; fails if it does not end.
fn code(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            return status.code();
        }
        if began.elapsed() > SOON {
            child.kill().expect("our own child");
            panic!("iotrace did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("iotrace-kept-{name}-{}", std::process::id()))
}

/// `| head -1`: the command neither dies nor stops, and its status is passed on.
#[test]
#[ignore = "needs root"]
fn a_command_outlives_the_reader_of_its_results() {
    let mark = scratch("mark");
    let script = format!("sleep 1; echo done > {}; exit 7", mark.display());
    let mut child = trace(&["-i", "100ms", "--format", "json", "--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a pipe can be read");
    let document: Document = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    crate::trace::whole_time(&document);
    assert_eq!(code(&mut child), Some(7));
    assert_eq!(fs::read(&mark).expect("the command came to its end"), b"done\n");
    fs::remove_file(mark).expect("it can be removed");
}

/// No room for results of intervals, and stderr is as full: the command ends as it would; where it succeeds, the lost
/// result is a failure.
#[test]
#[ignore = "needs root"]
fn a_command_outlives_a_full_disk() {
    for (status, expected) in [("3", 3), ("0", 1)] {
        let full = || File::options().write(true).open("/dev/full").expect("there is one");
        let script = format!("sleep 0.5; exit {status}");
        let mut child = trace(&["-i", "100ms", "--", "sh", "-c", &script])
            .stdout(full())
            .stderr(full())
            .spawn()
            .expect("it starts");
        assert_eq!(code(&mut child), Some(expected));
    }
}

/// Nobody reads stdout or stderr, and the time is up or a signal comes.
#[test]
#[ignore = "needs root"]
fn nobody_who_does_not_read_keeps_a_trace() {
    for signal in [None, Some(libc::SIGTERM)] {
        let (_reader, mut writer) = pipe().expect("a pipe");
        writer.write_all(&[0; 65_536]).expect("an empty pipe takes as much");
        let stderr = writer.try_clone().expect("there are descriptors");
        let time: &[&str] = if signal.is_none() { &["-d", "300ms"] } else { &[] };
        let pid = std::process::id().to_string();
        let args = [&["-p", &pid, "-i", "100ms", "-v"], time].concat();
        let mut child = trace(&args).stdout(writer).stderr(stderr).spawn().expect("it starts");
        if let Some(number) = signal {
            std::thread::sleep(Duration::from_secs(2));
            // SAFETY: our own child, not waited for yet.
            assert_eq!(unsafe { libc::kill(child.id() as i32, number) }, 0);
        }
        assert_eq!(code(&mut child), Some(1), "{signal:?}");
    }
}

/// The terminal goes: SIGHUP. The result is in its file.
#[test]
#[ignore = "needs root"]
fn a_hangup_costs_no_result() {
    let file = scratch("hangup.json");
    let pid = std::process::id().to_string();
    let args = ["-p", &pid, "-v", "--format", "json", "-o", file.to_str().expect("UTF-8")];
    let mut child = trace(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    said.read_line(&mut line).expect("a pipe can be read");
    assert!(line.starts_with("attached in"), "{line}");
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGHUP) }, 0);
    assert_eq!(code(&mut child), Some(0));
    let document: Document =
        serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("a result");
    assert_eq!(document.command, "trace");
    fs::remove_file(file).expect("it can be removed");
}

/// Who started iotrace ignores SIGCHLD, which execve keeps: the command's status is known all the same, and the command
/// ignores it as it would have.
#[test]
#[ignore = "needs root"]
fn a_caller_who_ignores_sigchld_gets_the_status() {
    // Not by a shell, which has an action of its own. 2: one of the files is not there.
    let mut trace = trace(&["--", "grep", "-hs", "SigIgn", "/proc/self/status", "/nowhere"]);
    // SAFETY: sigaction is async-signal-safe, and the action is a constant.
    unsafe {
        trace.pre_exec(|| {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            Ok(())
        });
    }
    let ran = trace.output().expect("it starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    let ignored = printed.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("grep said it");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    assert_ne!(ignored & 1 << (libc::SIGCHLD - 1), 0, "{said}");
    assert!(printed.contains("iotrace trace"), "{printed}");
}
