//! Counting tests by the closing lines that libtest prints.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ran and how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and test programs that ended without saying.
    pub failed: u64,
}

impl Tally {
    /// Adds what one line of output says: `test result: ok. 3 passed; 0 failed; ...`, wherever it stands
    /// in the line (a console puts its own words before it). Says whether it was such a line.
    pub fn take(&mut self, line: &str) -> bool {
        let Some((_, result)) = line.split_once("test result: ") else { return false };
        let count = |what: &str| {
            let before = result.split_once(what)?.0;
            before.rsplit([' ', '.', ';']).find(|word| !word.is_empty())?.parse::<u64>().ok()
        };
        let (Some(passed), Some(failed)) = (count(" passed"), count(" failed")) else { return false };
        *self += Self { passed, failed };
        true
    }

    /// Whether tests ran, and all passed.
    pub fn is_success(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
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
        assert_eq!(tally, Tally { passed: 13, failed: 2 });
        assert_eq!(tally.to_string(), "13 passed, 2 failed");
    }

    #[test]
    fn no_test_is_no_success() {
        assert!(!Tally::default().is_success());
        assert!(!Tally { passed: 1, failed: 1 }.is_success());
        assert!(Tally { passed: 1, failed: 0 }.is_success());
    }
}
