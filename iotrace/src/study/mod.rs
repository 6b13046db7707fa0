//! Experiments on kernel behaviour: one file each with a question, its arms (the variants that are compared), and
//! what is measured.
//!
//! A study takes a [`Lab`], makes its descriptors, and calls [`Lab::rounds`] with a closure that measures
//! one arm once and puts the figure on a [`Sheet`]. Warm-up, order, medians, intervals, lines, tables,
//! plots and JSON are the same for all studies. A study of phases attaches iotrace's probes to its own process
//! with [`Lab::watch`]; a study that times whole calls attaches none, because probes would add to the time.
//!
//! To add one: a file with `run(&mut Lab) -> Result<Outcome, Failure>` and a line in [`ALL`].

pub mod ask;
pub mod asynchronous;
pub mod bench;
pub mod claims;
pub mod clock;
pub mod copy;
pub mod crowd;
pub mod hog;
pub mod lab;
pub mod latency;
pub mod limits;
pub mod models;
pub mod observe;
pub mod pair;
pub mod scaling;
pub mod triggers;

pub use self::lab::{Lab, Options};
pub use iotrace_core::samples::sheet::Sheet;

use crate::session::error::Failure;
use iotrace_core::report::Unit;
use iotrace_core::summary::{Claim, Crossover, Fit, Picture, Table};

/// A study that the user can choose by name.
#[derive(Debug)]
pub struct Experiment {
    /// Its name on the command line and in JSON.
    pub name: &'static str,
    /// The question it answers, one sentence with a question mark.
    pub question: &'static str,
    /// The arms that `--arm` may choose from.
    pub arms: &'static [&'static str],
    /// Most connections without `--connections`; `None`: the study has a fixed number, and the option is refused.
    pub connections: Option<u32>,
    /// Carries the study out.
    pub run: fn(&mut Lab) -> Result<Outcome, Failure>,
}

/// The result of a study, before it becomes a [`iotrace_core::summary::Study`].
#[derive(Debug, Default)]
pub struct Outcome {
    /// The samples of all rounds.
    pub sheet: Sheet,
    /// Straight lines through the points of an arm.
    pub fits: Vec<Fit>,
    /// Points from which one arm costs more than another.
    pub crossovers: Vec<Crossover>,
    /// Claims put to the test, with their verdicts.
    pub claims: Vec<Claim>,
    /// What the figures say: one sentence each, made from the figures.
    pub findings: Vec<String>,
    /// Measures that are shown side by side.
    pub tables: Vec<Table>,
    /// The course of the median message of each arm.
    pub pictures: Vec<Picture>,
}

/// Every study, in the order in which they are listed.
pub const ALL: &[Experiment] = &[
    models::MODELS,
    scaling::SCALING,
    triggers::TRIGGERS,
    copy::COPY,
    latency::LATENCY,
    asynchronous::ASYNC,
    claims::CLAIMS,
];

/// The study of this name.
///
/// # Errors
/// No study has this name; the message lists the names that exist.
pub fn named(name: &str) -> Result<&'static Experiment, Failure> {
    ALL.iter().find(|one| one.name == name).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|one| one.name).collect();
        Failure::Usage(format!("there is no study {name}; known are {}", known.join(", ")))
    })
}

/// Most repeats: with 10,000 a study takes a day.
const MOST_REPEATS: u32 = 10_000;

/// Refuses options that make no sense for the study.
///
/// # Errors
/// An option does not fit the study; the message says what would.
pub fn check(experiment: &Experiment, options: &Options) -> Result<(), Failure> {
    let name = experiment.name;
    if options.repeats == Some(0) {
        return Err(Failure::Usage("0 repeats measure nothing: use at least 1".to_owned()));
    }
    if let Some(repeats) = options.repeats
        && repeats > MOST_REPEATS
    {
        return Err(Failure::Usage(format!("{repeats} repeats are too many: use at most {MOST_REPEATS}")));
    }
    for arm in &options.arms {
        if experiment.arms.is_empty() {
            return Err(Failure::Usage(format!(
                "study {name} has no variants to choose from: leave out --arm"
            )));
        }
        if !experiment.arms.contains(&arm.as_str()) {
            return Err(Failure::Usage(format!(
                "study {name} has no variant {arm}; it has {}",
                experiment.arms.join(", ")
            )));
        }
    }
    match (options.connections, experiment.connections) {
        (Some(_), None) => Err(Failure::Usage(format!(
            "study {name} has a fixed number of connections: leave out --connections"
        ))),
        (Some(0), _) => Err(Failure::Usage("0 connections measure nothing: use at least 1".to_owned())),
        _ => Ok(()),
    }
}

/// `once`, `0 times`, `3 times`: the median of a count in a sentence.
fn times(number: f64) -> String {
    if number == 1.0 { "once".to_owned() } else { format!("{number:.0} times") }
}

/// A time in a sentence, from the median of samples in ns: `5.83 us`.
fn time(ns: f64) -> String {
    Unit::Auto.show(ns.round().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Experiment = Experiment {
        name: "sample",
        question: "?",
        arms: &["poll"],
        connections: None,
        run: |_| Ok(Outcome::default()),
    };

    fn refused(options: Options) -> String {
        check(&SAMPLE, &options).unwrap_err().to_string()
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        assert!(refused(Options { repeats: Some(0), ..Options::default() }).contains("at least 1"));
        assert!(refused(Options { connections: Some(5), ..Options::default() }).contains("leave out"));
        let unknown = Options { arms: vec!["kqueue".to_owned()], ..Options::default() };
        assert!(refused(unknown).contains("it has poll"));
        assert!(check(&SAMPLE, &Options::default()).is_ok());
        assert!(named("nothing").unwrap_err().to_string().contains("there is no study nothing"));
    }

    #[test]
    fn names_are_unique_and_short() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != one.name));
            assert!(one.name.len() <= 10 && one.question.ends_with('?'), "{}", one.name);
        }
    }
}
