//! What every study works with: the options, the rounds, the probes, and the warnings and losses so far.

use std::fs;
use std::io::IsTerminal;

use super::observe::Watching;
use super::{Experiment, limits};
use crate::bpf::probes::Group;
use crate::host::stderr;
use crate::session::error::Failure;
use crate::session::interrupts;
use iotrace_core::domain::Loss;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Environment, Warning};

/// Counted rounds, and those of `--quick`: the least number that gives a 95 % interval of a median.
const REPEATS: (u32, u32) = (9, 6);
/// Warm-up rounds before the counted ones.
const WARMUP: u32 = 1;

/// The options of `iotrace study` that a study works with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Counted rounds; `None`: 9, with `quick` 6.
    pub repeats: Option<u32>,
    /// Fewer points and smaller sizes.
    pub quick: bool,
    /// Most connections; `None`: the study's own number.
    pub connections: Option<u32>,
    /// Arms to measure; empty: all.
    pub arms: Vec<String>,
    /// Whether to print no progress line.
    pub quiet: bool,
}

/// A study that is being carried out.
pub struct Lab {
    options: Options,
    name: &'static str,
    default_connections: u32,
    progress: bool,
    /// Warnings for the reader of the result, each once.
    pub warnings: Vec<Warning>,
    /// What the probes lost so far.
    pub loss: Loss,
}

impl Lab {
    /// A lab for `experiment` with `options`.
    pub fn new(experiment: &Experiment, options: Options) -> Self {
        let progress = !options.quiet && std::io::stderr().is_terminal();
        Self {
            options,
            name: experiment.name,
            default_connections: experiment.connections.unwrap_or(1),
            progress,
            warnings: Vec::new(),
            loss: Loss::NOTHING,
        }
    }

    /// `full`, or with `--quick` `quick`.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// Number of counted rounds.
    pub fn repeats(&self) -> u32 {
        self.options.repeats.unwrap_or_else(|| self.size(REPEATS.0, REPEATS.1))
    }

    /// Most connections: the option's number, else the study's own, or with `--quick` `quick`.
    pub fn connections(&self, quick: u32) -> u32 {
        self.options.connections.unwrap_or_else(|| self.size(self.default_connections, quick))
    }

    /// Whether this arm is to be measured.
    pub fn wants(&self, arm: &str) -> bool {
        self.options.arms.is_empty() || self.options.arms.iter().any(|one| one == arm)
    }

    /// Leaves out an arm that cannot be measured here, with a warning that says why.
    ///
    /// # Errors
    /// The user asked for this arm by name.
    pub fn leave_out(&mut self, arm: &str, why: &str) -> Result<(), Failure> {
        if self.options.arms.iter().any(|one| one == arm) {
            return Err(Failure::Failed(format!(
                "variant {arm} of study {} cannot be measured here: {why}",
                self.name
            )));
        }
        self.warn("arm_left_out", format!("{arm} was left out: {why}"));
        Ok(())
    }

    /// Keeps a warning, unless one of the same text is kept already.
    pub fn warn(&mut self, code: &str, text: String) {
        if self.warnings.iter().all(|known| known.text != text) {
            self.warnings.push(Warning { code: code.to_owned(), text });
        }
    }

    /// Measures `arms` arms in turn, a round of warm-up and then the counted rounds. `measure` measures the arm
    /// of the given index once and puts the figure on the sheet. Each round begins one arm later than the round
    /// before it, so that a disturbance that lasts hits different arms, and no arm is always the first.
    ///
    /// # Errors
    /// `measure` failed, or the user pressed Ctrl-C.
    pub fn rounds(
        &mut self,
        what: &str,
        sheet: &mut Sheet,
        arms: usize,
        mut measure: impl FnMut(usize, &mut Sheet) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let repeats = self.repeats();
        let mut scratch = sheet.clone();
        for round in 0..WARMUP + repeats {
            let counted = round.checked_sub(WARMUP);
            let target = if counted.is_some() { &mut *sheet } else { &mut scratch };
            target.begin(counted.unwrap_or(0) as usize);
            for step in 0..arms {
                self.show(&match counted {
                    None => format!("{what}: warm-up, variant {} of {arms}", step + 1),
                    Some(round) => {
                        format!("{what}: round {} of {repeats}, variant {} of {arms}", round + 1, step + 1)
                    }
                });
                if interrupts::interrupted() {
                    self.clear();
                    return Err(Failure::Interrupted);
                }
                let outcome = measure((step + round as usize) % arms, target);
                if outcome.is_err() {
                    self.clear();
                }
                outcome?;
            }
        }
        self.clear();
        if repeats < 6 {
            self.warn(
                "no_interval",
                format!(
                    "{} too few for a 95 % interval of a median: it takes at least 6",
                    match repeats {
                        1 => "one repeat is".to_owned(),
                        more => format!("{more} repeats are"),
                    }
                ),
            );
        }
        Ok(())
    }

