//! The user's command: it lives on whatever happens to iotrace, and its status is iotrace's.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::trace::{PATIENCE, Trace, binary};

/// A file of one test, removed with it.
struct Mark(PathBuf);

impl Mark {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("iotrace-{name}-{}", std::process::id())))
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// Waits for it, and returns what is in it, a line.
    fn line(&self, what: &str) -> String {
        let asked = Instant::now();
        loop {
            let text = fs::read_to_string(&self.0).unwrap_or_default();
            if text.ends_with('\n') {
                return text.trim().to_owned();
            }
            assert!(asked.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

fn status_of(pid: impl std::fmt::Display) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs")
}

fn field(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key}: {status}")).trim().to_owned()
}

/// `-i ... | head -1`: the reader goes, and the command does not.
#[test]
#[ignore = "needs root"]
fn a_reader_that_goes_away_does_not_cost_the_command() {
    let (done, go) = (Mark::new("done"), Mark::new("go"));
    let script = "while [ ! -e $0 ]; do sleep 0.02; done; echo done > $1; exit 7";
    let mut child = Command::new(binary())
        .args(["trace", "-i", "50ms", "--format", "json", "--tier", "tracepoint", "--"])
        .args(["sh", "-c", script, &go.text(), &done.text()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut out = child.stdout.take().expect("it was piped");
    out.read_exact(&mut [0; 20]).expect("the first interval");
    drop(out);
    let mut err = child.stderr.take().expect("it was piped");
    let mut said = Vec::new();
    // What it says last before it waits.
    while !String::from_utf8_lossy(&said).contains("the command goes on as process") {
        let mut some = [0; 256];
        let got = err.read(&mut some).expect("a pipe can be read");
        assert!(got > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..got]);
    }
    assert!(child.try_wait().expect("our own child").is_none(), "it waits for the command");
    fs::write(&go.0, "").expect("a temporary file");
    assert_eq!(done.line("the command came to its end"), "done");
    assert_eq!(child.wait().expect("our own child").code(), Some(7), "the command's status");
}

/// What is sent to iotrace and meant for the command reaches it, and a tape is no business of an iotrace in it. The
/// real-time signals stand for what only a program knows.
#[test]
#[ignore = "needs root"]
fn signals_of_the_commands_own_reach_it() {
    let (ready, tape, result) = (Mark::new("ready"), Mark::new("tape"), Mark::new("of-own"));
    let script = "trap 'got=$got-usr1' USR1; trap '[ x$got = x-usr1 ] && exit 9; exit 8' RTMIN; \
                  [ -z $IOTRACE_TAPE ] || exit 7; echo ready > $0; while :; do sleep 0.02; done";
    let mut child = Command::new(binary())
        .args(["trace", "--tier", "tracepoint", "--format", "json", "-o", &result.text()])
        .args(["--", "bash", "-c", script, &ready.text()])
        .env("IOTRACE_TAPE", &tape.0)
        .spawn()
        .expect("the binary starts");
    assert_eq!(ready.line("the command runs"), "ready");
    for signal in [libc::SIGUSR1, libc::SIGRTMIN()] {
        // SAFETY: our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(child.wait().expect("our own child").code(), Some(9), "both signals came, in turn");
    assert!(fs::metadata(&result.0).is_ok_and(|file| file.len() > 0), "the result");
    assert!(fs::metadata(&tape.0).is_ok_and(|file| file.len() > 0), "the tape");
}

/// The second signal ends tracing, with the result; the third leaves the command. Meanwhile iotrace has few
/// capabilities, and the command has those that it would have had.
#[test]
#[ignore = "needs root"]
fn asking_again_ends_tracing_and_a_third_time_leaves_the_command() {
    let mark = Mark::new("stubborn");
    // It does not hold the pipe that is read to iotrace's end.
    let script = "trap '' INT; exec > /dev/null 2>&1; echo $$ > $0; while :; do sleep 0.05; done";
    let mut started = Trace::command(&["--", "sh", "-c", script, &mark.text()]);
    // A tape is a file, for which iotrace keeps more.
    started.env_remove("IOTRACE_TAPE");
    let trace = Trace::spawn_as(started);
    let pid: i32 = mark.line("the command began").parse().expect("a number");
    let (iotrace, command) = (status_of(trace.pid()), status_of(pid));
    let kept = u64::from_str_radix(&field(&iotrace, "CapPrm:"), 16).expect("hexadecimal");
    // CAP_KILL and CAP_SYS_PTRACE: this test runs on this machine alone, whose kernel needs no more.
    assert_eq!(kept, 1 << 5 | 1 << 19, "{iotrace}");
    assert_eq!(
        (field(&iotrace, "CapEff:"), field(&iotrace, "NoNewPrivs:")),
        (format!("{kept:016x}"), "1".into())
    );
    assert_eq!(field(&command, "CapPrm:"), field(&status_of("self"), "CapPrm:"));
    assert_eq!(field(&command, "NoNewPrivs:"), "0");
    trace.signal(libc::SIGINT);
    trace.signal_when_handled(libc::SIGINT);
    trace.signal_when_said("the command goes on as process", libc::SIGINT);
    let outcome = trace.end();
    let alive = field(&status_of(pid), "State:");
    // SAFETY: the command that this test started, by its own word; it was not waited for by anybody else than init.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(outcome.status.code(), Some(130), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains(&format!("left the command, which goes on as process {pid}")),
        "{}",
        outcome.stderr
    );
    assert!(!alive.starts_with('Z'), "{alive}");
    assert!(
        outcome.document().processes.iter().any(|process| process.pid == pid as u32),
        "{}",
        outcome.stdout
    );
}

/// `-d` says that the command goes on. A core that iotrace might leave for it is another test's (`running.rs`).
#[test]
#[ignore = "needs root"]
fn the_time_is_up_and_that_is_said() {
    let mark = Mark::new("time");
    let trace = Trace::start(&[
        "-d",
        "100ms",
        "--",
        "sh",
        "-c",
        "echo $$ > $0; exec sleep 100 > /dev/null 2>&1",
        &mark.text(),
    ]);
    let pid: i32 = mark.line("the command began").parse().expect("a number");
    let outcome = trace.end();
    let state = field(&status_of(pid), "State:");
    // SAFETY: the command that this test started, by its own word.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("the command goes on as process {pid}")), "{}", outcome.stderr);
    assert!(state.starts_with('S') || state.starts_with('R'), "{state}");
}
