//! iotrace, its target, or both in namespaces of their own. Ids are those that `/proc` shows to iotrace, times those of
//! the kernel.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use iotrace_core::domain::WaitsFor;
use iotrace_core::summary::Document;

use crate::children::{Child, Page, pipe, read, readv_one, shared_page, write};
use crate::spaces::{NEWTIME, Spaces, loopback_up};
use crate::support::has;
use crate::trace::{Trace, calls, command, process, row};

const READS: usize = 123;

/// Makes [`READS`] reads of a byte by `readv`, as nobody else here does.
fn reads(page: &Page) {
    let (from, to) = pipe();
    page.gate();
    for _ in 0..READS {
        assert_eq!((write(to, 1), readv_one(from)), (1, 1));
    }
}

fn ended(trace: Trace) -> Document {
    let outcome = trace.end();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    outcome.document()
}

/// Observes `body`, which is process 2 of iotrace's namespace.
fn beside(args: &[&str], body: fn(&Page)) -> Document {
    let (page, mut command) = (shared_page(), Trace::command(args));
    Spaces::PID.around(&mut command, Some((page, body)));
    let trace = Trace::spawn_as(command);
    trace.attached();
    page.let_go();
    ended(trace)
}

#[test]
#[ignore = "needs root"]
fn a_process_of_iotraces_own_pid_namespace_is_found_by_its_number_there() {
    let document = beside(&["-p", "2"], reads);
    assert_eq!(document.processes.len(), 1, "{document:?}");
    assert_eq!(calls(process(&document, 2), "readv"), READS as u64);
    assert!(document.complete, "{document:?}");
}

