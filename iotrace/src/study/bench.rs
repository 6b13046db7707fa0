//! The built-in workloads as arms of a study: each runs in a process of its own, under the probes.

use std::ffi::OsStr;

use super::Lab;
use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::session::error::Failure;
use crate::session::recorded::{Recording, record};
use crate::session::tape::Items;
use iotrace_core::domain::Loss;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::{Spec, Tuning};
use iotrace_core::messages;
use iotrace_core::summary::{Run, Warning};

/// Bytes of the ring buffer for records: more than a reader that polls through a short run can fill.
const RING_BYTES: u32 = 16 << 20;

/// Runs workloads, and keeps the losses and warnings of their runs until the rounds are over.
pub struct Bench {
    btf: Btf,
    loss: Loss,
    warnings: Vec<Warning>,
    arms: Vec<State>,
}

/// The runs of an arm so far.
struct State {
    name: &'static str,
    /// Runs that ended with a result.
    runs: u32,
    /// Why the arm is not run any more; `None`: no run failed.
    failed: Option<String>,
}

impl Bench {
    /// A bench for the arms of these names.
    ///
    /// # Errors
    /// The kernel has no BTF, without which nothing can be observed.
    pub fn new(names: &[&'static str]) -> Result<Self, Failure> {
        let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
        let arms = names.iter().map(|&name| State { name, runs: 0, failed: None }).collect();
        Ok(Self { btf, loss: Loss::NOTHING, warnings: Vec::new(), arms })
    }

    /// Runs the workload of the arm with this index once. `None` if it cannot be run here: then the arm is not
    /// tried again.
    ///
    /// # Errors
    /// The user pressed Ctrl-C, or something failed that has nothing to do with the arm.
    pub fn run(&mut self, arm: usize, spec: &Spec) -> Result<Option<Run>, Failure> {
        if self.arms[arm].failed.is_some() {
            return Ok(None);
        }
        let program = OsStr::new("/proc/self/exe");
        let recording = Recording::by_tracepoints(program, &self.btf, spec, RING_BYTES);
        let recorded = match record(&recording, |_| {}, &mut Items::dropped()) {
            Ok(Some(recorded)) => recorded,
            Ok(None) => return Err(Failure::Interrupted),
            Err(Failure::Failed(why)) => {
                self.arms[arm].failed = Some(why);
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        let mut journal = recorded.journal;
        let (run, warnings) = messages::run(spec, &recorded.log, &mut journal);
        self.observed(&recorded.observer, journal.unknown);
        self.arms[arm].runs += 1;
        for mut warning in warnings {
            if let Some((_, said)) = warning.text.split_once(": ") {
                warning.text = format!("{}: in one repeat, {said}", self.arms[arm].name);
            }
            self.warn(warning);
        }
        Ok(Some(run))
    }

    /// Adds what the probes of a run lost.
    fn observed(&mut self, observer: &Observer, unknown: u64) {
        self.loss = self.loss.and(observer.loss(unknown));
        for missing in observer.missing() {
            self.warn(Warning { code: "probe_missing".to_owned(), text: missing.to_string() });
        }
    }

    /// Keeps a warning, unless an earlier repeat gave one of the same code and subject: other numbers say nothing new.
    fn warn(&mut self, warning: Warning) {
        let subject = |one: &Warning| one.text.split(':').next().unwrap_or_default().to_owned();
        let known = |one: &Warning| one.code == warning.code && subject(one) == subject(&warning);
        if !self.warnings.iter().any(known) {
            self.warnings.push(warning);
        }
    }

    /// Hands losses and warnings over to the study, and warns of arms without a result.
    ///
    /// # Errors
    /// The user asked for an arm by name that gave no result.
    pub fn finish(self, lab: &mut Lab) -> Result<(), Failure> {
        lab.loss = lab.loss.and(self.loss);
        for warning in self.warnings {
            lab.warn(&warning.code, warning.text);
        }
        for arm in self.arms {
            match (arm.failed, arm.runs) {
                (Some(why), 0) => lab.leave_out(arm.name, &why)?,
                (Some(why), runs) => {
                    let runs = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
                    lab.warn("arm_cut_short", format!("{} gave no samples after {runs}: {why}", arm.name));
                }
                (None, _) => {}
            }
        }
        Ok(())
    }
}

/// A workload with one connection over TCP, where a tracepoint marks each end of a copy. `interval_ns` is the time
/// between two messages, `size` the bytes of a message.
pub fn spec(model: Model, messages: u64, size: u64, interval_ns: u64) -> Spec {
    Spec {
        model,
        transport: Transport::Tcp,
        messages,
        size,
        interval_ns,
        connections: 1,
        active: 1,
        poll_interval_ns: 0,
        warmup: 5,
        calibration: 32,
        meanwhile: model.leaves_thread_free().then_some(Meanwhile::Compute),
        port: 0,
        tuning: Tuning::default(),
    }
}

/// Warns if more threads want to run than there are CPUs: the times then include waiting for a CPU.
pub fn warn_if_busy(lab: &mut Lab) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(load) = lab.environment().load.filter(|&load| load > cpus as f64) else { return };
    lab.warn(
        "busy_machine",
        format!(
            "the load average was {load:.2} on {cpus} CPUs when the study began: its times include waiting for a \
             CPU; run it again on a quiet machine"
        ),
    );
}

/// The run with the median of the median latencies (of an even number the lower one), among the runs whose picture
/// shows a wait for data of at least `wait_ns`. The others are left out because on a busy machine the median
/// message of a run may have been there before it was requested.
pub fn middle(mut runs: Vec<Run>, wait_ns: u64) -> Option<Run> {
    let waited = |run: &Run| {
        let mut marks = run.strip.iter().flat_map(|strip| &strip.marks);
        marks.any(|mark| mark.name == "ready" && mark.at_ns >= wait_ns)
    };
    runs.retain(waited);
    runs.sort_by_key(|run| run.operations.latency.as_ref().map(|latency| latency.p50_ns));
    let half = runs.len().checked_sub(1)? / 2;
    Some(runs.swap_remove(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use iotrace_core::report::sample_run;

    #[test]
    fn the_middle_run_is_one_that_waited() {
        let with = |p50_ns: u64| {
            let mut run = sample_run();
            run.operations.latency =
                run.operations.latency.map(|dist| iotrace_core::domain::dist::Dist { p50_ns, ..dist });
            run
        };
        let mut late = with(2);
        late.strip = None;
        let runs = vec![with(9), late, with(1), with(5)];
        let p50 = |run: Option<Run>| run.and_then(|run| Some(run.operations.latency?.p50_ns));
        assert_eq!(p50(middle(runs.clone(), 1_000)), Some(5));
        assert_eq!(p50(middle(runs, u64::MAX)), None);
    }
}
