//! `iotrace run`: built-in workloads under observation, one after the other.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::{Spec, Tuning};

use crate::cli::{ModelArg, RunArgs, TierArg};
use crate::cmd::output::{self, Printer};
use crate::cmd::targets::{Outputs, Wanted};
use crate::host::check;
use crate::host::stderr::say;
use crate::session::error::Failure;
use crate::session::run::{self, AskedRun};
use crate::workload;

/// One-byte messages before the warm-up: enough for a median that a few disturbed ones do not move.
const CALIBRATION: u64 = 32;

/// Runs the workloads and prints the result.
///
/// # Errors
/// Of wrong usage, or where nothing could be measured.
pub fn main(args: &RunArgs) -> Result<(), Failure> {
    let specs = specs(args)?;
    let tape = output::tape();
    let outputs = Outputs::open(&args.output, Wanted { tape: tape.as_deref(), ..Wanted::default() })?;
    check::prerequisites()?;
    let asked = AskedRun {
        specs,
        tier: args.tier.wish(),
        ring_bytes: args.buffer as u32,
        without: args.without.clone(),
        tape,
    };
    let mut printer = Printer::new(&args.output, outputs);
    let complete = run::run(&asked, &mut printer)?;
    printer.outputs.outcome()?;
    if args.output.strict && !complete { Err(Failure::Incomplete) } else { Ok(()) }
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
                let why = workload::refuse(&spec).map_or(String::new(), |why| why.text);
                say(&format!("{model} is left out: {why}"));
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
