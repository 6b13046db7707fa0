//! Capabilities: what iotrace goes on needing once its probes are attached, and giving up the rest, capabilities(7).
//!
//! Until then it may load programs and read the kernel's memory. Afterwards it reads what others wrote: names, records,
//! `/proc`, reports of workloads. A mistake there must not have root's powers.

use std::fmt;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;
use thiserror::Error;

use super::kernel;

/// What an observation does after attaching that asks for capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Passes signals on to a command.
    pub command: bool,
    /// Names descriptors (`--per fd`).
    pub descriptors: bool,
    /// Changes how urgent it is itself (`--timeline`).
    pub urgency: bool,
    /// Writes a file at its end (`-o`).
    pub file: bool,
}

impl Work {
    /// All of it.
    pub const ALL: Self = Self { command: true, descriptors: true, urgency: true, file: true };
}

/// A capability that is kept after attaching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The capability.
    pub capability: Capability,
    /// When it is kept, as the end of a sentence; empty: always.
    pub when: &'static str,
    /// What it is for.
    pub reason: &'static str,
    /// What is lost without it.
    pub lost: &'static str,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, reason, .. } = self;
        let when = if when.is_empty() { "" } else { &format!(" {when}") };
        write!(f, "kept after attaching{when}: {reason}")
    }
}

/// `c8644cd0efe7`: before, with kernel.unprivileged_bpf_disabled, every bpf(2) call asks for CAP_BPF, those that read a
/// map by its descriptor too.
const READS_MAPS_FREELY: (u32, u32) = (5, 19);
/// `bc9bbb81730e`: before, `/proc/TID/wchan` is always 0, and only `/proc/TID/stack`, which asks for CAP_SYS_ADMIN
/// (`proc_pid_stack`, `fs/proc/base.c`), tells which call goes on after an interruption.
const TELLS_WCHAN: (u32, u32) = (5, 16);

/// What `work` needs on this kernel after attaching.
pub fn needs(work: Work) -> Vec<Need> {
    // A kernel that does not say how old it is counts as old: too much is kept then, and nothing breaks.
    needs_on(work, kernel::running().unwrap_or_default())
}

fn needs_on(work: Work, kernel: (u32, u32)) -> Vec<Need> {
    let mut needs = vec![Need {
        capability: Capability::CAP_SYS_PTRACE,
        when: "",
        reason: "/proc tells in which call a thread of another user sleeps, and its namespaces",
        lost: "which calls of other users' threads were open before tracing; names of their sockets in other network \
               namespaces",
    }];
    let mut add = |yes: bool, capability, when, reason, lost| {
        if yes {
            needs.push(Need { capability, when, reason, lost });
        }
    };
    add(
        kernel < READS_MAPS_FREELY,
        Capability::CAP_BPF,
        "",
        "before Linux 5.19 reading the sums asks for it",
        "everything",
    );
    add(
        work.command,
        Capability::CAP_KILL,
        "with -- COMMAND",
        "a signal that is sent to iotrace is passed on to a command of another user",
        "signals for a command that changed its user",
    );
    add(
        work.descriptors,
        Capability::CAP_DAC_READ_SEARCH,
        "with --per fd",
        "/proc/PID/fd of another user's process has the paths of its files",
        "directories of other users' files, which have their last name alone",
    );
    add(
        work.descriptors || kernel < TELLS_WCHAN,
        Capability::CAP_SYS_ADMIN,
        if kernel < TELLS_WCHAN { "" } else { "with --per fd" },
        if kernel < TELLS_WCHAN {
            "before Linux 5.16 only /proc/TID/stack tells which call goes on after an interruption; \
             with --per fd iotrace looks for sockets in network namespaces of containers"
        } else {
            "iotrace looks for listening sockets and names in network namespaces of containers"
        },
        "who listens, and socket names, in network namespaces of containers",
    );
    add(
        work.urgency,
        Capability::CAP_SYS_NICE,
        "with --timeline",
        "iotrace runs only when its CPU is idle, and more urgently when many records come",
        "records where very many come",
    );
    for capability in [Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER, Capability::CAP_CHOWN] {
        add(
            work.file,
            capability,
            "with -o FILE",
            "the result is written last, may lie in a directory of another user, and belongs to the user behind sudo",
            "results in directories of other users",
        );
    }
    needs
}

/// What is left out because a capability that `work` goes on needing is not there, in a sentence; `None`: nothing.
pub fn lacking(work: Work) -> Option<String> {
    let lacking: Vec<Need> = needs(work).into_iter().filter(|need| !has(need.capability)).collect();
    let names: Vec<String> = lacking.iter().map(|need| need.capability.to_string()).collect();
    let mut lost: Vec<&str> = lacking.iter().map(|need| need.lost).collect();
    lost.dedup();
    let text = || {
        format!(
            "iotrace runs without {}: not measured or not written are {}. `iotrace doctor` lists what each is for",
            names.join(", "),
            lost.join("; ")
        )
    };
    (!lacking.is_empty()).then(text)
}

