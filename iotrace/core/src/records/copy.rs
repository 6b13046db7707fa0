//! The copy of one transfer: how it is known, and what its floor is.
//!
//! Two kinds of windows come out of the probes. A *marked* one lies between tracepoints at both edges
//! of the copy; a one-byte copy still takes about 300 ns between them (two probe dispatches, the set-up
//! of the copy), and that floor is calibrated and subtracted. Where no start mark exists (small UDP,
//! pipes) the window is the stretch on the CPU up to the end of the receive, and the same window around
//! one-byte messages is subtracted: an *estimate*, with the window as bound.
//!
//! A window of a microsecond around a copy of 50 ns is mostly noise, and "window less floor, never
//! below zero" summed over many calls would count that noise as copy. So the estimate is made once for
//! all like transfers (same kind of window, like size): their median window less the median floor.

use std::collections::HashMap;

use iotrace_ebpf::abi::CallRecord;
use iotrace_ebpf::book::{self, Moved, Recorded};

use crate::domain::{CopySource, syscall};

/// What a window without marks begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Before {
    /// The start of the call or request: the thread was running.
    Running,
    /// The thread's switch-in after a sleep: caches are cold.
    Slept,
    /// The poll wake-up of a request: task work comes some time after it.
    Kicked,
}

/// What a transfer showed of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Marks at both edges.
    Marked {
        /// Time between the marks, all copies together, ns.
        raw: u64,
        /// Number of copies.
        copies: u64,
    },
    /// Only the window it must lie in.
    Window {
        /// Length of the window, ns: the copy took no longer.
        upper: u64,
        /// What it begins with.
        before: Before,
        /// Number of bytes moved; 0: not known.
        bytes: u64,
    },
}

/// The copy of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Time in the copy, ns.
    pub ns: u64,
    /// How the time is known.
    pub source: CopySource,
    /// Upper bound of the time, ns.
    pub upper: u64,
}

/// What the copies of a run are measured against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Median of a marked one-byte copy, ns.
    marked: Option<u64>,
    /// Whether the marks are function hooks.
    exact: bool,
    /// Median window around a one-byte message, ns, by what it begins with.
    windows: HashMap<Before, u64>,
    /// Estimated copy for windows of one kind and size class, ns.
    estimates: HashMap<(Before, u32), u64>,
    /// ns per KiB of an ordinary read of the same kind, for windows whose start says nothing about the copy.
    reference: Option<u64>,
}

impl Copies {
    /// Calibrates with one-byte transfers, and estimates over the counted ones. `reference` are ordinary
    /// reads of one byte and of many.
    pub fn of(
        calibration: impl IntoIterator<Item = Seen>,
        counted: impl IntoIterator<Item = Seen>,
        reference: impl IntoIterator<Item = Seen>,
    ) -> Self {
        let (mut marked, mut floors) = (Vec::new(), HashMap::<Before, Vec<u64>>::new());
        for seen in calibration {
            match seen {
                Seen::Marked { raw, copies } => marked.extend(raw.checked_div(copies)),
                Seen::Window { upper, before, .. } => floors.entry(before).or_default().push(upper),
            }
        }
        let mut counted_windows = HashMap::<(Before, u32), Vec<u64>>::new();
        for seen in counted {
            if let Seen::Window { upper, before, bytes } = seen {
                counted_windows.entry((before, class(bytes))).or_default().push(upper);
            }
        }
        let windows: HashMap<Before, u64> =
            floors.into_iter().filter_map(|(before, all)| Some((before, median(all)?))).collect();
        let mut copies = Self { marked: median(marked), windows, ..Self::default() };
        copies.reference = per_kib(reference);
        copies.estimates = counted_windows
            .into_iter()
            .filter_map(|(key, all)| {
                Some((key, median(all)?.saturating_sub(copies.window(key.0).unwrap_or(0))))
            })
            .collect();
        copies
    }

    /// These measurements, with the note whether function hooks made the marks.
    #[must_use]
    pub fn exact(self, exact: bool) -> Self {
        Self { exact, ..self }
    }

    /// Whether function hooks made the marks.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The copy of a transfer, floor subtracted.
    pub fn copied(&self, seen: Seen) -> Copied {
        match seen {
            Seen::Marked { raw, copies } => {
                let floor = self.marked.unwrap_or(0).saturating_mul(copies);
                let source = if self.exact { CopySource::Exact } else { CopySource::Marked };
                Copied { ns: raw.saturating_sub(floor), source, upper: raw }
            }
            Seen::Window { upper, before, bytes } => {
                let estimate = match self.reference {
                    Some(per_kib) if before == Before::Kicked => bytes.saturating_mul(per_kib) / 1024,
                    _ => self.estimates.get(&(before, class(bytes))).copied().unwrap_or(0),
                };
                Copied { ns: estimate.min(upper), source: CopySource::Estimated, upper }
            }
        }
    }

    /// The floor that was subtracted from such a copy, ns; `None` where none is known.
    pub fn floor(&self, seen: Seen) -> Option<u64> {
        match seen {
            Seen::Marked { .. } => self.marked,
            Seen::Window { before, .. } => self.window(before),
        }
    }

    /// The floor under a window, ns: that of its own kind, else the smallest of the other kinds.
    fn window(&self, before: Before) -> Option<u64> {
        self.windows.get(&before).or_else(|| self.windows.values().min()).copied()
    }
}

