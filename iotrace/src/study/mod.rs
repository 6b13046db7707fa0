//! Experiments on kernel behaviour: one file each with a question, its arms, and what is measured.
//!
//! A study takes a [`Lab`], makes its descriptors, and calls [`Lab::rounds`] with a closure that measures
//! one arm once and puts the figure on a [`Sheet`]. Warm-up, order, medians, intervals, lines, tables,
//! plots and JSON are the same for all. Where phases are the point, [`Lab::watch`] attaches iotrace's
//! probes to this very process; where a call is timed from outside, no probe is attached.
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
use iotrace_core::summary::{Claim, Crossover, Fit, Picture, Table};

/// A study that can be asked for.
#[derive(Debug)]
pub struct Experiment {
    /// What it is called.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
    /// The arms that `--arm` may choose from.
    pub arms: &'static [&'static str],
    /// Whether `--connections` means something to it, and how many there are without it.
    pub connections: Option<u32>,
    /// Carries it out.
    pub run: fn(&mut Lab) -> Result<Outcome, Failure>,
}

/// What a study came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The samples.
    pub sheet: Sheet,
    /// Lines through them.
    pub fits: Vec<Fit>,
    /// Where they cross.
    pub crossovers: Vec<Crossover>,
    /// Verdicts.
    pub claims: Vec<Claim>,
    /// What the figures say, made from them.
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
/// None has it; the message lists those that there are.
pub fn named(name: &str) -> Result<&'static Experiment, Failure> {
    ALL.iter().find(|one| one.name == name).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|one| one.name).collect();
        Failure::Usage(format!("there is no study {name}; known are {}", known.join(", ")))
    })
}

/// Whether what was asked for makes sense for the study.
///
/// # Errors
/// Says what does not, and what would.
pub fn check(experiment: &Experiment, options: &Options) -> Result<(), Failure> {
    let name = experiment.name;
    if options.repeats == Some(0) {
        return Err(Failure::Usage("0 repeats leave nothing to measure: ask for at least 1".to_owned()));
    }
    for arm in &options.arms {
        if experiment.arms.is_empty() {
            return Err(Failure::Usage(format!(
                "the arms of study {name} cannot be chosen: leave out --arm"
            )));
        }
        if !experiment.arms.contains(&arm.as_str()) {
            return Err(Failure::Usage(format!(
                "study {name} has no arm {arm}; it has {}",
                experiment.arms.join(", ")
            )));
        }
    }
    match (options.connections, experiment.connections) {
        (Some(_), None) => Err(Failure::Usage(format!(
            "study {name} has a fixed number of connections: leave out --connections"
        ))),
        (Some(0), _) => {
            Err(Failure::Usage("0 connections leave nothing to ask about: use at least 1".to_owned()))
        }
        _ => Ok(()),
    }
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
