//! `iotrace run`: built-in workloads under observation, one after the other.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::settings::Wish;
use crate::cli::{ModelArg, RunArgs, TierArg};
use crate::cmd::output;
use crate::host::{check, clock};
use crate::session::error::Failure;
use crate::session::recorded::{Recorded, record_by};
use crate::session::{self, End, calibrate};
use crate::workload;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::{Log, Spec, Tuning};
use iotrace_core::domain::{Loss, ProbeId, Tier};
use iotrace_core::messages::{self, degraded};
use iotrace_core::summary::{Document, Overhead, Run, SCHEMA, Warning};

/// One-byte messages before the warm-up: enough for a median that a few disturbed ones do not move.
const CALIBRATION: u64 = 32;

/// Runs the workloads and prints the result.
pub fn main(args: &RunArgs) -> Result<(), Failure> {
    let specs = specs(args)?;
    output::check(&args.output)?;
    check::prerequisites()?;
    session::catch_interrupts().map_err(Failure::while_doing("catching Ctrl-C"))?;
    let started = Instant::now();
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let baseline = workload::empty_call_ns().ok();
    let mut result = Outcome::default();
    for spec in &specs {
        say(args, &format!("{} over {}: {} messages ...", spec.model, spec.transport, spec.messages));
        match observe(&btf, spec, args, baseline, &mut result) {
            Ok(End::Interrupted) => {
                result.incomplete = true;
                result.warn(
                    "interrupted",
                    "interrupted: models that were not finished are left out".to_owned(),
                );
                break;
            }
            Ok(_) => {}
            // One of many may be impossible here; the others still are worth having.
            Err(Failure::Failed(why)) if specs.len() > 1 => {
                result.incomplete = true;
                result.warn("model_failed", format!("{} was left out: {why}", spec.model));
            }
            Err(failure) => return Err(failure),
        }
    }
    if result.runs.is_empty() {
        return Err(match result.warnings.last() {
            Some(warning) if warning.code == "model_failed" => Failure::Failed(warning.text.clone()),
            _ => Failure::Interrupted,
        });
    }
    // After the runs: what it takes must not delay them.
    let calibration = calibrate::measure(&btf);
    let document = result.document(started.elapsed(), calibration.per_switch_ns);
    output::write(&document, &args.output)?;
    if args.output.strict && !document.complete { Err(Failure::Incomplete) } else { Ok(()) }
}

fn say(args: &RunArgs, text: &str) {
    if !args.output.quiet && std::io::stderr().is_terminal() {
        eprintln!("{text}");
    }
}

/// What is to be run, refused here if it cannot be.
fn specs(args: &RunArgs) -> Result<Vec<Spec>, Failure> {
    let named: Vec<Model> = args
        .model
        .iter()
        .filter_map(|arg| if let ModelArg::One(model) = arg { Some(*model) } else { None })
        .collect();
    let all = args.model.contains(&ModelArg::All);
    let models = if all { Model::ALL.to_vec() } else { named.clone() };
    if args.meanwhile.is_some() && !models.iter().any(|model| model.leaves_thread_free()) {
        return Err(Failure::Usage(
            "--meanwhile is for models that leave the thread free: sigio, posix-aio, linux-aio-poll, io-uring, \
             io-uring-sqpoll"
                .to_owned(),
        ));
    }
    if !args.poll_interval.is_zero() && !models.contains(&Model::Nonblocking) {
        return Err(Failure::Usage(
            "--poll-interval is for the model that polls: only nonblocking has one".to_owned(),
        ));
    }
    if args.tier == TierArg::Exact && args.transport == Transport::Pipe {
        return Err(Failure::Usage(
            "--tier exact: no program can hook the code that copies out of a pipe; --tier auto estimates these \
             copies, --transport tcp, udp or unix has exact ones"
                .to_owned(),
        ));
    }
    if !args.buffer.is_power_of_two() || !(4096..=1 << 30).contains(&args.buffer) {
        return Err(Failure::Usage("--buffer must be a power of two from 4KiB to 1GiB".to_owned()));
    }
    let mut specs: Vec<Spec> = Vec::new();
    for model in models {
        let spec = spec(model, args);
        if specs.contains(&spec) {
            continue;
        }
        match workload::refuse(&spec) {
            None => specs.push(spec),
            // `all` means all that can be done; the reason is no news to who asked for one of them.
            Some(_) if all && !named.contains(&model) && refused_for_model(&spec) => {
                eprintln!(
                    "{model} is left out: {}",
                    workload::refuse(&spec).map_or(String::new(), |why| why.text)
                );
            }
            Some(why) => return Err(Failure::Usage(why.text)),
        }
    }
    Ok(specs)
}

/// Whether another model could do what this one is refused for.
fn refused_for_model(spec: &Spec) -> bool {
    workload::refuse(&Spec { model: Model::Blocking, meanwhile: None, ..spec.clone() }).is_none()
}

fn spec(model: Model, args: &RunArgs) -> Spec {
    Spec {
        model,
        transport: args.transport,
        messages: args.messages,
        size: args.size,
        interval_ns: args.interval.as_nanos() as u64,
        connections: args.connections,
        active: args.active.unwrap_or(args.connections),
        poll_interval_ns: if model == Model::Nonblocking { args.poll_interval.as_nanos() as u64 } else { 0 },
        warmup: args.warmup,
        calibration: CALIBRATION,
        meanwhile: model.leaves_thread_free().then(|| args.meanwhile.unwrap_or(Meanwhile::Compute)),
        port: args.port,
        tuning: Tuning::default(),
    }
}

