//! A run: built-in workloads under observation, one after the other.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Instant;

use iotrace_core::domain::model::Model;
use iotrace_core::domain::spec::Spec;
use iotrace_core::domain::{ProbeId, Tier};
use iotrace_core::messages::outcome::Outcome;
use iotrace_core::rows::tape::{Block, Ended, MissingProbe, RunEnd};
use iotrace_core::summary::Warning;

use crate::bpf::attach::Missing;
use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::settings::Wish;
use crate::host::{check, clock};
use crate::session::error::Failure;
use crate::session::recorded::{Recorded, Recording, record};
use crate::session::sink::{Begun, Sink};
use crate::session::tape::{Items, Tape};
use crate::session::watch::End;
use crate::session::{calibrate, interrupts};
use crate::workload;

/// What a run was asked for.
pub struct AskedRun {
    /// The workloads, in order.
    pub specs: Vec<Spec>,
    /// Which hooks are to time the copies.
    pub tier: Wish,
    /// Bytes of the ring buffer.
    pub ring_bytes: u32,
    /// Probes to leave out.
    pub without: Vec<ProbeId>,
    /// Where what was recorded is kept.
    pub tape: Option<PathBuf>,
}

/// Runs the workloads and hands the result to `sink`. Says whether it is complete.
///
/// # Errors
/// Where no workload could be run.
pub fn run(asked: &AskedRun, sink: &mut impl Sink) -> Result<bool, Failure> {
    interrupts::catch().map_err(Failure::while_doing("catching Ctrl-C"))?;
    let started = Instant::now();
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let baseline = workload::empty_call_ns().ok();
    let mut run = Running { asked, btf: &btf, baseline, tape: Tape::begin(asked.tape.as_deref())? };
    let host = check::host(Tier::Tracepoint);
    if let Err(failure) = run.tape.put(|| Block::Run(host.clone())) {
        sink.failed(&failure.to_string());
    }
    let (mut outcome, mut end) = (Outcome::default(), RunEnd::default());
    let mut warn = |code: &str, text: String| end.warnings.push(Warning { code: code.to_owned(), text });
    for spec in &asked.specs {
        sink.note(&format!("{} over {}: {} messages ...", spec.model, spec.transport, spec.messages));
        match run.observe(spec, sink, &mut outcome) {
            Ok(End::Interrupted) => {
                warn("interrupted", "interrupted: models that were not finished are left out".to_owned());
                break;
            }
            Ok(_) => {}
            // One of many may be impossible here; the others still are worth having.
            Err(Failure::Failed(why)) if asked.specs.len() > 1 => {
                warn("model_failed", format!("{} was left out: {why}", spec.model));
            }
            Err(failure) => return Err(failure),
        }
    }
    if outcome.is_empty() {
        return Err(match end.warnings.last() {
            Some(warning) if warning.code == "model_failed" => Failure::Failed(warning.text.clone()),
            _ => Failure::Interrupted,
        });
    }
    // After the workloads: what it takes must not delay them.
    end.per_switch_ns = calibrate::measure(&btf).per_switch_ns;
    end.elapsed_ns = started.elapsed().as_nanos() as u64;
    end.iotrace_cpu_ns = clock::own_cpu_ns();
    if let Err(failure) = run.tape.put(|| Block::Ended(Box::new(end.clone()))) {
        sink.failed(&failure.to_string());
    }
    let document = outcome.document(host, &end);
    sink.end(&document);
    Ok(document.complete)
}

/// What the workloads of a run share.
struct Running<'a> {
    asked: &'a AskedRun,
    btf: &'a Btf,
    /// What a call that returns at once takes without probes, ns.
    baseline: Option<u64>,
    tape: Tape,
}

impl Running<'_> {
    fn observe(&mut self, spec: &Spec, sink: &mut impl Sink, outcome: &mut Outcome) -> Result<End, Failure> {
        let began = Instant::now();
        let mut per_other_call_ns = None;
        let attached = |observer: &Observer| {
            per_other_call_ns = calibrate::others(self.baseline);
            sink.begin(&Begun {
                workload: Some(spec.model.name()),
                about: spec.model.name(),
                attached: observer.attached().collect(),
                took: began.elapsed(),
                refused: observer.refused(),
            });
        };
        let (program, asked) = (OsStr::new("/proc/self/exe"), self.asked);
        let tier = wish(asked.tier, spec.model);
        let recording = Recording {
            tier,
            program,
            btf: self.btf,
            spec,
            ring_bytes: asked.ring_bytes,
            without: &asked.without,
        };
        let mut items = Items::on(&mut self.tape);
        let recorded = record(&recording, attached, &mut items)?;
        let kept = items.done();
        let Some(Recorded { log, journal, observer }) = recorded else { return Ok(End::Interrupted) };
        let missing = |missing: &Missing| MissingProbe {
            name: missing.probe.name().to_owned(),
            text: missing.to_string(),
        };
        let ended = Ended {
            spec: spec.clone(),
            tier: observer.tier(),
            missing: observer.missing().iter().map(missing).collect(),
            loss: observer.loss(0),
            per_call_ns: calibrate::added(self.baseline, log.empty_call_ns),
            per_other_call_ns,
            log,
        };
        if let Err(failure) = kept.and_then(|()| self.tape.put(|| Block::Workload(Box::new(ended.clone())))) {
            sink.failed(&failure.to_string());
        }
        outcome.take(&ended, journal);
        Ok(End::Finished)
    }
}

/// Which tier to try. The kernel takes a function hook off only when every thread has slept or been in user
/// space since (`synchronize_rcu_tasks`), and an SQ thread that polls does neither: an iotrace that is killed
/// would hang in its exit for as long as the workload runs. So hooks are for it only where they are demanded.
fn wish(tier: Wish, model: Model) -> Wish {
    match (tier, model) {
        (Wish::Auto, Model::IoUringSqpoll) => Wish::Tracepoint,
        _ => tier,
    }
}
