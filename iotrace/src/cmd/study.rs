//! `iotrace study`: experiments on kernel behaviour.

use std::time::Instant;

use crate::bpf::btf::Btf;
use crate::cli::{OutputArgs, StudyArgs};
use crate::cmd::output;
use crate::cmd::targets::{Outputs, Wanted, print};
use crate::host::{check, clock};
use crate::session::error::Failure;
use crate::session::{calibrate, interrupts};
use crate::study::{self, Experiment, Lab, Options};
use iotrace_core::domain::Tier;
use iotrace_core::report::{self, Format, Unit};
use iotrace_core::summary::{Document, Overhead, Study};

/// Lists the studies, or carries one out.
///
/// # Errors
/// Of wrong usage, or where the study cannot be carried out.
pub fn main(args: &StudyArgs) -> Result<(), Failure> {
    let Some(name) = &args.name else { return list() };
    let experiment = study::named(name)?;
    let options = Options {
        repeats: args.repeats,
        quick: args.quick,
        connections: args.connections,
        arms: args.arms.clone(),
        quiet: args.quiet,
    };
    study::check(experiment, &options)?;
    let to = output_args(args);
    let outputs = Outputs::open(&to, Wanted { figure: args.svg.as_deref(), ..Wanted::default() })?;
    check::prerequisites()?;
    interrupts::catch().map_err(Failure::while_doing("catching Ctrl-C"))?;
    let document = carry_out(experiment, options)?;
    output::write(&document, &to, &outputs);
    outputs.figure(|out| report::svg(&document, out));
    outputs.outcome()?;
    if args.strict && !document.complete { Err(Failure::Incomplete) } else { Ok(()) }
}

/// The studies, one a line.
fn list() -> Result<(), Failure> {
    let lines: Vec<String> =
        study::ALL.iter().map(|one| format!("{:<10} {}\n", one.name, one.question)).collect();
    print(lines.concat().into_bytes())
}

fn carry_out(experiment: &Experiment, options: Options) -> Result<Document, Failure> {
    let began = Instant::now();
    let mut lab = Lab::new(experiment, options);
    let mut environment = lab.environment();
    let outcome = (experiment.run)(&mut lab)?;
    // The study may have raised it.
    environment.descriptors = lab.environment().descriptors;
    // After the study: what it takes must not delay it.
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let calibration = calibrate::measure(&btf);
    lab.warn(
        "other_call_overhead_not_measured",
        "what the probes add to calls of other processes is not measured in a study: iotrace trace does"
            .to_owned(),
    );
    if calibration.per_call_ns.is_none() || calibration.per_switch_ns.is_none() {
        lab.warn("overhead_not_measured", "the cost of observing could not be measured here".to_owned());
    }
    let study = Study {
        name: experiment.name.to_owned(),
        question: experiment.question.to_owned(),
        environment,
        measures: outcome.sheet.measures(),
        arms: outcome.sheet.arms(),
        fits: outcome.fits,
        crossovers: outcome.crossovers,
        claims: outcome.claims,
        findings: outcome.findings,
        tables: outcome.tables,
        pictures: outcome.pictures,
    };
    let loss = lab.loss;
    let iotrace_cpu_ns = clock::own_cpu_ns();
    let overhead = Overhead {
        per_call_ns: calibration.per_call_ns,
        // A study observes itself; what its probes add to others is a question for `trace`.
        per_other_call_ns: None,
        per_switch_ns: calibration.per_switch_ns,
        iotrace_cpu_ns,
        iotrace_loading_cpu_ns: None,
        copy_floors_ns: None,
    };
    let (host, elapsed_ns) = (check::host(Tier::Tracepoint), began.elapsed().as_nanos() as u64);
    let mut document = Document::new("study", host, loss, overhead, elapsed_ns);
    document.studies = vec![study];
    document.warnings = lab.warnings;
    Ok(document)
}

fn output_args(args: &StudyArgs) -> OutputArgs {
    OutputArgs {
        format: if args.format == crate::cli::DoctorFormat::Json { Format::Json } else { Format::Table },
        timeline: false,
        output: args.output.clone(),
        unit: Unit::Auto,
        summary: false,
        color: args.color,
        quiet: args.quiet,
        verbose: false,
        strict: args.strict,
    }
}
