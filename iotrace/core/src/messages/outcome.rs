//! The result of a run as it grows, workload by workload.

use crate::domain::{Loss, ProbeId, Tier};
use crate::messages::degraded;
use crate::records::journal::Journal;
use crate::rows::tape::{Ended, RunEnd};
use crate::summary::{Document, Host, Overhead, Run, Warning};

/// The result so far.
#[derive(Default)]
pub struct Outcome {
    runs: Vec<Run>,
    warnings: Vec<Warning>,
    /// What was lost in the workloads so far, if there was one.
    loss: Option<Loss>,
    /// What was added to a traced call, ns, in each workload.
    per_call_ns: Vec<u64>,
    /// What was added to a call of others, ns, in each workload.
    per_other_call_ns: Vec<u64>,
    /// What timed the copies; all workloads of one command have the same.
    tier: Option<Tier>,
    incomplete: bool,
}

impl Outcome {
    /// Takes a workload that has ended, and what was recorded of it.
    pub fn take(&mut self, ended: &Ended, mut journal: Journal) {
        journal.exact = ended.tier == Tier::Exact;
        let unknown = journal.unknown;
        let (mut run, warnings) = super::run(&ended.spec, &ended.log, &mut journal);
        let missing: Vec<ProbeId> =
            ended.missing.iter().filter_map(|probe| ProbeId::by_name(&probe.name)).collect();
        degraded::forget(&mut run, &missing);
        self.incomplete |= run.operations.count < ended.spec.messages;
        self.runs.push(run);
        self.warnings.extend(warnings);
        self.tier = Some(ended.tier);
        let lost = Loss { records: ended.loss.records + unknown, ..ended.loss };
        self.loss = Some(self.loss.map_or(lost, |before| before.and(lost)));
        self.per_call_ns.extend(ended.per_call_ns);
        self.per_other_call_ns.extend(ended.per_other_call_ns);
        for probe in &ended.missing {
            self.warn("probe_missing", probe.text.clone());
        }
    }

    /// Whether no workload has ended.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn warn(&mut self, code: &str, text: String) {
        Warning::add(&mut self.warnings, code, text);
    }

    /// The result, once the run has ended. What `end` warns of is missing from it.
    pub fn document(mut self, host: Host, end: &RunEnd) -> Document {
        for warning in &end.warnings {
            self.incomplete = true;
            self.warn(&warning.code, warning.text.clone());
        }
        if self.loss.is_some_and(|loss| loss.recursion_misses.is_none()) {
            self.warn(
                "recursion_misses_not_counted",
                "this kernel does not count skipped probe runs (since 5.12)".to_owned(),
            );
        }
        // Each workload has its own probes and its own disturbances; the middle one is told.
        let middle = |mut costs: Vec<u64>| {
            costs.sort_unstable();
            costs.get(costs.len() / 2).copied()
        };
        let overhead = Overhead {
            per_call_ns: middle(std::mem::take(&mut self.per_call_ns)),
            per_other_call_ns: middle(std::mem::take(&mut self.per_other_call_ns)),
            per_switch_ns: end.per_switch_ns,
            iotrace_cpu_ns: end.iotrace_cpu_ns,
            iotrace_loading_cpu_ns: None,
            copy_floors_ns: None,
        };
        for (cost, code, what) in [
            (overhead.per_call_ns, "call_overhead_not_measured", "a traced call"),
            (overhead.per_other_call_ns, "other_call_overhead_not_measured", "a call of others"),
            (overhead.per_switch_ns, "switch_overhead_not_measured", "a traced context switch"),
        ] {
            if cost.is_none() {
                self.warn(code, format!("what observing adds to {what} could not be measured"));
            }
        }
        let host = Host { tier: self.tier.unwrap_or(Tier::Tracepoint), ..host };
        let mut document =
            Document::new("run", host, self.loss.unwrap_or_default(), overhead, end.elapsed_ns);
        document.complete &= !self.incomplete;
        document.runs = self.runs;
        document.warnings = self.warnings;
        document
    }
}
