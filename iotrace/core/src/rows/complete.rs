//! Whether a trace is complete: every call of every thread that was asked for is in it. All that speaks against it is
//! listed here, and nowhere else.

use crate::domain::{Loss, ProbeId};

/// What was asked for, as far as it matters which probes see all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Target {
    /// Children belong to it, from their birth.
    pub follows: bool,
    /// Single threads belong to it.
    pub threads: bool,
    /// A cgroup whose members at the start were taken, as the probes cannot tell a thread's cgroup here.
    pub by_members: bool,
}

/// What is known of a trace that speaks for or against it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What was asked for.
    pub target: Target,
    /// What the probes lost, counted.
    pub loss: &'a Loss,
    /// Probes that are not attached.
    pub missing: &'a [ProbeId],
    /// Processes that joined a cgroup `by_members` later, and are not traced.
    pub joined_late: u64,
}

/// A reason why calls may not be in the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Code of the warning.
    pub code: &'static str,
    /// The reason and what to do, in a sentence; empty where the counts in `loss` say it.
    pub text: String,
}

/// Why a trace is not complete; nothing: it is.
pub fn why_not(evidence: &Evidence<'_>) -> Vec<Reason> {
    let Evidence { target, loss, missing, joined_late } = evidence;
    let lacks = |id| missing.contains(&id);
    let mut reasons = Vec::new();
    let mut because = |code, text: &str| reasons.push(Reason { code, text: text.to_owned() });
    if !loss.is_none() {
        because("lost", "");
    }
    if target.follows && lacks(ProbeId::SchedProcessFork) {
        because(
            "children_not_followed",
            "children of the target were asked for, and without sched_process_fork none is traced that began \
             after the probes were attached",
        );
    }
    if target.threads && lacks(ProbeId::SchedProcessExec) {
        because(
            "thread_may_be_lost",
            "a thread that executes a program takes the id of its process, and without sched_process_exec it is not \
             traced under that",
        );
    }
    if target.by_members && *joined_late > 0 {
        let text = format!(
            "{joined_late} processes joined the cgroup after tracing began and are not traced: here the probes cannot \
             tell a thread's cgroup, so that its members at the start were taken"
        );
        because("cgroup_joined_late", &text);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Target = Target { follows: true, threads: true, by_members: true };

    fn codes(target: Target, loss: Loss, missing: &[ProbeId], joined_late: u64) -> Vec<&'static str> {
        let reasons = why_not(&Evidence { target, loss: &loss, missing, joined_late });
        assert!(reasons.iter().all(|reason| reason.code == "lost" || !reason.text.is_empty()));
        reasons.into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn with_every_probe_and_no_loss_it_is_complete() {
        assert_eq!(codes(ALL, Loss::NOTHING, &[], 0), [""; 0]);
    }

    #[test]
    fn each_loss_makes_it_incomplete_and_calls_that_are_open_do_not() {
        let one = [
            Loss { records: 1, ..Loss::NOTHING },
            Loss { map_full: 1, ..Loss::NOTHING },
            Loss { unmatched: 1, ..Loss::NOTHING },
            Loss { not_decoded: 1, ..Loss::NOTHING },
            Loss { recursion_misses: Some(1), ..Loss::NOTHING },
        ];
        for loss in one {
            assert_eq!(codes(Target::default(), loss, &[], 0), ["lost"], "{loss:?}");
        }
        let open = Loss { in_flight_start: 3, in_flight_stop: 3, recursion_misses: None, ..Loss::NOTHING };
        assert_eq!(codes(ALL, open, &[], 0), [""; 0]);
    }

    #[test]
    fn a_probe_matters_to_who_asked_for_what_it_sees() {
        let fork = [ProbeId::SchedProcessFork];
        let follows = Target { follows: true, ..Target::default() };
        assert_eq!(codes(follows, Loss::NOTHING, &fork, 0), ["children_not_followed"]);
        assert_eq!(codes(Target::default(), Loss::NOTHING, &fork, 0), [""; 0]);
        let exec = [ProbeId::SchedProcessExec];
        let threads = Target { threads: true, ..Target::default() };
        assert_eq!(codes(threads, Loss::NOTHING, &exec, 0), ["thread_may_be_lost"]);
        assert_eq!(codes(follows, Loss::NOTHING, &exec, 0), [""; 0]);
        // These tell of time and names, not of calls.
        let others = [ProbeId::SkDataReady, ProbeId::ConsumeSkb, ProbeId::TaskRename];
        assert_eq!(codes(ALL, Loss::NOTHING, &others, 0), [""; 0]);
    }

    #[test]
    fn who_joins_a_cgroup_later_is_missed_where_its_members_were_taken() {
        let members = Target { by_members: true, ..Target::default() };
        assert_eq!(codes(members, Loss::NOTHING, &[], 2), ["cgroup_joined_late"]);
        assert_eq!(codes(members, Loss::NOTHING, &[], 0), [""; 0]);
    }
}
