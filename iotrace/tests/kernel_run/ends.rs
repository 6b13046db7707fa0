//! However it ends, nothing is left: no program in the kernel, no process. And that it starts quickly.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use iotrace_core::summary::Document;

use crate::program::{Ran, Started, command, iotrace};
use crate::{attempts, in_vm};

/// For what must come soon, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Waits until `found` finds something.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(began.elapsed() < SOON, "waited in vain for {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Parent of every process that is not a zombie.
fn parents() -> HashMap<u32, u32> {
    let numbers = fs::read_dir("/proc").expect("/proc is mounted").filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (words.next()?, words.next()?.parse().ok()?);
        (state != "Z" && state != "X").then_some((pid, parent))
    });
    numbers.collect()
}

/// A run whose workload is under way.
struct Running {
    iotrace: Started,
    reader: u32,
    peer: u32,
    programs: HashSet<u32>,
}

impl Running {
    /// Starts iotrace, and waits until the peer of the `nth` workload is there.
    fn start(command: &mut Command, nth: usize) -> Self {
        let iotrace = Started::new(command);
        let pid = iotrace.child.id();
        let mut readers = Vec::new();
        let (reader, peer) = wait_for("the workload and its peer", || {
            let parents = parents();
            let reader = *parents.iter().find(|(_, parent)| **parent == pid)?.0;
            let peer = *parents.iter().find(|(_, parent)| **parent == reader)?.0;
            if !readers.contains(&reader) {
                readers.push(reader);
            }
            (readers.len() == nth).then_some((reader, peer))
        });
        let programs = programs_of(pid);
        assert!(programs.len() >= 5, "the required probes at least: {programs:?}");
        Self { iotrace, reader, peer, programs }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: our own child, not waited for yet, so the number is still its.
        assert_eq!(unsafe { libc::kill(self.iotrace.child.id() as i32, signal) }, 0);
    }

    /// Waits for the end and for everything to go away.
    fn end(mut self) -> Ran {
        self.iotrace.status();
        // Before its output is read to the end, which a workload that is left would hold open.
        let deadline = Instant::now() + SOON;
        while self.is_anything_left() {
            if Instant::now() > deadline {
                self.kill_what_is_left();
                panic!("the workload {} or its peer {} is left", self.reader, self.peer);
            }
            sleep(Duration::from_millis(2));
        }
        let programs = self.programs;
        wait_for("the programs to be unloaded", || loaded().is_disjoint(&programs).then_some(()));
        self.iotrace.end()
    }

    fn is_anything_left(&self) -> bool {
        let parents = parents();
        parents.contains_key(&self.reader) || parents.contains_key(&self.peer)
    }

    fn kill_what_is_left(&self) {
        for pid in [self.reader, self.peer] {
            // SAFETY: seen to be there a moment ago, as it has been since iotrace started it.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    }
}

/// Programs that a process holds, by what the kernel says of its descriptors.
fn programs_of(pid: u32) -> HashSet<u32> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs").filter_map(|entry| {
        let text = fs::read_to_string(entry.ok()?.path()).ok()?;
        text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
    });
    infos.collect()
}

/// Programs that are loaded, whoever loaded them.
fn loaded() -> HashSet<u32> {
    aya::programs::loaded_programs().filter_map(|program| Some(program.ok()?.id())).collect()
}

/// A run of a second or more.
fn long(models: &str) -> Command {
    run(models, "600", "2ms")
}

/// A run that only ends within the time of a test if somebody ends it.
fn endless(model: &str) -> Command {
    run(model, "100000", "50ms")
}

fn run(models: &str, messages: &str, interval: &str) -> Command {
    let mut command = command();
    command.args([
        "run",
        "--format",
        "json",
        "--messages",
        messages,
        "--interval",
        interval,
        // Hooks take seconds to attach under emulation, and end nothing in another way.
        "--tier",
        "tracepoint",
        "--model",
        models,
    ]);
    command
}

#[test]
#[ignore = "needs root"]
fn nothing_is_left_after_the_end() {
    let running = Running::start(&mut long("select"), 1);
    assert!(running.programs.is_subset(&loaded()), "the test looks at the right ones");
    let open = fs::read_dir(format!("/proc/{}/fd", running.iotrace.child.id())).expect("it runs").count();
    assert!(open < 100, "{open} descriptors");
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
#[ignore = "needs root"]
fn an_interrupt_before_anything_was_measured_says_so() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let running = Running::start(&mut endless("blocking"), 1);
        running.signal(signal);
        let ran = running.end();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran:?}");
        assert!(ran.stderr.contains("interrupted"), "{ran:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn an_interrupt_prints_what_was_measured() {
    let running = Running::start(&mut long("blocking,epoll"), 2);
    running.signal(libc::SIGINT);
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let document: Document =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(document.runs.len(), 1, "{document:?}");
    let count = document.runs[0].operations.count;
    assert!(count == 600 || (count > 500 && !document.complete), "{document:?}");
    assert!(document.warnings.iter().any(|warning| warning.code == "interrupted"), "{document:?}");
}

