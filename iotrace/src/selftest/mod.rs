//! The self-test: iotrace's figures compared with known truth. A process of its own makes calls whose times and counts
//! it knows from clocks and counters that iotrace has no part in, while the usual probes observe it.
//!
//! A scene is played in the acting process ([`act`]), and judged by the observing process ([`judge`]) from the records.
//! Each family of scenes has one file, with both halves.

pub mod account;
mod evidence;
mod handover;
mod interrupted;
mod locks;
mod partial;
mod processor;
mod signals;
mod sizes;
mod stage;
mod time;
mod uring;
mod waits;
mod whole;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;

use self::account::{Account, Scene, Unable};
use self::evidence::Evidence;
use self::stage::{Stage, Stop};
use iotrace_core::domain::{Loss, ProbeId};
use iotrace_core::records::journal::Journal;
use iotrace_core::rows::sums::Snapshot;
use iotrace_core::summary::Check;

/// Major and minor number of the first kernel whose verifier takes probes that make records and sums at once.
pub const BOTH_SINKS: (u32, u32) = (6, 13);

/// A scene: its name, the half that plays it, and the half that judges it.
struct Family {
    name: &'static str,
    play: fn(&mut Stage) -> Result<(), Stop>,
    judge: fn(&Evidence),
}

const fn family(
    name: &'static str,
    play: fn(&mut Stage) -> Result<(), Stop>,
    judge: fn(&Evidence),
) -> Family {
    Family { name, play, judge }
}

/// Every scene, in the order in which they are played.
const FAMILIES: &[Family] = &[
    family("whole", whole::play, whole::judge),
    family("wait-pipe", waits::pipe, waits::judge),
    family("wait-tcp", waits::tcp, waits::judge),
    family("wait-udp", waits::udp, waits::judge),
    family("wait-unix", waits::unix, waits::judge),
    family("size-unix", sizes::unix, sizes::judge),
    family("size-tcp", sizes::tcp, sizes::judge),
    family("preempted", processor::play, processor::judge),
    family("lock", locks::play, locks::judge),
    family("waitall", partial::waitall, partial::judge_waitall),
    family("peek", partial::peek, partial::judge_peek),
    family("restart", interrupted::restart, interrupted::judge_restart),
    family("timeout", interrupted::timeout, interrupted::judge_timeout),
    family("handover", handover::play, handover::judge),
    family("sigio", signals::play, signals::judge),
    family("uring-inline", uring::inline, uring::judge),
    family("uring-poll", uring::poll, uring::judge),
    family("uring-worker", uring::worker, uring::judge),
    family("uring-sqpoll", uring::sqpoll, uring::judge),
    family("uring-deferred", uring::deferred, uring::judge),
    family("uring-multishot", uring::multishot, uring::judge),
];

/// Scenes that are judged by sums alone, as `trace` makes them: the whole time of threads is in no record.
const OF_SUMS: &[Family] = &[family("thread-time", time::play, time::judge)];

fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(OF_SUMS)
}

/// Names of all scenes.
pub fn names() -> Vec<&'static str> {
    families().map(|family| family.name).collect()
}

/// Whether a scene is judged by sums alone.
pub fn is_of_sums(scene: &str) -> bool {
    OF_SUMS.iter().any(|family| family.name == scene)
}

/// Plays the scenes with these names in this process and writes the account to `out`, the control pipe.
///
/// # Errors
/// The account could not be written. A scene that failed is noted in the account.
pub fn act(scenes: &[String], out: OwnedFd) -> io::Result<()> {
    let wanted = families().filter(|family| scenes.iter().any(|name| name == family.name));
    let account = Account { pid: std::process::id(), scenes: wanted.map(play).collect() };
    let mut out = BufWriter::new(File::from(out));
    serde_json::to_writer(&mut out, &account)?;
    out.flush()
}