/// The whole system is what has an id here, and iotrace is not part of it.
#[test]
#[ignore = "needs root"]
fn the_whole_system_ends_at_the_pid_namespace() {
    let outside = Child::fork(|page| {
        let (from, to) = pipe();
        page.gate();
        while page.noted(0) == 0 {
            assert_eq!((write(to, 1), readv_one(from)), (1, 1));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    outside.go();
    let document = beside(&["-a", "-d", "700ms"], |page| {
        reads(page);
        std::thread::sleep(Duration::from_secs(60));
    });
    outside.page.note(0, 1);
    let pids: Vec<u32> = document.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [2], "{document:?}");
    assert_eq!(calls(process(&document, 2), "readv"), READS as u64);
    let said = document.warnings.iter().any(|warning| warning.code == "pid_namespace");
    assert!(said, "{:?}", document.warnings);
}

/// A container below the one that iotrace is in: process 2 starts it, and its first process is 3 for iotrace.
#[test]
#[ignore = "needs root"]
fn a_target_in_a_pid_namespace_below_has_the_number_that_iotrace_sees() {
    fn below(page: &Page) {
        Spaces { flags: libc::CLONE_NEWPID, ..Spaces::default() }.leave();
        // SAFETY: both go on as processes of one thread.
        if unsafe { libc::fork() } == 0 {
            assert_eq!(std::process::id(), 1, "in a namespace of its own");
            reads(page);
            return;
        }
        // SAFETY: our own child.
        unsafe { libc::wait(std::ptr::null_mut()) };
    }
    let document = beside(&["-p", "3"], below);
    assert_eq!(calls(process(&document, 3), "readv"), READS as u64, "{document:?}");
}

/// iotrace outside, the target with two more threads in a container, and their ids as they are seen from outside.
#[test]
#[ignore = "needs root"]
fn threads_of_a_container_have_the_numbers_that_are_seen_from_outside() {
    let host = Child::fork(|page| {
        Spaces { flags: libc::CLONE_NEWPID, ..Spaces::default() }.leave();
        // SAFETY: both go on as processes of one thread.
        let container = unsafe { libc::fork() };
        if container == 0 {
            std::thread::scope(|scope| {
                scope.spawn(|| reads(page));
                scope.spawn(|| reads(page));
                reads(page);
            });
            page.note(1, 1);
            std::thread::sleep(Duration::from_secs(600));
        }
        page.note(0, container as u64);
        while page.noted(1) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: our own child.
        unsafe { libc::kill(container, libc::SIGKILL) };
    });
    while host.page.noted(0) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = host.page.noted(0) as i32;
    let tasks = || {
        let entries = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
        let mut tids: Vec<u32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        tids.sort_unstable();
        tids
    };
    while tasks().len() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let tids = tasks();
    let trace = Trace::of(&[pid], &["--per", "thread", "-e", "trace=readv"]);
    host.run();
    let document = ended(trace);
    let rows = &process(&document, pid).calls;
    let mut seen: Vec<u32> = rows.iter().filter_map(|call| call.tid).collect();
    seen.sort_unstable();
    assert_eq!(seen, tids, "{document:?}");
    assert!(rows.iter().all(|call| call.calls == READS as u64), "{rows:?}");
}

#[test]
#[ignore = "needs root"]
fn a_command_inside_is_traced_with_its_children() {
    let script = "dd if=/dev/zero of=/dev/null bs=100 count=1234 2>/dev/null; exit 4";
    let mut command = Trace::command(&["-e", "trace=read", "--", "sh", "-c", script]);
    Spaces::PID.around(&mut command, None);
    let outcome = Trace::spawn_as(command).end();
    assert_eq!(outcome.status.code(), Some(4), "{}", outcome.stderr);
    let document = outcome.document();
    let counted: u64 = document.processes.iter().map(|process| calls(process, "read")).sum();
    assert!((1234..1260).contains(&counted), "{document:?}");
    // The threads that measure what the probes add have numbers there, too.
    assert!(document.processes.iter().all(|process| process.pid < 100), "{document:?}");
}

/// Ids of an outer namespace would be taken for those of others.
#[test]
#[ignore = "needs root"]
fn the_proc_of_another_pid_namespace_is_refused() {
    let mut command = Trace::command(&["-a", "-d", "100ms"]);
    let spaces = Spaces { flags: libc::CLONE_NEWPID, ..Spaces::default() };
    spaces.around(&mut command, None);
    let outcome = Trace::spawn_as(command).end();
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("--mount-proc"), "{}", outcome.stderr);
}

#[test]
#[ignore = "needs root"]
fn a_run_inside_measures_the_same() {
    let document = run(Spaces::PID);
    let run = &document.runs[0];
    assert!(run.operations.count >= 20, "{run:?}");
}

/// What `run` gives in such namespaces.
fn run(spaces: Spaces) -> Document {
    let mut command = command();
    command.args([
        "run",
        "--model",
        "select",
        "--messages",
        "20",
        "--format",
        "json",
        "--tier",
        "tracepoint",
    ]);
    spaces.around(&mut command, None);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A clock that is a day ahead, and one that is behind.
#[test]
#[ignore = "needs root"]
fn a_time_namespace_changes_no_time() {
    let available = std::path::Path::new("/proc/self/ns/time").exists();
    if !has("time namespaces", (5, 6), available) {
        return;
    }
    for ahead_s in [86_400, -1] {
        let spaces = Spaces { flags: NEWTIME, ahead_s };
        // The sender's clock is compared with that of the probes.
        let document = run(spaces);
        let operations = &document.runs[0].operations;
        assert!(
            operations.count >= 20
                && operations.latency.as_ref().is_some_and(|dist| dist.max_ns < 500_000_000),
            "{operations:?}"
        );
        // A read that is open since before, and for how long.
        let sleeper = Child::fork(|page| {
            let (from, _to) = pipe();
            page.gate();
            read(from, 1);
        });
        sleeper.go();
        std::thread::sleep(Duration::from_millis(100));
        let mut command = Trace::command(&["-p", &sleeper.pid.to_string(), "-d", "300ms"]);
        spaces.around(&mut command, None);
        let document = ended(Trace::spawn_as(command));
        let [open] = &process(&document, sleeper.pid).in_flight[..] else { panic!("{document:?}") };
        assert!((300_000_000..60_000_000_000).contains(&open.at_least_ns), "{open:?}");
        assert!(document.elapsed_ns.abs_diff(open.at_least_ns) < 1_000_000_000, "{document:?}");
    }
}

/// The clock of the target is not asked.
#[test]
#[ignore = "needs root"]
fn a_target_in_a_time_namespace_waits_as_long_as_it_waits() {
    let available = std::path::Path::new("/proc/self/ns/time").exists();
    if !has("time namespaces", (5, 6), available) {
        return;
    }
    let child = Child::fork(|page| {
        Spaces { flags: NEWTIME, ahead_s: 5_000 }.leave();
        // SAFETY: both go on as processes of one thread.
        let inside = unsafe { libc::fork() };
        if inside == 0 {
            let (from, to) = pipe();
            page.gate();
            // SAFETY: the feeder only writes.
            if unsafe { libc::fork() } == 0 {
                std::thread::sleep(Duration::from_millis(200));
                write(to, 1);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
            let began = std::time::Instant::now();
            assert_eq!(readv_one(from), 1);
            page.note(1, began.elapsed().as_nanos() as u64);
            std::thread::sleep(Duration::from_secs(600));
        }
        page.note(0, inside as u64);
        while page.noted(1) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: our own child.
        unsafe { libc::kill(inside, libc::SIGKILL) };
    });
    while child.page.noted(0) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.page.noted(0) as i32;
    let trace = Trace::of(&[pid], &[]);
    child.go();
    // Its process is killed when it has read.
    let document = ended(trace);
    let call = row(process(&document, pid), "readv");
    let truth = child.page.noted(1);
    assert!(call.total_ns <= truth && call.total_ns * 10 > truth * 9, "{truth}: {call:?}");
    assert!(call.wait_ns > 100_000_000, "{call:?}");
}

/// The ports that are listened on, and the paths of sockets, are those of the network namespace of the sockets.
#[test]
#[ignore = "needs root"]
fn sockets_of_another_network_namespace_are_what_they_are_there() {
    let path = std::env::temp_dir().join(format!("iotrace-wild-{}.sock", std::process::id()));
    let bound = path.clone();
    let child = Child::fork(move |page| {
        Spaces { flags: libc::CLONE_NEWNET, ..Spaces::default() }.leave();
        loopback_up();
        let listener = TcpListener::bind("127.0.0.1:7811").expect("nobody else is here");
        let mut made = TcpStream::connect("127.0.0.1:7811").expect("it listens");
        let (mut accepted, _) = listener.accept().expect("it came");
        let receiver = std::os::unix::net::UnixDatagram::bind(&bound).expect("the path is free");
        let sender = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let mut byte = [0];
        page.gate();
        for _ in 0..5 {
            made.write_all(&[1]).expect("it is open");
            accepted.read_exact(&mut byte).expect("it came");
            accepted.write_all(&[1]).expect("it is open");
            made.read_exact(&mut byte).expect("it came");
            sender.send_to(&[1], &bound).expect("it is bound");
            receiver.recv(&mut byte).expect("it came");
        }
        // Open until they were looked at.
        std::thread::sleep(Duration::from_millis(400));
    });
    let trace = Trace::of(&[child.pid], &["--per", "fd"]);
    child.run();
    let document = trace.stop();
    let _ = std::fs::remove_file(&path);
    let rows = &process(&document, child.pid).calls;
    let waits = |local: &str| {
        let mine = |call: &&iotrace_core::summary::Call| {
            let name = call.fd.as_ref().map_or("", |fd| fd.name.as_str());
            call.bytes == 5 && call.syscall != "sendto" && call.syscall != "write" && name.starts_with(local)
        };
        rows.iter().filter(mine).map(|call| call.waits_for).collect::<Vec<_>>()
    };
    assert_eq!(waits("127.0.0.1:7811 <-> "), [Some(WaitsFor::NextRequest)], "{rows:?}");
    let replies = rows.iter().filter(|call| call.waits_for == Some(WaitsFor::Reply)).count();
    assert_eq!(replies, 1, "{rows:?}");
    assert_eq!(waits(path.to_str().expect("text")), [None], "{rows:?}");
}

#[test]
#[ignore = "needs root"]
fn doctor_says_which_namespaces_it_is_in() {
    let doctor = |spaces: Spaces| {
        let mut command: Command = command();
        command.args(["doctor", "--format", "json"]);
        spaces.around(&mut command, None);
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        let document: Document = serde_json::from_slice(&output.stdout).expect("one document");
        let finding = |name: &str| {
            let found = document.findings.iter().find(|finding| finding.name == name);
            found.map(|finding| finding.reason.clone()).unwrap_or_default()
        };
        (finding("pid namespace"), finding("time namespace"))
    };
    assert!(doctor(Spaces::default()).0.contains("initial"));
    assert!(doctor(Spaces::PID).0.contains("container"));
    if std::path::Path::new("/proc/self/ns/time").exists() {
        let time = doctor(Spaces { flags: NEWTIME, ahead_s: 60 }).1;
        assert!(time.contains("60000000000 ns ahead"), "{time}");
    }
}