#[test]
#[ignore = "needs root"]
fn an_interrupt_while_probes_are_attached_is_one_as_well() {
    let iotrace = Started::new(&mut endless("blocking"));
    let pid = iotrace.child.id();
    wait_for("the first program", || (!programs_of(pid).is_empty()).then_some(()));
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGINT) }, 0);
    let ran = iotrace.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran:?}");
}

/// Between two models nobody watches a workload, and the next is being attached.
#[test]
#[ignore = "needs root"]
fn an_interrupt_between_two_models_is_not_lost() {
    let running = Running::start(&mut long("blocking,epoll"), 1);
    wait_for("the end of the first model", || (!parents().contains_key(&running.reader)).then_some(()));
    running.signal(libc::SIGINT);
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let document: Document = serde_json::from_str(&ran.stdout).expect("what was measured");
    assert_eq!(document.runs.len(), 1, "{document:?}");
}

/// Ctrl-C on a terminal is a signal to all: iotrace, the workload and its peer.
#[test]
#[ignore = "needs root"]
fn an_interrupt_from_a_terminal_is_no_failure_of_the_workload() {
    let running = Running::start(endless("blocking").process_group(0), 1);
    // SAFETY: the group of our own child, which was just made for it.
    assert_eq!(unsafe { libc::kill(-(running.iotrace.child.id() as i32), libc::SIGINT) }, 0);
    let ran = running.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran:?}");
}

#[test]
#[ignore = "needs root"]
fn nothing_is_left_when_iotrace_is_killed() {
    // A reader that sleeps, one that spins, one with helper threads, and one with a kernel thread.
    for model in ["blocking", "nonblocking", "posix-aio", "io-uring-sqpoll"] {
        let running = Running::start(&mut endless(model), 1);
        running.signal(libc::SIGKILL);
        let ran = running.end();
        assert_eq!((ran.code, ran.stdout.as_str()), (None, ""), "{ran:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_killed_workload_is_an_error_with_its_reason() {
    let running = Running::start(&mut endless("blocking"), 1);
    // SAFETY: a process of our own child's, seen a moment ago and not about to end.
    assert_eq!(unsafe { libc::kill(running.reader as i32, libc::SIGKILL) }, 0);
    let ran = running.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("blocking"), "{ran:?}");
}

#[test]
#[ignore = "needs root"]
fn the_workload_and_the_file_belong_to_the_user_behind_sudo() {
    let directory = std::env::temp_dir().join(format!("iotrace-ends-{}", std::process::id()));
    fs::create_dir(&directory).expect("a fresh directory");
    // A file that the user could not have made is not theirs.
    std::os::unix::fs::chown(&directory, Some(65_534), Some(65_534)).expect("root may");
    let file = directory.join("result.json");
    let mut command = long("select");
    command.env("SUDO_UID", "65534").env("SUDO_GID", "65534").env("SUDO_USER", "nobody").arg("-o").arg(&file);
    let running = Running::start(&mut command, 1);
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}")).expect("it runs").uid();
    // Having changed its user, a process belongs to root until it executes; it sends, so it has.
    let status = fs::read_to_string(format!("/proc/{}/status", running.reader)).expect("it runs");
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    assert!(status.contains("Gid:\t65534\t65534\t65534\t65534"), "{status}");
    assert_eq!(owner(running.iotrace.child.id()), 0, "iotrace itself stays what it was");
    let ran = running.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let metadata = fs::metadata(&file).expect("the result");
    assert_eq!((metadata.uid(), metadata.gid()), (65_534, 65_534));
    let document: Document =
        serde_json::from_slice(&fs::read(&file).expect("the result")).expect("a whole document");
    assert_eq!(document.runs.len(), 1, "{document:?}");
    let names = fs::read_dir(&directory).expect("the directory").count();
    fs::remove_dir_all(&directory).expect("the directory");
    assert_eq!(names, 1, "the result, and no part of it");
}

/// Attaching is quick: 300 ms at most. Other users of the machine only ever make it slower, so one of a few is
/// enough; in a VM the emulation decides.
#[test]
#[ignore = "needs root"]
fn probes_are_attached_within_300_ms() {
    if in_vm() {
        return;
    }
    attempts::until(5, "others on the machine make it slower", |_| {
        let said = attached_in();
        let quick = said.strip_suffix("ms").and_then(|ms| ms.parse().ok()).is_some_and(|ms: u32| ms < 300);
        if quick { Ok(()) } else { Err(said) }
    });
}

fn attached_in() -> String {
    let ran = iotrace(["run", "-v", "--model", "io-uring", "--messages", "1"]);
    let time = ran.stderr.split_once("attached in ").and_then(|(_, rest)| rest.split(':').next());
    time.unwrap_or_else(|| panic!("{ran:?}")).to_owned()
}

/// The whole comparison is a matter of seconds; in a VM the emulation decides.
#[test]
#[ignore = "needs root"]
fn all_models_take_less_than_10_s() {
    if in_vm() {
        return;
    }
    let began = Instant::now();
    let ran = iotrace(["run", "--model", "all", "--messages", "50", "--format", "json"]);
    let took = began.elapsed();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let document: Document = serde_json::from_str(&ran.stdout).expect("a document");
    assert_eq!(document.runs.len(), iotrace_core::domain::model::Model::ALL.len(), "{:?}", document.warnings);
    assert!(took < Duration::from_secs(10), "{took:?}");
}
