//! Planted: a quota of CPU time, of a cgroup of our own; and such cgroups, for other limits, too.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use iotrace_core::summary::Code;

use crate::children::Child;
use crate::programs::{busy, nanosleep, on_one_cpu};
use crate::trace::{Trace, process};

/// CPU time that the cgroup may use in each period, us.
const QUOTA_US: u32 = 20_000;
/// The period, us.
const PERIOD_US: u32 = 100_000;
const LONG: Duration = Duration::from_millis(1500);

/// A limit in both versions of cgroups: the controller, and what is written to which files.
pub struct Limit<'a> {
    pub unified: (&'a str, &'a [(&'a str, String)]),
    pub first: (&'a str, &'a [(&'a str, String)]),
}

/// A cgroup with a limit, of the version whose hierarchy has the controller; removed when dropped.
pub struct Limited {
    path: PathBuf,
    below: PathBuf,
}

impl Limited {
    /// `None`: no mounted hierarchy has the controller, or it refuses the limit.
    pub fn new(limit: &Limit) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
        let mounted = |kind: &str, option: &str| {
            let all = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let has = |of: &Vec<&str>| option.is_empty() || of[3].split(',').any(|one| one == option);
            all.filter(|of| of.len() > 3 && of[2] == kind).find(has).map(|of| PathBuf::from(of[1]))
        };
        let unified = mounted("cgroup2", "").filter(|mount| {
            let all = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            let wanted = limit.unified.0;
            all.split_whitespace().any(|one| one == wanted)
                && fs::write(mount.join("cgroup.subtree_control"), format!("+{wanted}")).is_ok()
        });
        let (mount, files) = match unified {
            Some(mount) => (mount, limit.unified.1),
            None => (mounted("cgroup", limit.first.0)?, limit.first.1),
        };
        let path = mount.join(format!("iotrace-limit-{}-{}", limit.unified.0, std::process::id()));
        let below = path.join("below");
        fs::create_dir(&path).expect("root may make a cgroup");
        let made = Self { path, below };
        for (file, value) in files {
            fs::write(made.path.join(file), value).ok()?;
        }
        fs::create_dir(&made.below).expect("root may make a cgroup");
        Some(made)
    }

    /// Moves a child into it.
    pub fn take(&self, child: &Child) {
        fs::write(self.path.join("cgroup.procs"), child.pid.to_string()).expect("root may move its child");
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Its members go back to where everybody is; only then can it be removed.
        let parent = self.path.parent().expect("it lies in one");
        for path in [&self.below, &self.path] {
            for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = fs::write(parent.join("cgroup.procs"), pid);
            }
            let _ = fs::remove_dir(path);
        }
    }
}

/// Moves a child into a cgroup below, of which the limit is the one above.
fn take(limited: &Limited, child: &Child) {
    fs::write(limited.below.join("cgroup.procs"), child.pid.to_string()).expect("root may move its child");
}

/// One computes in a cgroup below the one with the quota; one sleeps in the same cgroup; one computes outside, on the
/// CPU of a neighbour that computes as much.
#[test]
#[ignore = "needs root and eBPF"]
fn a_quota_is_told_of_whom_it_holds_back_and_of_nobody_else() {
    let files = [("cpu.max", format!("{QUOTA_US} {PERIOD_US}"))];
    let first = [("cpu.cfs_period_us", PERIOD_US.to_string()), ("cpu.cfs_quota_us", QUOTA_US.to_string())];
    let limit = Limit { unified: ("cpu", &files), first: ("cpu", &first) };
    let Some(limited) = Limited::new(&limit) else {
        // Past libtest, which shows what a test prints only when it fails.
        writeln!(std::io::stderr(), "skipped: no mounted cgroup hierarchy can limit the CPU")
            .expect("stderr is open");
        return;
    };
    let computes = || {
        Child::fork(|page| {
            page.gate();
            busy(LONG);
        })
    };
    let crowded = || {
        Child::fork(|page| {
            on_one_cpu();
            page.gate();
            busy(LONG);
        })
    };
    let sleeper = Child::fork(|page| {
        page.gate();
        (0..LONG.as_millis() / 100).for_each(|_| assert!(nanosleep(Duration::from_millis(100)) > 0));
    });
    let (throttled, starved, neighbour) = (computes(), crowded(), crowded());
    take(&limited, &throttled);
    take(&limited, &sleeper);
    let trace = Trace::of(&[throttled.pid, sleeper.pid, starved.pid], &["--no-follow"]);
    // Two at a time, as there may be one CPU only.
    for pair in [[&throttled, &sleeper], [&starved, &neighbour]] {
        pair.iter().for_each(|child| child.go());
        pair.iter().for_each(|child| child.finished());
    }
    let document = trace.stop();
    let codes = |child: &Child| {
        let said = &process(&document, child.pid).diagnosis;
        said.iter().map(|one| one.code).collect::<Vec<_>>()
    };
    let said = process(&document, throttled.pid);
    assert_eq!(codes(&throttled)[0], Code::Throttled, "{said:?}");
    // Where there is one CPU, the quota holds back whom a timer woke, too.
    let sleeps = process(&document, sleeper.pid);
    let ready_ns = sleeps.time.as_ref().expect("it was observed").runnable_ns();
    let expected = if ready_ns * 10 < document.elapsed_ns { Code::Timers } else { Code::Throttled };
    assert_eq!(codes(&sleeper)[0], expected, "{sleeps:?}");
    assert_eq!(codes(&starved)[0], Code::CpuStarved, "{:?}", process(&document, starved.pid));
    assert!(!codes(&starved).contains(&Code::Throttled), "{:?}", process(&document, starved.pid));
    // What held it back is the quota, and not the others of this machine.
    let most = u64::from(PERIOD_US - QUOTA_US) * LONG.as_micros() as u64 / u64::from(PERIOD_US) * 1000;
    let told = said.diagnosis[0].evidence["throttled_ns"];
    assert!(told > most / 2 && told < most * 2, "{told} ns of {most}: {said:?}");
}