    /// Attaches the probes of `groups` to this process; with `futex` futex waits are recorded, too.
    ///
    /// # Errors
    /// The kernel lets no probe be attached.
    pub fn watch(&mut self, groups: &[Group], futex: bool) -> Result<Watching, Failure> {
        self.show("attaching the probes");
        let watching = Watching::attach(groups.to_vec(), futex)?;
        self.clear();
        for text in watching.missing() {
            self.warn("probe_missing", text);
        }
        Ok(watching)
    }

    /// Detaches the probes, and adds what they lost to the loss of the study.
    pub fn unwatch(&mut self, watching: Watching) {
        self.loss = self.loss.and(watching.loss());
    }

    /// The conditions of the study, as they are now.
    pub fn environment(&self) -> Environment {
        let word = |path: &str| Some(fs::read_to_string(path).ok()?.trim().to_owned());
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Environment {
            repeats: self.repeats(),
            warmup: WARMUP,
            quick: self.options.quick,
            clocksource: word("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            load: word("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            cpu: model.map(|(_, name)| name.trim().to_owned()),
            descriptors: limits::descriptors().soft,
        }
    }

    /// Shows `text` as the progress line on a terminal.
    pub fn show(&self, text: &str) {
        if self.progress {
            stderr::progress(&format!("{}: {text} ...", self.name));
        }
    }

    fn clear(&self) {
        if self.progress {
            stderr::progress("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Outcome;
    use iotrace_core::summary::Source;

    const SAMPLE: Experiment = Experiment {
        name: "sample",
        question: "?",
        arms: &["a", "b"],
        connections: Some(10),
        run: |_| Ok(Outcome::default()),
    };

    fn lab(options: Options) -> Lab {
        Lab::new(&SAMPLE, Options { quiet: true, ..options })
    }

    #[test]
    fn rounds_interleave_the_arms_and_do_not_count_the_warm_up() {
        let mut sheet = Sheet::default();
        sheet.measure("order", "Position", "calls", Source::Count, None);
        let mut order = Vec::new();
        let mut lab = lab(Options { repeats: Some(2), ..Options::default() });
        lab.rounds("test", &mut sheet, 3, |arm, sheet| {
            order.push(arm);
            sheet.add("order", &arm.to_string(), None, order.len() as f64);
            Ok(())
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(sheet.samples("order", "1", None), [4.0, 9.0]);
        assert_eq!(lab.warnings[0].code, "no_interval");
    }

    #[test]
    fn an_impossible_arm_is_an_error_only_if_it_was_asked_for() {
        let mut all = lab(Options::default());
        assert!(all.wants("a") && all.leave_out("a", "no kernel has it").is_ok());
        assert!(all.warnings[0].text.contains("no kernel has it"));
        let mut one = lab(Options { arms: vec!["a".to_owned()], ..Options::default() });
        assert!(!one.wants("b") && one.leave_out("a", "no").is_err());
    }

    #[test]
    fn sizes_follow_the_options() {
        let quick = lab(Options { quick: true, ..Options::default() });
        assert_eq!((quick.connections(3), quick.repeats(), quick.size(5, 2)), (3, 6, 2));
        let asked = lab(Options { connections: Some(7), quick: true, ..Options::default() });
        assert_eq!(asked.connections(3), 7);
        assert_eq!(lab(Options::default()).connections(3), 10);
    }
}
