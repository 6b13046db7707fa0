//! Whom: threads, names, cgroups, everybody, and unions of them; and what is said of nobody.

use std::fs;
use std::path::PathBuf;

use iotrace_core::summary::Document;

use crate::children::{Child, name, pipe, read, write};
use crate::trace::{Trace, calls, process, row};

/// A program that writes and reads `times` bytes, under a name.
fn chatter(called: &'static std::ffi::CStr, times: usize) -> Child {
    Child::fork(move |page| {
        name(called);
        let (from, to) = pipe();
        page.gate();
        for _ in 0..times {
            write(to, 1);
            read(from, 1);
        }
    })
}

fn pids(document: &Document) -> Vec<u32> {
    let mut pids: Vec<u32> = document.processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

#[test]
#[ignore = "needs root"]
fn names_cgroups_and_processes_are_a_union_and_nobody_else() {
    let (by_pid, by_name) = (chatter(c"by-pid", 10), chatter(c"by-name", 20));
    let (by_cgroup, nobody) = (chatter(c"by-cgroup", 30), chatter(c"nobody", 40));
    let cgroup = Cgroup::new();
    let below = cgroup.below();
    below.take(by_cgroup.pid);
    let (pid, path) = (by_pid.pid.to_string(), cgroup.path.to_string_lossy().into_owned());
    let trace = Trace::start(&["-p", &pid, "--comm", "by-name", "--cgroup", &path]);
    for child in [&by_pid, &by_name, &by_cgroup, &nobody] {
        child.run();
    }
    let document = trace.stop();
    let mut expected = [&by_pid, &by_name, &by_cgroup].map(|child| child.pid as u32);
    expected.sort_unstable();
    assert_eq!(pids(&document), expected);
    for (child, times) in [(&by_pid, 10), (&by_name, 20), (&by_cgroup, 30)] {
        assert_eq!(row(process(&document, child.pid), "read").calls, times);
    }
    assert_eq!(process(&document, by_name.pid).comm, "by-name");
    drop(by_cgroup);
}

#[test]
#[ignore = "needs root"]
fn a_thread_alone_and_every_thread_apart() {
    let child = Child::fork(|page| {
        let ready = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for number in 1..=3 {
                let ready = &ready;
                scope.spawn(move || {
                    let (from, to) = pipe();
                    // SAFETY: no arguments.
                    page.note(number, unsafe { libc::syscall(libc::SYS_gettid) } as u64);
                    ready.wait();
                    ready.wait();
                    for _ in 0..10 * number {
                        write(to, 1);
                        read(from, 1);
                    }
                });
            }
            ready.wait();
            page.gate();
            ready.wait();
        });
    });
    let tids: Vec<u32> = (1..=3).map(|number| child.page.noted(number) as u32).collect();
    let one = Trace::start(&["-t", &tids[1].to_string(), "-e", "trace=data"]);
    let all = Trace::of(&[child.pid], &["--per", "thread", "-e", "trace=data"]);
    child.run();
    let (one, all) = (one.stop(), all.stop());
    assert_eq!(pids(&one), [child.pid as u32], "the process of the thread");
    assert_eq!(row(&one.processes[0], "read").calls, 20);
    let process = process(&all, child.pid);
    for (number, tid) in (1u64..).zip(&tids) {
        let mine: Vec<_> = process.calls.iter().filter(|call| call.tid == Some(*tid)).collect();
        assert_eq!(mine.len(), 2, "read and write: {mine:?}");
        assert!(mine.iter().all(|call| call.calls == 10 * number), "{mine:?}");
    }
    assert_eq!(process.calls.len(), 6, "{process:?}");
}

#[test]
#[ignore = "needs root"]
fn selections_leave_out_what_they_say() {
    let (from, to) = pipe();
    let child = Child::fork(|page| {
        page.gate();
        for _ in 0..20 {
            write(to, 1);
            read(from, 1);
        }
        // SAFETY: waits for nothing, for 600 ms.
        unsafe { libc::syscall(libc::SYS_poll, 0, 0, 600) };
    });
    let quiet = chatter(c"quiet", 1);
    let pids = format!("{},{}", child.pid, quiet.pid);
    let reads = Trace::start(&["-p", &pids, "-e", "trace=read,poll"]);
    let long = Trace::start(&["-p", &pids, "--min", "500ms"]);
    let first = Trace::start(&["-p", &pids, "--top", "1"]);
    child.run();
    quiet.run();
    let (reads, long, first) = (reads.stop(), long.stop(), first.stop());
    assert_eq!(calls(process(&reads, child.pid), "read"), 20);
    assert!(reads.processes.iter().all(|process| calls(process, "write") == 0));
    // The time of each is told all the same.
    let others = long.processes.iter().filter(|process| process.pid != child.pid as u32);
    assert!(
        others.clone().count() == 1 && others.clone().all(|process| process.calls.is_empty()),
        "{long:?}"
    );
    let process = process(&long, child.pid);
    assert!(process.calls.len() == 1 && row(process, "poll").calls == 1, "{process:?}");
    assert_eq!(first.processes.len(), 1);
    assert_eq!(first.processes[0].pid, child.pid as u32, "the one with the most time in calls");
}

/// A cgroup of our own.
struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = lines.find(|fields| fields.get(2) == Some(&"cgroup2"));
        let mount = mount.expect("cgroup2 is mounted").swap_remove(1).to_owned();
        Self::at(PathBuf::from(mount).join(format!("iotrace-test-{}", std::process::id())))
    }

    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).expect("root may make a cgroup");
        Self { path }
    }

    fn below(&self) -> Self {
        Self::at(self.path.join("below"))
    }

    fn take(&self, pid: i32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("root may move its child");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its members go back to where everybody is; only then can it be removed.
        let procs = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        let parent = self.path.parent().expect("it lies in one");
        for pid in procs.lines() {
            let _ = fs::write(parent.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.path);
    }
}
