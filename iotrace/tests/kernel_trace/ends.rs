//! How it ends, what an interval is, and what is said when there is nothing to show.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use iotrace_core::summary::Document;

use crate::attempts;
use crate::children::{Child, pipe, read, write};
use crate::trace::{Trace, binary, calls, command, holds, process};

/// Reads every millisecond until it is killed.
fn reader() -> Child {
    Child::fork(|page| {
        let (from, to) = pipe();
        page.gate();
        loop {
            write(to, 1);
            read(from, 1);
            page.note(0, page.noted(0) + 1);
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

#[test]
#[ignore = "needs root"]
fn intervals_add_up_to_the_whole_and_the_whole_comes_last() {
    let child = reader();
    let trace = Trace::of(&[child.pid], &["-i", "200ms", "-d", "1300ms"]);
    child.go();
    let outcome = trace.end();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let lines: Vec<Document> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    lines.iter().for_each(holds);
    let (whole, parts) = lines.split_last().expect("at least the whole");
    assert!((3..=7).contains(&parts.len()), "{} intervals of 200 ms in 1.3 s", parts.len());
    let sum = |count: fn(&iotrace_core::summary::Call) -> u64| {
        let of = |document: &Document| {
            document.processes.iter().flat_map(|process| &process.calls).map(count).sum::<u64>()
        };
        (parts.iter().map(of).sum::<u64>(), of(whole))
    };
    for (what, (parts, whole)) in [
        ("calls", sum(|call| call.calls)),
        ("bytes", sum(|call| call.bytes)),
        ("time", sum(|call| call.total_ns)),
    ] {
        assert_eq!(parts, whole, "{what}");
    }
    let elapsed: u64 = parts.iter().map(|part| part.elapsed_ns).sum();
    assert!(elapsed <= whole.elapsed_ns && elapsed * 10 > whole.elapsed_ns * 7, "{elapsed} {whole:?}");
    assert!(calls(process(whole, child.pid), "read") > 50);
}

#[test]
#[ignore = "needs root"]
fn a_signal_or_the_time_ends_it_with_the_summary() {
    let child = reader();
    child.go();
    let terminated = Trace::of(&[child.pid], &[]);
    let timed = Trace::of(&[child.pid], &["-d", "300ms"]);
    let before = child.page.noted(0);
    let timed = timed.end();
    std::thread::sleep(Duration::from_millis(100));
    terminated.signal(libc::SIGTERM);
    let outcome = terminated.end();
    let counted = child.page.noted(0) - before;
    for outcome in [&timed, &outcome] {
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
        assert!(calls(process(&outcome.document(), child.pid), "read") > 0);
    }
    assert!(calls(process(&outcome.document(), child.pid), "read") + 5 >= counted);
}

/// Asked for are 300 ms each on an idle machine. Others may be at work beside this test, and a VM is twenty
/// times as slow.
#[test]
#[ignore = "needs root"]
fn it_begins_and_ends_promptly() {
    // Under emulation each instruction is 2 ns, and 7.2 verifies its programs in 5 s of these.
    let slow = if crate::in_vm() { 27 } else { 3 };
    let child = reader();
    child.go();
    attempts::until(5, "a CPU may be shared less fairly after it was asked for", |_| {
        let share = share_of_cpu();
        let allowed = Duration::from_millis(300).mul_f64(f64::from(slow) / share);
        let asked = Instant::now();
        let trace = Trace::of(&[child.pid], &[]);
        let attached = asked.elapsed();
        std::thread::sleep(Duration::from_millis(200));
        let asked = Instant::now();
        trace.stop();
        let ended = asked.elapsed();
        if attached < allowed && ended < allowed {
            return Ok(());
        }
        Err(format!("attached in {attached:?}, ended in {ended:?}, with {share:.2} of a CPU"))
    });
}

/// How much of a CPU a busy thread gets here at the moment.
fn share_of_cpu() -> f64 {
    let cpu = || {
        // SAFETY: room for the answer.
        unsafe {
            let mut time: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        }
    };
    let (asked, before) = (Instant::now(), cpu());
    while cpu() - before < Duration::from_millis(30) {
        std::hint::spin_loop();
    }
    30e-3 / asked.elapsed().as_secs_f64()
}

#[test]
#[ignore = "needs root"]
fn a_target_that_exits_ends_it() {
    let child = Child::fork(|page| {
        let (from, to) = pipe();
        page.gate();
        for _ in 0..10 {
            write(to, 1);
            read(from, 1);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    let pid = child.pid;
    child.run();
    child.leave();
    let outcome = trace.end();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let document = outcome.document();
    assert!(document.complete && calls(process(&document, pid), "read") == 10, "{document:?}");
}

/// Runs iotrace to its end and returns its code and what it said.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let out = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(out.stdout.is_empty(), "no result: {}", String::from_utf8_lossy(&out.stdout));
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

fn iotrace(args: &[&str]) -> Command {
    let mut command = command();
    command.arg("trace").args(args);
    command
}

#[test]
#[ignore = "needs root"]
fn who_is_not_there_is_said_with_what_to_do() {
    let (code, said) = refused(&mut iotrace(&["-p", "4194304"]));
    assert!(code == Some(1) && said.contains("no process 4194304"), "{said}");
    let (code, said) = refused(&mut iotrace(&[]));
    assert!(code == Some(2) && said.contains("no target given") && said.contains("-a"), "{said}");
    let (code, said) = refused(&mut iotrace(&["--cgroup", "/no/such/cgroup"]));
    assert!(code == Some(1) && said.contains("no cgroup /no/such/cgroup"), "{said}");
    // A thread that is no process.
    let (say, tell) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // SAFETY: no arguments.
        say.send(unsafe { libc::syscall(libc::SYS_gettid) }).expect("somebody listens");
        let _ = wait.recv();
    });
    let tid = tell.recv().expect("it lives").to_string();
    let (code, said) = refused(&mut iotrace(&["-p", &tid]));
    drop(end);
    thread.join().expect("it only waits");
    assert!(code == Some(1) && said.contains(&format!("-t {tid}")), "{said}");
    assert!(said.contains(&format!("-p {}", std::process::id())), "{said}");
}

/// The number that a container shows for its own process.
#[test]
#[ignore = "needs root"]
fn a_process_of_another_namespace_is_named_by_its_number_here() {
    let inner = (2..30_000).rev().find(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    let inner: i32 = inner.expect("a number that nobody here has");
    let child = Child::fork(|page| {
        // SAFETY: plain calls; both children only sleep, and end with this one.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_NEWPID), 0, "{}", std::io::Error::last_os_error());
            let first = libc::fork();
            if first == 0 {
                sleep_until_orphaned();
            }
            let mut arguments: libc::clone_args = std::mem::zeroed();
            arguments.exit_signal = libc::SIGCHLD as u64;
            arguments.set_tid = (&raw const inner) as u64;
            arguments.set_tid_size = 1;
            let size = size_of::<libc::clone_args>();
            let second = libc::syscall(libc::SYS_clone3, &raw mut arguments, size);
            if second == 0 {
                sleep_until_orphaned();
            }
            assert!(second > 0, "{}", std::io::Error::last_os_error());
            page.note(0, second as u64);
        }
        page.gate();
    });
    let outer = child.page.noted(0);
    let (code, said) = refused(&mut iotrace(&["-p", &inner.to_string()]));
    assert!(code == Some(1) && said.contains(&format!("no process {inner} here")), "{said}");
    assert!(said.contains("pid namespace") && said.contains(&format!("use -p {outer}")), "{said}");
}

fn sleep_until_orphaned() -> ! {
    // SAFETY: plain calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        loop {
            libc::sleep(1);
        }
    }
}

/// Everybody may ask; only root gets an answer.
#[test]
#[ignore = "needs root"]
fn without_rights_it_says_which() {
    use std::os::unix::process::CommandExt;
    // The binary may lie where nobody else may look: it is opened beforehand.
    let file = std::fs::File::open(binary()).expect("it is there");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let mut as_nobody = Command::new(format!("/proc/self/fd/{fd}"));
    as_nobody.args(["trace", "-a", "-d", "100ms"]);
    // SAFETY: two plain calls between fork and exec.
    unsafe {
        as_nobody.pre_exec(move || {
            libc::fcntl(fd, libc::F_SETFD, 0);
            Ok(())
        });
    }
    as_nobody.uid(65534).gid(65534);
    let (code, said) = refused(&mut as_nobody);
    assert!(code == Some(1) && said.contains("sudo") && said.contains("CAP_BPF"), "{said}");
}

/// The reason differs, and is never missing (`holds` looks for it).
#[test]
#[ignore = "needs root"]
fn nothing_seen_always_has_its_reason() {
    let silent = Child::fork(super::children::Page::gate);
    let pid = silent.pid.to_string();
    for (args, reason) in [
        (vec!["-p", &pid], "entered no traced call"),
        (vec!["--comm", "no-such-name"], "no thread matched"),
        (vec!["-p", &pid, "-e", "trace=read"], "no call passed -e and --min"),
    ] {
        let outcome = Trace::spawn(&[&args[..], &["-d", "100ms"]].concat()).end();
        let document = outcome.document();
        let why =
            document.warnings.iter().find(|warning| warning.code == "nothing_seen").expect("it is said");
        assert!(why.text.contains(reason), "{args:?}: {}", why.text);
    }
}
