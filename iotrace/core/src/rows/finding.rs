//! A process as the rules of diagnosis read it, and the words of a finding.

use std::collections::BTreeMap;

use crate::summary::{Call, Code, Diagnosis, Process, Time};

/// Share of the time on the clock from which on it is told what a process is busy with.
pub const MUCH: f64 = 0.1;

/// A process with the length of the stretch that it was observed in.
pub struct Case<'a> {
    /// The process.
    pub process: &'a Process,
    /// Its time.
    pub time: &'a Time,
    /// Length of the stretch, ns.
    pub wall_ns: u64,
}

impl Case<'_> {
    /// Share of the time on the clock, 0 to 1 for one thread.
    pub fn share(&self, ns: u64) -> f64 {
        ns as f64 / self.wall_ns as f64
    }

    /// Whether that much of the time on the clock is worth a word.
    pub fn is_much(&self, ns: u64) -> bool {
        self.share(ns) >= MUCH
    }

    /// The sum of a figure over all rows of calls.
    pub fn sum(&self, of: impl Fn(&Call) -> u64) -> u64 {
        self.process.calls.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Time in calls that were open at the end, of those that `is` picks by name, ns. They may have been on a CPU for a
    /// part of it: it is no more than all that was slept in calls and is in no row.
    pub fn open_ns(&self, is: impl Fn(&str) -> bool) -> u64 {
        let rows = &self.process.calls;
        // With `-i` rows have the time of open calls.
        let booked = |name: &str| rows.iter().any(|call| call.open > 0 && call.syscall == name);
        let open = self.process.in_flight.iter().filter(|call| is(&call.syscall) && !booked(&call.syscall));
        let open = open.map(|call| call.at_least_ns.min(self.wall_ns)).fold(0, u64::saturating_add);
        let ended = self.sum(|call| call.wait_ns);
        open.min(self.time.in_calls.wait_ns.saturating_sub(ended))
    }

    /// A finding about so much time.
    pub fn finding(
        &self,
        code: Code,
        ns: u64,
        text: String,
        evidence: &[(&str, u64)],
        next: String,
    ) -> Diagnosis {
        let evidence: BTreeMap<String, u64> =
            evidence.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect();
        // Three digits are all that it means.
        let share = (self.share(ns) * 1000.0).round() / 1000.0;
        Diagnosis { code, share, text, evidence, next }
    }

    /// A command about this process.
    pub fn command(&self, options: &str) -> String {
        match self.process.pid {
            0 => format!("iotrace trace {options} -- COMMAND"),
            pid => format!("iotrace trace {options} -p {pid}"),
        }
    }
}

/// A time in a sentence.
pub fn ms(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

/// A share in a sentence.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
