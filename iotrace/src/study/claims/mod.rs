//! Claims about I/O models as textbooks and articles make them, each put to the test.
//!
//! A [`Trial`] has the claim, the experiment, the rule, and a judge: a function from the medians of the figures to a
//! verdict and its reason. Verdicts are made nowhere else. To add a claim, add a trial to one of the files here
//! and to `TRIALS`.

mod asynchronous;
mod limits;
mod memory;
mod readiness;
mod waiting;
mod wakeups;

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::observe::Watching;
use super::{Experiment, Lab, Outcome};
use crate::bpf::probes::Group;
use crate::session::error::Failure;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Claim, Ruling, Source};

/// The study `claims`: claims about I/O models put to the test.
pub const CLAIMS: Experiment = Experiment {
    name: "claims",
    question: "Which claims about I/O models hold on this kernel?",
    arms: &[],
    connections: None,
    run,
};

const TRIALS: [&Trial; 16] = [
    &waiting::BLOCKING,
    &waiting::NONBLOCKING,
    &waiting::POLLING,
    &readiness::WHERE_IT_BLOCKS,
    &readiness::MANY,
    &limits::SELECT,
    &limits::POLL,
    &limits::EPOLL,
    &readiness::SCAN,
    &memory::COPIES_SETS,
    &memory::SHARED,
    &readiness::TRIGGERS,
    &asynchronous::SIGIO,
    &asynchronous::AIO,
    &memory::KERNEL_MEMORY,
    &wakeups::ONCE,
];

/// A claim, and how it is put to the test.
pub struct Trial {
    /// Stable short name, unique among the claims.
    pub id: &'static str,
    /// The claim in the words in which it is usually made.
    pub claim: &'static str,
    /// What the experiment does, and where its figures come from.
    pub experiment: &'static str,
    /// How the verdict follows from the figures.
    pub rule: &'static str,
    /// Whether the trial needs the kernel's records; if not, no probe is attached.
    pub observed: bool,
    /// The figures that it measures.
    pub measures: &'static [Figure],
    /// Carries out the experiment once.
    ///
    pub run: fn(&mut Bench<'_>) -> io::Result<()>,
    /// The verdict and the sentence that says why; `None`: a figure was not measured.
    pub judge: fn(&Found<'_>) -> Option<(Ruling, String)>,
}

/// A figure of a trial.
pub struct Figure {
    /// Its name, unique in the trial; it is a key in the JSON.
    pub name: &'static str,
    /// `ns`, or what was counted; empty where the name says it.
    pub unit: &'static str,
    /// Where it comes from.
    pub source: Source,
}

impl Figure {
    /// The figure `name` in `unit`.
    pub const fn of(name: &'static str, unit: &'static str, source: Source) -> Self {
        Self { name, unit, source }
    }
}

/// What a trial works with.
pub struct Bench<'a> {
    id: &'static str,
    sheet: &'a mut Sheet,
    watching: Option<&'a mut Watching>,
}

impl Bench<'_> {
    /// Puts the figure `name` of this round on the sheet.
    pub fn put(&mut self, name: &str, value: f64) {
        self.sheet.add(&key(self.id, name), self.id, None, value);
    }

    /// The attached probes.
    ///
    /// # Errors
    /// No probe is attached: the trial is not [`Trial::observed`].
    pub fn watching(&mut self) -> io::Result<&mut Watching> {
        self.watching.as_deref_mut().ok_or_else(|| io::Error::other("no probe is attached"))
    }
}

/// The medians of the figures of a trial.
pub struct Found<'a> {
    id: &'static str,
    sheet: &'a Sheet,
}

impl Found<'_> {
    /// The median of the figure `name`, in its unit; `None`: it was not measured.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.sheet.median(&key(self.id, name), self.id, None)
    }
}

fn key(id: &str, name: &str) -> String {
    format!("{id}: {name}")
}

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let mut sheet = Sheet::default();
    for trial in TRIALS {
        for &Figure { name, unit, source } in trial.measures {
            sheet.measure(&key(trial.id, name), name, unit, source, None);
        }
    }
    let mut failed: HashMap<&str, String> = HashMap::new();
    let (observed, alone): (Vec<&Trial>, Vec<&Trial>) =
        TRIALS.iter().copied().partition(|trial| trial.observed);
    lab.rounds("timing", &mut sheet, alone.len(), |index, sheet| {
        attempt(alone[index], sheet, None, &mut failed);
        Ok(())
    })?;
    let groups = [Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix];
    let mut watching = lab.watch(&groups, false)?;
    lab.rounds("observing", &mut sheet, observed.len(), |index, sheet| {
        attempt(observed[index], sheet, Some(&mut watching), &mut failed);
        Ok(())
    })?;
    lab.unwatch(watching);
    let claims = TRIALS.iter().map(|trial| judged(trial, &sheet, failed.get(trial.id))).collect();
    for (id, why) in failed {
        lab.warn("claim_not_measured", format!("{id}: {why}"));
    }
    Ok(Outcome { claims, ..Outcome::default() })
}