/// Which tier to try. The kernel takes a function hook off only when every thread has slept or been in user
/// space since (`synchronize_rcu_tasks`), and an SQ thread that polls does neither: an iotrace that is killed
/// would hang in its exit for as long as the workload runs. So hooks are for it only where they are demanded.
fn wish(tier: TierArg, model: Model) -> Wish {
    match (tier, model) {
        (TierArg::Auto, Model::IoUringSqpoll) => Wish::Tracepoint,
        _ => tier.wish(),
    }
}

/// The result as it grows.
#[derive(Default)]
struct Outcome {
    runs: Vec<Run>,
    warnings: Vec<Warning>,
    /// Of the runs so far, if there was one.
    loss: Option<Loss>,
    /// What a traced call cost, in each run.
    per_call: Vec<u64>,
    /// What a call of anybody else cost, in each run.
    per_other_call: Vec<u64>,
    /// What timed the copies; all runs of one command have the same.
    tier: Option<Tier>,
    incomplete: bool,
}

fn observe(
    btf: &Btf,
    spec: &Spec,
    args: &RunArgs,
    baseline: Option<u64>,
    result: &mut Outcome,
) -> Result<End, Failure> {
    let began = Instant::now();
    let mut other_call = None;
    let say = |observer: &Observer| {
        other_call = calibrate::others(baseline);
        if args.output.verbose {
            let names: Vec<&str> = observer.attached().collect();
            eprintln!("{}: attached in {:.0?}: {}", spec.model, began.elapsed(), names.join(" "));
            output::say_refused(observer.refused());
        }
    };
    let (program, ring) = (OsStr::new("/proc/self/exe"), args.buffer as u32);
    let recorded = record_by(wish(args.tier, spec.model), program, btf, spec, ring, &args.without, say)?;
    let Some(Recorded { log, mut journal, observer }) = recorded else { return Ok(End::Interrupted) };
    let (mut run, warnings) = messages::run(spec, &log, &mut journal);
    let missing: Vec<ProbeId> = observer.missing().iter().map(|missing| missing.probe.id).collect();
    degraded::forget(&mut run, &missing);
    result.incomplete |= run.operations.count < spec.messages;
    result.runs.push(run);
    result.per_other_call.extend(other_call);
    result.warnings.extend(warnings);
    result.observed(&observer, &log, baseline, journal.unknown);
    Ok(End::Finished)
}

impl Outcome {
    fn warn(&mut self, code: &str, text: String) {
        if self.warnings.iter().all(|known| known.text != text) {
            self.warnings.push(Warning { code: code.to_owned(), text });
        }
    }

    /// Takes over what the probes lost and cost.
    fn observed(&mut self, observer: &Observer, log: &Log, baseline: Option<u64>, unknown: u64) {
        self.tier = Some(observer.tier());
        let lost = observer.loss(unknown);
        self.loss = Some(self.loss.map_or(lost, |before| before.and(lost)));
        let added = calibrate::added(baseline, log.empty_call_ns);
        self.per_call.extend(added);
        for missing in observer.missing() {
            self.warn("probe_missing", missing.to_string());
        }
    }

    fn document(mut self, elapsed: Duration, per_switch: Option<u64>) -> Document {
        if self.loss.is_some_and(|loss| loss.recursion_misses.is_none()) {
            self.warn(
                "recursion_misses_not_counted",
                "this kernel does not count skipped probe runs (since 5.12)".to_owned(),
            );
        }
        // Each run has its own probes and its own disturbances; the middle one is told.
        let middle = |mut costs: Vec<u64>| {
            costs.sort_unstable();
            costs.get(costs.len() / 2).copied()
        };
        let per_call = middle(std::mem::take(&mut self.per_call));
        let per_other_call = middle(std::mem::take(&mut self.per_other_call));
        for (cost, code, what) in [
            (per_call, "call_overhead_not_measured", "a traced call"),
            (per_other_call, "other_call_overhead_not_measured", "a call of others"),
            (per_switch, "switch_overhead_not_measured", "a traced context switch"),
        ] {
            if cost.is_none() {
                self.warn(code, format!("what observing adds to {what} could not be measured"));
            }
        }
        let loss = self.loss.unwrap_or_default();
        let lossless = loss.is_none();
        Document {
            schema: SCHEMA.to_owned(),
            command: "run".to_owned(),
            host: check::host(self.tier.unwrap_or(Tier::Tracepoint)),
            complete: lossless && !self.incomplete,
            loss,
            overhead: Overhead {
                per_call_ns: per_call,
                per_other_call_ns: per_other_call,
                per_switch_ns: per_switch,
                iotrace_cpu_ns: clock::own_cpu_ns(),
                copy_floors_ns: None,
            },
            elapsed_ns: elapsed.as_nanos() as u64,
            runs: self.runs,
            processes: Vec::new(),
            checks: Vec::new(),
            studies: Vec::new(),
            warnings: self.warnings,
        }
    }
}