fn play(family: &Family) -> Scene {
    // If the process hangs, its name says in which scene.
    if let Ok(name) = std::ffi::CString::new(family.name) {
        crate::workload::set_name(&name);
    }
    let mut stage = Stage::default();
    stage.scene.name = family.name.to_owned();
    let ended = (family.play)(&mut stage);
    stage.scene.name = family.name.to_owned();
    match ended {
        Ok(()) => {}
        Err(Stop::Unable(unable)) => stage.scene.unable = Some(unable),
        Err(Stop::Failed(error)) => {
            stage.scene.unable = Some(Unable { why: format!("the scene failed: {error}"), since: None });
            // The kernel lacks nothing, so this is a failure of the self-test.
            stage.scene.facts.insert(FAILED.to_owned(), 1);
        }
    }
    stage.scene
}

/// Name of the fact that the scene itself failed.
const FAILED: &str = "failed";

/// Everything that the observing process knows when the acting process has ended.
pub struct Observed<'a> {
    /// The account of the acting process.
    pub account: &'a Account,
    /// The records, in order of time.
    pub journal: &'a Journal,
    /// The sums that the kernel made, by thread; `None` where the kernel takes probes that make records only.
    pub sums: Option<&'a Snapshot>,
    /// What the probes lost.
    pub loss: &'a Loss,
    /// Whether a probe is attached.
    pub attached: &'a dyn Fn(ProbeId) -> bool,
    /// Major and minor number of the running kernel.
    pub kernel: (u32, u32),
}

/// Compares the figures of every scene with the truth.
pub fn judge(observed: &Observed) -> Vec<Check> {
    let mut checks = Vec::new();
    for scene in &observed.account.scenes {
        let Some(family) = families().find(|family| family.name == scene.name) else { continue };
        let evidence = Evidence {
            scene,
            journal: observed.journal,
            sums: observed.sums,
            loss: observed.loss,
            attached: observed.attached,
            checks: RefCell::default(),
        };
        match &scene.unable {
            Some(unable) => evidence.skip("played", &unable.why, unable.since),
            None => (family.judge)(&evidence),
        }
        let mut found = evidence.checks.into_inner();
        for check in found.iter_mut().filter(|check| check.skipped.is_some()) {
            // A skip is accepted only because the kernel is too old, or because something is switched off.
            check.pass = (scene.fact(FAILED) > 0 || excuse(check, observed.kernel)).then_some(false);
        }
        checks.append(&mut found);
    }
    checks
}

/// Whether a check is skipped though this kernel is new enough for it.
fn excuse(check: &Check, kernel: (u32, u32)) -> bool {
    let since = check.since.as_deref().and_then(crate::host::kernel::version);
    since.is_some_and(|since| kernel >= since)
}

/// Whether a check is of what must be true of every call and of every thread, however busy the machine is.
pub fn is_invariant(check: &Check) -> bool {
    whole::INVARIANTS.contains(&check.name.as_str()) || check.name.ends_with("-identity")
}

/// The name of the scene that a check belongs to.
pub fn scene_of(check: &Check) -> &str {
    check.name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(scene: Scene, kernel: (u32, u32)) -> Vec<Check> {
        judge(&Observed {
            account: &Account { pid: 1, scenes: vec![scene] },
            journal: &Journal::default(),
            sums: Some(&Snapshot::default()),
            loss: &Loss::default(),
            attached: &|_| true,
            kernel,
        })
    }

    #[test]
    fn a_skip_is_earned_by_an_old_kernel() {
        let unable = Some(Unable { why: "no such flag".into(), since: Some((6, 1)) });
        let scene = || Scene { name: "uring-deferred".into(), unable: unable.clone(), ..Scene::default() };
        assert_eq!(observed(scene(), (5, 10))[0].pass, None);
        assert_eq!(observed(scene(), (6, 1))[0].pass, Some(false));
        let failed = Scene { facts: [(FAILED.to_owned(), 1)].into(), ..scene() };
        assert_eq!(observed(failed, (5, 10))[0].pass, Some(false), "no kernel excuses a failure");
    }

    #[test]
    fn a_scene_of_which_nothing_was_recorded_passes_no_check_of_time() {
        for family in families() {
            let checks = observed(Scene { name: family.name.into(), to_ns: 1, ..Scene::default() }, (7, 0));
            assert!(
                checks.iter().any(Check::failed) || family.name == "restart",
                "{}: {checks:?}",
                family.name
            );
        }
    }
}