/// Carries out a trial once. A trial that has failed is not tried again.
fn attempt(
    trial: &'static Trial,
    sheet: &mut Sheet,
    watching: Option<&mut Watching>,
    failed: &mut HashMap<&str, String>,
) {
    if failed.contains_key(trial.id) {
        return;
    }
    if let Err(error) = (trial.run)(&mut Bench { id: trial.id, sheet, watching }) {
        failed.insert(trial.id, error.to_string());
    }
}

fn judged(trial: &'static Trial, sheet: &Sheet, failed: Option<&String>) -> Claim {
    let verdict = match failed {
        Some(why) => Some((Ruling::NotMeasured, format!("The experiment failed: {why}."))),
        None => (trial.judge)(&Found { id: trial.id, sheet }),
    };
    let (verdict, because) = verdict.unwrap_or_else(|| {
        (Ruling::NotMeasured, "A figure that the rule needs was not measured here.".to_owned())
    });
    let evidence: BTreeMap<_, _> = trial
        .measures
        .iter()
        .map(|&Figure { name, .. }| (name.to_owned(), sheet.evidence(&key(trial.id, name), trial.id, None)))
        .collect();
    Claim {
        id: trial.id.to_owned(),
        claim: trial.claim.to_owned(),
        experiment: trial.experiment.to_owned(),
        verdict,
        rule: trial.rule.to_owned(),
        because,
        evidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict of a trial on these figures.
    pub fn verdict(trial: &'static Trial, figures: &[f64]) -> Ruling {
        let mut sheet = Sheet::default();
        assert_eq!(trial.measures.len(), figures.len(), "{}", trial.id);
        for (&Figure { name, unit, source }, value) in trial.measures.iter().zip(figures) {
            sheet.measure(&key(trial.id, name), name, unit, source, None);
            sheet.add(&key(trial.id, name), trial.id, None, *value);
        }
        judged(trial, &sheet, None).verdict
    }

    #[test]
    fn verdicts_follow_the_figures() {
        use Ruling::{Conditional, Fails, Holds};
        for (trial, figures, want) in [
            (&waiting::BLOCKING, &[1.0, 1e6, 1.0, 500.0][..], Holds),
            (&waiting::BLOCKING, &[0.0, 0.0, 1.0, 500.0], Fails),
            (&waiting::BLOCKING, &[1.0, 1e6, 0.0, 0.0], Fails),
            (&waiting::NONBLOCKING, &[1.0, 0.0, 1.0, 9000.0], Holds),
            (&waiting::NONBLOCKING, &[1.0, 2.0, 1.0, 9000.0], Fails),
            (&waiting::POLLING, &[5e5, 1e6, 2e6, 0.5], Conditional),
            (&waiting::POLLING, &[1e6, 2e6, 4e6, 1.0], Holds),
            (&waiting::POLLING, &[1e3, 1e3, 1e3, 0.0], Fails),
            (&limits::SELECT, &[1024.0, 3000.0], Fails),
            (&limits::SELECT, &[2048.0, 1500.0], Holds),
            (&limits::POLL, &[1.0, 1.0], Conditional),
            (&limits::POLL, &[1.0, 0.0], Holds),
            (&memory::SHARED, &[0.0, 0.0, 1.0], Fails),
            (&memory::SHARED, &[1.0, 1.0, 0.0], Holds),
            (&memory::KERNEL_MEMORY, &[1.0, 1.0], Holds),
            (&memory::KERNEL_MEMORY, &[1.0, 0.0], Fails),
            (&wakeups::ONCE, &[1.0, 1.0, 1.0], Holds),
            (&wakeups::ONCE, &[1.0, 0.0, 9.0], Conditional),
            (&wakeups::ONCE, &[2.0, 0.0, 9.0], Fails),
            (&asynchronous::AIO, &[0.0, 1.0, 1.0], Conditional),
            (&asynchronous::AIO, &[0.0, 0.0, 0.0], Holds),
            (&asynchronous::AIO, &[1.0, 0.0, 0.0], Fails),
            (&asynchronous::SIGIO, &[0.0, 5.0, 5.0, 10.0, 10.0], Holds),
            (&asynchronous::SIGIO, &[0.0, 5.0, 5.0, 10.0, 1.0], Conditional),
            (&asynchronous::SIGIO, &[2.0, 5.0, 5.0, 10.0, 1.0], Fails),
        ] {
            assert_eq!(verdict(trial, figures), want, "{} {figures:?}", trial.id);
        }
    }

    #[test]
    fn nothing_measured_is_no_verdict() {
        let sheet = Sheet::default();
        for trial in TRIALS {
            let claim = judged(trial, &sheet, None);
            assert_eq!(claim.verdict, Ruling::NotMeasured, "{}", trial.id);
            assert!(claim.evidence.values().all(|one| one.value.is_none()));
        }
        let failed = judged(TRIALS[0], &sheet, Some(&"no room".to_owned()));
        assert!(failed.because.contains("no room"));
    }
}
