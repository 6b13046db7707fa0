//! How long tests take, by when their lines arrive: libtest tells only the sum of a program, and in a VM that
//! by a clock of its own.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How many of the slowest tests are named.
const NAMED: usize = 12;

/// Times of the tests of one machine, which run one at a time.
pub struct Times {
    /// When the last thing ended: what comes next began then.
    since: Instant,
    program: Option<(String, Instant)>,
    test: Option<String>,
    programs: Vec<(Duration, String)>,
    tests: Vec<(Duration, String)>,
}

impl Times {
    /// Nothing has run yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, program: None, test: None, programs: Vec::new(), tests: Vec::new() }
    }

    /// Takes what one line of output says, which came just now. A test may print between `test NAME ... ` and
    /// its `ok`, which then stands on a line of its own.
    pub fn take(&mut self, line: &str, now: Instant) {
        if let Some(name) = line.strip_prefix("== ").and_then(|rest| rest.split(' ').next()) {
            self.ended(now);
            (self.program, self.since) = (Some((name.to_owned(), now)), now);
        } else if line.starts_with("running ") {
            self.since = now;
        } else if line.starts_with("test result: ") {
            self.ended(now);
        } else if let Some((name, rest)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            self.test = Some(name.to_owned());
            self.verdict(rest, now);
        } else {
            self.verdict(line, now);
        }
    }

    fn verdict(&mut self, said: &str, now: Instant) {
        if matches!(said, "ok" | "FAILED")
            && let Some(name) = self.test.take()
        {
            self.tests.push((now - self.since, name));
            self.since = now;
        }
    }

    /// The running program ended.
    fn ended(&mut self, now: Instant) {
        self.test = None;
        if let Some((name, began)) = self.program.take() {
            self.programs.push((now - began, name));
        }
    }

    /// A line for each program, and the slowest tests; nothing where nothing ran.
    pub fn report(mut self, now: Instant) -> Vec<String> {
        self.ended(now);
        let mut lines: Vec<String> = self
            .programs
            .iter()
            .map(|(took, name)| format!("{:>7.1} s {name}", took.as_secs_f64()))
            .collect();
        self.tests.sort_by(|one, other| other.cmp(one));
        if !self.tests.is_empty() {
            let mut slowest = "slowest tests:".to_owned();
            for (took, name) in self.tests.iter().take(NAMED) {
                let _ = write!(slowest, "\n{:>7.1} s {name}", took.as_secs_f64());
            }
            lines.extend(slowest.lines().map(str::to_owned));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_takes_from_the_end_of_the_one_before_it() {
        let start = Instant::now();
        let mut times = Times::new(start);
        for (second, line) in [
            (5, "== kernel_run (6.12)"),
            (6, "running 2 tests"),
            (10, "test quick ... ok"),
            (20, "test talks ... some figures"),
            (30, "more figures"),
            (31, "ok"),
            (32, "test result: ok. 2 passed; 0 failed"),
            (33, "== kernel_study (6.12)"),
            (33, "running 1 test"),
            (35, "test wrong ... FAILED"),
            (36, "ok"),
        ] {
            times.take(line, start + Duration::from_secs(second));
        }
        assert_eq!(
            times.report(start + Duration::from_secs(43)),
            [
                "   27.0 s kernel_run",
                "   10.0 s kernel_study",
                "slowest tests:",
                "   21.0 s talks",
                "    4.0 s quick",
                "    2.0 s wrong",
            ]
        );
    }
}
