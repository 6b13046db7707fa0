//! Counting tests by the closing lines that libtest prints, and attempts by those of `tests/support/attempts.rs`.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

/// How many of a hundred attempts may fail in a whole run, see docs/testing.md. Above it, tests that repeat what
/// a busy machine may spoil have become tests that repeat until they pass.
const BUDGET: u64 = 10;

/// How many tests ran and how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and test programs that ended without saying.
    pub failed: u64,
    /// What was tried by tests that may repeat something.
    pub attempts: Attempts,
}

/// Attempts of tests that may repeat something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// How many there were.
    pub made: u64,
    /// How many of them passed: each result needs one.
    pub passed: u64,
}

impl Attempts {
    /// What a line says: `attempts: 2 made, 1 passed, 8 allowed: why`, wherever it begins in the line: it is
    /// written beside libtest's own.
    fn of(line: &str) -> Option<Self> {
        let mut parts = line.split_once("attempts: ")?.1.split(", ");
        let mut number = |what: &str| parts.next()?.strip_suffix(what)?.parse().ok();
        let (made, passed) = (number(" made")?, number(" passed")?);
        (passed <= made).then_some(Self { made, passed })
    }

    fn failed(self) -> u64 {
        self.made - self.passed
    }

    /// Whether so many failed as may.
    fn is_within_budget(self) -> bool {
        self.failed() * 100 <= self.made * BUDGET
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.failed() as f64 * 100.0 / self.made.max(1) as f64;
        let Self { made, passed } = self;
        write!(f, "attempts: {made} for {passed} results, {percent:.1} % failed (budget {BUDGET} %)")
    }
}

impl Tally {
    /// Adds what one line of output says: `test result: ok. 3 passed; 0 failed; ...`, wherever it stands
    /// in the line (a console puts its own words before it), or how often something was tried. Says whether it
    /// was such a line.
    pub fn take(&mut self, line: &str) -> bool {
        if let Some(attempts) = Attempts::of(line) {
            *self += Self { attempts, ..Self::default() };
            return true;
        }
        let Some((_, result)) = line.split_once("test result: ") else { return false };
        let count = |what: &str| {
            let before = result.split_once(what)?.0;
            before.rsplit([' ', '.', ';']).find(|word| !word.is_empty())?.parse::<u64>().ok()
        };
        let (Some(passed), Some(failed)) = (count(" passed"), count(" failed")) else { return false };
        *self += Self { passed, failed, ..Self::default() };
        true
    }

    /// Whether tests ran, and all passed.
    pub fn is_success(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// Prints the closing lines, and judges. A run of a few chosen tests has too few attempts for a share.
    pub fn conclude(self, chosen: bool) -> ExitCode {
        if self.attempts.made > 0 {
            println!("{}", self.attempts);
        }
        let repeats = !chosen && !self.attempts.is_within_budget();
        if repeats {
            eprintln!(
                "xtask: more attempts failed than may: find out what spoils them, rather than try again"
            );
        }
        println!("{self}");
        if self.is_success() && !repeats { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.attempts.made += other.attempts.made;
        self.attempts.passed += other.attempts.passed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_closing_lines_and_nothing_else() {
        let mut tally = Tally::default();
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert!(tally.take(ok));
        assert!(tally.take("[   2.1] test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured"));
        assert!(!tally.take("test spans::nested ... ok"));
        assert!(!tally.take("test result: garbled"));
        assert_eq!(tally, Tally { passed: 13, failed: 2, ..Tally::default() });
        assert_eq!(tally.to_string(), "13 passed, 2 failed");
    }

    #[test]
    fn no_test_is_no_success() {
        assert!(!Tally::default().is_success());
        assert!(!Tally { passed: 1, failed: 1, ..Tally::default() }.is_success());
        assert!(Tally { passed: 1, failed: 0, ..Tally::default() }.is_success());
    }

    #[test]
    fn attempts_are_added_up_wherever_they_stand() {
        let mut tally = Tally::default();
        assert!(tally.take("attempts: 1 made, 1 passed, 8 allowed: the kernel may skip probes"));
        assert!(tally.take("[6.12] test a::b ... attempts: 3 made, 1 passed, 3 allowed: x, y"));
        assert!(tally.take("attempts: 34 made, 30 passed, 5 allowed: scenes"));
        assert!(tally.take("attempts: 8 made, 0 passed, 8 allowed: in vain"));
        for other in ["attempts: 1 for 1 results", "attempts: 1 made, 2 passed, 3 allowed: no", "attempts: "]
        {
            assert!(!tally.take(other), "{other}");
        }
        assert_eq!(tally.attempts, Attempts { made: 46, passed: 32 });
        let said = tally.attempts.to_string();
        assert!(said.starts_with("attempts: 46 for 32 results, 30.4 % failed"), "{said}");
    }

    #[test]
    fn a_run_in_which_too_many_attempts_failed_fails() {
        let with = |made, passed| Tally { passed: 1, failed: 0, attempts: Attempts { made, passed } };
        let enough = 100 - BUDGET;
        assert_eq!(with(100, enough).conclude(false), ExitCode::SUCCESS);
        assert_eq!(with(100, enough - 1).conclude(false), ExitCode::FAILURE);
        assert_eq!(with(100, enough - 1).conclude(true), ExitCode::SUCCESS, "a few chosen tests");
        assert_eq!(with(0, 0).conclude(false), ExitCode::SUCCESS);
    }
}
