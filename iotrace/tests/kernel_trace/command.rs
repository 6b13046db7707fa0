//! `-- CMD`: its status is ours, its children are followed, and it runs as the user behind sudo.

use std::time::Duration;

use iotrace_core::summary::Document;

use crate::trace::{Trace, calls, command, holds};

fn reads(document: &Document) -> u64 {
    document.processes.iter().map(|process| calls(process, "read")).sum()
}

#[test]
#[ignore = "needs root"]
fn its_status_is_ours() {
    let ended = Trace::spawn(&["-q", "--", "sh", "-c", "exit 3"]).end();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    ended.document();
    let ended = Trace::spawn(&["-q", "--", "sh", "-c", "kill -TERM $$"]).end();
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
    assert_eq!(signal, Some(libc::SIGTERM), "{:?} {}", ended.status, ended.stderr);
    ended.document();
}

#[test]
#[ignore = "needs root"]
fn a_command_that_cannot_run_says_why() {
    let missing = Trace::spawn(&["--", "/no/such/command"]).end();
    assert_eq!(missing.status.code(), Some(127), "{}", missing.stderr);
    assert!(missing.stderr.contains("/no/such/command: command not found"), "{}", missing.stderr);
    let refused = Trace::spawn(&["--", "/proc/self/status"]).end();
    assert_eq!(refused.status.code(), Some(126), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot be executed"), "{}", refused.stderr);
    assert!(missing.stdout.is_empty() && refused.stdout.is_empty());
}

/// `sh` waits, and its child reads.
#[test]
#[ignore = "needs root"]
fn children_are_followed_unless_told_not_to() {
    let script = "dd if=/dev/zero of=/dev/null bs=100 count=1234 2>/dev/null; exit 0";
    let followed = Trace::spawn(&["-e", "trace=read", "--", "sh", "-c", script]).end().document();
    let counted = reads(&followed);
    // Those of dd, and what both programs read on their way into life.
    assert!((1234..1260).contains(&counted), "{counted}: {followed:?}");
    let alone = Trace::spawn(&["-e", "trace=read", "--no-follow", "--", "sh", "-c", script]).end();
    let alone: Document = serde_json::from_str(&alone.stdout).expect("one document");
    crate::trace::whole_time(&alone);
    assert!(reads(&alone) < 20 && alone.processes.len() <= 1, "{alone:?}");
}

#[test]
#[ignore = "needs root"]
fn it_runs_as_the_user_behind_sudo() {
    let mut command = command();
    command.args(["trace", "-v", "--format", "json", "--", "sh", "-c", "id -u >&2; id -g >&2"]);
    command.env("SUDO_UID", "65534").env("SUDO_GID", "65534").env("SUDO_USER", "nobody");
    let outcome = Trace::spawn_as(command).end();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("65534\n65534\n"), "{}", outcome.stderr);
}

/// A command that counts its interrupts for a second after the first, and ends with their number.
const COUNTS: &str = "trap 'n=$((n+1))' INT; trap 'exit 40' TERM; n=0; : > \"$0\";
    while [ $n = 0 ]; do sleep 0.01; done; i=0; while [ $i -lt 100 ]; do sleep 0.01; i=$((i+1)); done; exit $n";

/// Sends it something when the command is ready, and returns the status of both.
fn told(trace: Trace, file: &str, tell: impl FnOnce(&Trace)) -> Option<i32> {
    let asked = std::time::Instant::now();
    while !std::path::Path::new(file).exists() {
        assert!(asked.elapsed() < crate::trace::PATIENCE, "the command did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    tell(&trace);
    let outcome = trace.end();
    std::fs::remove_file(file).expect("it was there");
    outcome.document();
    outcome.status.code()
}

/// What is sent to iotrace alone is the command's as well: the signal that was sent, once.
#[test]
#[ignore = "needs root"]
fn signals_are_passed_on() {
    let file = std::env::temp_dir().join(format!("signals-{}", std::process::id()));
    let file = file.to_str().expect("plain");
    let iotrace = || {
        let mut command = command();
        command.args(["trace", "--format", "json", "--tier", "tracepoint", "--", "sh", "-c", COUNTS, file]);
        Trace::spawn_as(command)
    };
    assert_eq!(told(iotrace(), file, |trace| trace.signal(libc::SIGINT)), Some(1));
    assert_eq!(told(iotrace(), file, |trace| trace.signal(libc::SIGTERM)), Some(40));
}

/// A terminal tells both, so iotrace has nothing to pass on.
#[test]
#[ignore = "needs root"]
fn a_terminals_ctrl_c_reaches_a_command_once() {
    use std::io::Write as _;
    use std::os::fd::{AsRawFd as _, FromRawFd as _};
    use std::ptr::null_mut;

    let file = std::env::temp_dir().join(format!("terminal-{}", std::process::id()));
    let file = file.to_str().expect("plain");
    let (mut master, mut slave) = (0, 0);
    // SAFETY: room for two descriptors, which are ours from here on; no name, no settings.
    let (mut master, slave) = unsafe {
        let made = libc::openpty(&raw mut master, &raw mut slave, null_mut(), null_mut(), null_mut());
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        (std::fs::File::from_raw_fd(master), std::fs::File::from_raw_fd(slave))
    };
    let mut command = command();
    command.args(["trace", "--format", "json", "--tier", "tracepoint", "--", "sh", "-c", COUNTS, file]);
    let terminal = slave.as_raw_fd();
    // SAFETY: plain calls between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
            if libc::setsid() < 0 || libc::ioctl(terminal, libc::TIOCSCTTY, 0) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let trace = Trace::spawn_grouped(command);
    let code = told(trace, file, |_| master.write_all(b"\x03").expect("a terminal takes keys"));
    drop(slave);
    assert_eq!(code, Some(1), "interrupts that the command got");
}

/// What a group gets goes to both.
#[test]
#[ignore = "needs root"]
fn ctrl_c_ends_both_and_prints_the_summary() {
    let script = "dd if=/dev/zero of=/dev/null bs=1 count=50 2>/dev/null; echo here >&2; exec sleep 100";
    let trace = Trace::start(&["--", "sh", "-c", script]);
    let iotrace = trace.pid();
    let asked = std::time::Instant::now();
    while !asleep(iotrace) {
        assert!(asked.elapsed() < crate::trace::PATIENCE, "the command did not get to its sleep");
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: the group that iotrace leads, made for this test.
    assert_eq!(unsafe { libc::kill(-iotrace, libc::SIGINT) }, 0);
    let outcome = trace.end();
    let signal = std::os::unix::process::ExitStatusExt::signal(&outcome.status);
    assert_eq!(signal, Some(libc::SIGINT), "{:?} {}", outcome.status, outcome.stderr);
    let document = outcome.document();
    holds(&document);
    assert!(reads(&document) >= 50, "{document:?}");
}

/// Whether a child of the process is called `sleep`.
fn asleep(parent: i32) -> bool {
    let mine = format!("PPid:\t{parent}\n");
    iotrace::host::proc::processes().into_iter().any(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&mine) && status.starts_with("Name:\tsleep\n")
    })
}
