//! What every study works with: the options, the rounds, the probes, and what went wrong.

use std::fs;
use std::io::{IsTerminal, Write};

use super::observe::Watching;
use super::{Experiment, limits};
use crate::bpf::probes::Group;
use crate::session;
use crate::session::error::Failure;
use iotrace_core::domain::Loss;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Environment, Warning};

/// Rounds that count, and of `--quick` as few as still give an interval.
const REPEATS: (u32, u32) = (9, 6);
/// Rounds before them.
const WARMUP: u32 = 1;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Counted rounds; the study's own number without it.
    pub repeats: Option<u32>,
    /// Fewer points and smaller sizes.
    pub quick: bool,
    /// Most connections.
    pub connections: Option<u32>,
    /// Only these arms; empty: all.
    pub arms: Vec<String>,
    /// No progress.
    pub quiet: bool,
}

/// A study under way.
pub struct Lab {
    options: Options,
    name: &'static str,
    default_connections: u32,
    progress: bool,
    /// What the reader must know.
    pub warnings: Vec<Warning>,
    /// What the probes lost.
    pub loss: Loss,
}

impl Lab {
    /// For this study with these options.
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

    /// The first, or with `--quick` the second.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// Counted rounds.
    pub fn repeats(&self) -> u32 {
        self.options.repeats.unwrap_or_else(|| self.size(REPEATS.0, REPEATS.1))
    }

    /// Most connections: as asked for, else the study's number, with `--quick` `quick`.
    pub fn connections(&self, quick: u32) -> u32 {
        self.options.connections.unwrap_or_else(|| self.size(self.default_connections, quick))
    }

    /// Whether this arm is to be measured.
    pub fn wants(&self, arm: &str) -> bool {
        self.options.arms.is_empty() || self.options.arms.iter().any(|one| one == arm)
    }

    /// This arm cannot be measured here.
    ///
    /// # Errors
    /// It was asked for by name.
    pub fn leave_out(&mut self, arm: &str, why: &str) -> Result<(), Failure> {
        if self.options.arms.iter().any(|one| one == arm) {
            return Err(Failure::Failed(format!(
                "arm {arm} of study {} is impossible here: {why}",
                self.name
            )));
        }
        self.warn("arm_left_out", format!("{arm} was left out: {why}"));
        Ok(())
    }

    /// Something the reader must know, once.
    pub fn warn(&mut self, code: &str, text: String) {
        if self.warnings.iter().all(|known| known.text != text) {
            self.warnings.push(Warning { code: code.to_owned(), text });
        }
    }

    /// Measures `arms` arms in turn, a round of warm-up and then the counted ones. `measure` measures the arm
    /// of the given index once and puts the figure on the sheet. Each round begins one arm later than the
    /// one before: a disturbance that lasts hits different arms, and none is always the first.
    ///
    /// # Errors
    /// Of `measure`, and Ctrl-C.
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
                    None => format!("{what}: warm-up, arm {} of {arms}", step + 1),
                    Some(round) => {
                        format!("{what}: round {} of {repeats}, arm {} of {arms}", round + 1, step + 1)
                    }
                });
                if session::interrupted() {
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
                format!("{repeats} repeats give no 95 % interval of a median: it takes 6"),
            );
        }
        Ok(())
    }

    /// Attaches the probes to this process.
    ///
    /// # Errors
    /// Where nothing can be observed.
    pub fn watch(&mut self, groups: &[Group], futex: bool) -> Result<Watching, Failure> {
        self.show("attaching the probes");
        let watching = Watching::attach(groups.to_vec(), futex)?;
        self.clear();
        for (_, text) in watching.missing() {
            self.warn("probe_missing", text);
        }
        Ok(watching)
    }

    /// Detaches them, and takes over what was lost.
    pub fn unwatch(&mut self, watching: Watching) {
        self.loss = self.loss.and(watching.loss());
    }

    /// The conditions, as they are now.
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

    /// The progress line.
    pub fn show(&self, text: &str) {
        if self.progress {
            // That a progress line cannot be written changes nothing.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}: {text} ...", self.name);
        }
    }

    fn clear(&self) {
        if self.progress {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
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