/// Slope of the windows of ordinary reads: their larger size against one byte.
fn per_kib(reads: impl IntoIterator<Item = Seen>) -> Option<u64> {
    let (mut small, mut large, mut size) = (Vec::new(), Vec::new(), 0);
    for seen in reads {
        match seen {
            Seen::Window { upper, bytes: 0 | 1, .. } => small.push(upper),
            Seen::Window { upper, bytes, .. } => {
                large.push(upper);
                size = bytes;
            }
            // A large datagram is copied between marks; so are the run's own then.
            Seen::Marked { .. } => return None,
        }
    }
    Some(median(large)?.saturating_sub(median(small)?) * 1024 / size.max(1))
}

/// Sizes within a power of two are alike.
fn class(bytes: u64) -> u32 {
    bytes.checked_ilog2().map_or(0, |log| log + 1)
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

impl Seen {
    /// What a finished call showed of its copy, as the books have it; `None` where it moved nothing.
    pub fn of(call: &CallRecord, moved: &Moved) -> Option<Self> {
        match *moved {
            Moved::Nothing => None,
            Moved::Marked { raw, copies } => Some(Seen::Marked { raw, copies: u64::from(copies) }),
            Moved::Window { upper, bytes } => {
                let before = if call.sleeps > 0 { Before::Slept } else { Before::Running };
                Some(Seen::Window { upper, before, bytes })
            }
        }
    }
}

/// What a finished call showed of its copy; `None` where it moved nothing.
pub fn seen_in(call: &CallRecord) -> Option<Seen> {
    let traits = syscall::traits_of(call.nr);
    Seen::of(call, &book::moved(&Recorded { call, traits }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(upper: u64, before: Before) -> Seen {
        Seen::Window { upper, before, bytes: 1000 }
    }

    #[test]
    fn the_floor_is_the_median_of_its_kind() {
        let calibration = [
            Seen::Marked { raw: 300, copies: 1 },
            Seen::Marked { raw: 9000, copies: 1 },
            Seen::Marked { raw: 640, copies: 2 },
            window(2000, Before::Slept),
            window(900, Before::Running),
        ];
        let copies = Copies::of(calibration, [], []);
        assert_eq!(copies.floor(Seen::Marked { raw: 0, copies: 1 }), Some(320));
        assert_eq!(copies.floor(window(0, Before::Slept)), Some(2000));
        assert_eq!(copies.floor(window(0, Before::Running)), Some(900));
        assert_eq!(copies.floor(window(0, Before::Kicked)), Some(900), "none of its own: the smallest");
    }

    #[test]
    fn every_marked_copy_has_its_own_floor() {
        let copies = Copies::of([Seen::Marked { raw: 300, copies: 1 }], [], []);
        let copied = copies.copied(Seen::Marked { raw: 2000, copies: 3 });
        assert_eq!(copied, Copied { ns: 1100, source: CopySource::Marked, upper: 2000 });
    }

    #[test]
    fn what_function_hooks_saw_is_exact() {
        let copies = Copies::of([Seen::Marked { raw: 100, copies: 1 }], [], []).exact(true);
        let seen = Seen::Marked { raw: 2000, copies: 3 };
        assert_eq!(copies.copied(seen), Copied { ns: 1700, source: CopySource::Exact, upper: 2000 });
        let window = copies.copied(window(900, Before::Running));
        assert_eq!(window.source, CopySource::Estimated, "no hook saw that one");
    }

    #[test]
    fn noise_is_not_counted_as_copy() {
        // One in three windows is disturbed; the copy takes 50 ns.
        let noisy = |n: u64, copy: u64| {
            window(800 + copy + if n.is_multiple_of(3) { 5000 } else { n % 5 }, Before::Running)
        };
        let copies = Copies::of((0..60).map(|n| noisy(n, 0)), (0..60).map(|n| noisy(n, 50)), []);
        let sum: u64 = (0..60).map(|n| copies.copied(noisy(n, 50)).ns).sum();
        assert!((45..=55).contains(&(sum / 60)), "{}", sum / 60);
    }

    #[test]
    fn task_work_is_estimated_from_ordinary_reads() {
        let read = |upper, bytes| Seen::Window { upper, before: Before::Running, bytes };
        let kicked = |upper| Seen::Window { upper, before: Before::Kicked, bytes: 2048 };
        let reads = [read(800, 1), read(900, 1024), read(790, 1), read(890, 1024), read(4000, 1024)];
        let copies = Copies::of([kicked(5000)], [kicked(9000)], reads);
        assert_eq!(copies.copied(kicked(9000)).ns, 200);
        assert_eq!(copies.copied(kicked(150)).ns, 150, "never longer than its window");
    }

    #[test]
    fn an_estimate_stays_below_its_bound() {
        let copies = Copies::of([window(800, Before::Running)], [window(1500, Before::Running)], []);
        assert_eq!(copies.copied(window(1500, Before::Running)).ns, 700);
        assert_eq!(copies.copied(window(600, Before::Running)).ns, 600);
        let quick = Copies::of([window(800, Before::Running)], [window(700, Before::Running)], []);
        assert_eq!(quick.copied(window(700, Before::Running)).ns, 0);
    }

    #[test]
    fn a_window_after_a_sleep_is_of_another_kind() {
        let mut call = CallRecord { nr: 45, enter: 100, last_in: 500, ret: 8, ..CallRecord::default() };
        call.head.at = 1000;
        assert_eq!(seen_in(&call), Some(Seen::Window { upper: 500, before: Before::Running, bytes: 8 }));
        call.sleeps = 1;
        assert_eq!(seen_in(&call), Some(Seen::Window { upper: 500, before: Before::Slept, bytes: 8 }));
        call.ret = 0;
        assert_eq!(seen_in(&call), None);
    }
}