/// Why capabilities could not be given up.
#[derive(Debug, Error)]
#[error(
    "iotrace could not give up the privileges that it does not need any more ({0}); it goes on with them"
)]
pub struct NotGivenUp(String);

/// Gives up for good what `work` does not need, for this thread and those that it starts; nothing that this process
/// executes can have more. A command that was forked before is not affected.
///
/// # Errors
/// The kernel refused (a seccomp filter): what there was is kept.
pub fn give_up(work: Work) -> Result<(), NotGivenUp> {
    let refused = |why: String| NotGivenUp(why);
    set_no_new_privs().map_err(|error| refused(format!("no_new_privs: {error}")))?;
    let keep = kept(work).map_err(|error| refused(error.to_string()))?;
    // Kernels without ambient capabilities have none to clear.
    let _ = caps::clear(None, CapSet::Ambient);
    let set =
        |which, to: &CapsHashSet| caps::set(None, which, to).map_err(|error| refused(error.to_string()));
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    // The effective ones are a part of the permitted ones, so they shrink first.
    set(CapSet::Effective, &keep)?;
    set(CapSet::Permitted, &keep)
}

fn kept(work: Work) -> Result<CapsHashSet, caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    Ok(needs(work).into_iter().map(|need| need.capability).filter(|one| permitted.contains(one)).collect())
}

/// Capabilities of this thread that are put aside, until this is dropped.
#[derive(Debug)]
pub struct PutAside {
    before: Option<CapsHashSet>,
}

/// Puts aside what `work` does not need while it lasts, where more is needed later: to attach to the next workload.
pub fn put_aside(work: Work) -> PutAside {
    let before = caps::read(None, CapSet::Effective).ok();
    let done = kept(work).and_then(|keep| caps::set(None, CapSet::Effective, &keep));
    // Where the kernel refuses, everything stays in force, as it was before this was thought of.
    PutAside { before: before.filter(|_| done.is_ok()) }
}

impl Drop for PutAside {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What is permitted can be made effective again.
            let _ = caps::set(None, CapSet::Effective, before);
        }
    }
}

/// Whether this thread has a capability in force.
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Effective capabilities as bits, capget(2): without `/proc`, which need not be there.
pub fn effective() -> u64 {
    let all = caps::read(None, CapSet::Effective).unwrap_or_default();
    all.into_iter().fold(0, |bits, one| bits | one.bitmask())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(work: Work, kernel: (u32, u32)) -> Vec<Capability> {
        needs_on(work, kernel).into_iter().map(|need| need.capability).collect()
    }

    #[test]
    fn an_observation_keeps_what_it_goes_on_using() {
        use Capability::*;
        let bare = Work::default();
        assert_eq!(names(bare, (6, 12)), [CAP_SYS_PTRACE]);
        assert_eq!(names(bare, (5, 18)), [CAP_SYS_PTRACE, CAP_BPF]);
        assert_eq!(names(bare, (5, 10)), [CAP_SYS_PTRACE, CAP_BPF, CAP_SYS_ADMIN]);
        assert_eq!(names(Work { command: true, ..bare }, (6, 1)), [CAP_SYS_PTRACE, CAP_KILL]);
        assert!(names(Work { descriptors: true, ..bare }, (6, 1)).contains(&CAP_SYS_ADMIN));
        let most = names(Work::ALL, (5, 10));
        for never in [CAP_PERFMON, CAP_SETUID, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_NET_ADMIN, CAP_SYSLOG] {
            assert!(!most.contains(&never), "{never}");
        }
    }

    /// In a thread of its own: capabilities are a thread's, but no_new_privs and what it executes are seen too.
    #[test]
    fn what_is_given_up_does_not_come_back() {
        let seen = std::thread::spawn(|| {
            give_up(Work { command: true, ..Work::default() }).unwrap();
            let of = |path: &str| fs::read_to_string(path).unwrap_or_default();
            let output = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            (of("/proc/thread-self/status"), String::from_utf8_lossy(&output.stdout).into_owned())
        });
        let (own, executed) = seen.join().unwrap();
        let allowed: u64 = needs(Work { command: true, ..Work::default() })
            .iter()
            .fold(0, |bits, need| bits | need.capability.bitmask());
        for status in [own, executed] {
            let of =
                |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
            assert_eq!(of("NoNewPrivs:"), "1", "{status}");
            for key in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
                let bits = u64::from_str_radix(&of(key), 16).unwrap();
                assert_eq!(bits & !allowed, 0, "{key} {status}");
            }
        }
    }

    #[test]
    fn what_is_put_aside_comes_back() {
        let before = effective();
        let aside = put_aside(Work::default());
        let meanwhile = effective();
        drop(aside);
        assert_eq!(effective(), before);
        assert_eq!(meanwhile & !before, 0);
        assert!(before == 0 || meanwhile != before, "root has more than that");
    }
}
