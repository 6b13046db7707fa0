//! A sample of a self-test: checks that passed, one that failed, and one that was skipped.

use super::document;
use crate::summary::{Check, Document};

fn check(name: &str, unit: &str, numbers: [i64; 4]) -> Check {
    let [expected, measured, error, allowed] = numbers.map(Some);
    Check {
        name: name.to_owned(),
        oracle: "CLOCK_MONOTONIC around each call".to_owned(),
        expected,
        measured,
        error,
        allowed,
        unit: unit.to_owned(),
        pass: Some(error <= allowed),
        skipped: None,
        since: None,
        attempts: 1,
    }
}

/// A document with the checks.
pub fn selftest() -> Document {
    let again = Check { attempts: 2, ..check("wait-tcp/wake-up", "ns", [12_700, -1_400, 14_100, 14_900]) };
    let skipped = Check {
        skipped: Some("this kernel has no tracepoint sk_data_ready".to_owned()),
        since: Some("6.3".to_owned()),
        pass: None,
        expected: None,
        measured: None,
        error: None,
        allowed: None,
        unit: String::new(),
        ..check("wait-tcp/ready", "", [0; 4])
    };
    Document {
        command: "selftest".to_owned(),
        checks: vec![
            check("whole/calls-of-threads", "calls", [2_400, 2_400, 0, 0]),
            check("size-tcp/copy-per-KiB", "ns/KiB", [26, 58, 32, 19]),
            again,
            skipped,
        ],
        ..document(Vec::new())
    }
}
