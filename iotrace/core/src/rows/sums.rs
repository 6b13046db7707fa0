//! Sums of the kernel as plain data, and what happened between two readings.

use std::collections::HashMap;

use iotrace_ebpf::abi::{AGG_BUCKETS, Agg, AggKey, ErrorKey, WakeKey};
use iotrace_ebpf::hist::{COARSE_ERROR, coarse_lower, coarse_upper};
use iotrace_ebpf::span::Parts;

use crate::domain::dist::Dist;

/// Everything summed up so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// By process, syscall and what else tells rows apart.
    pub rows: HashMap<AggKey, Row>,
    /// Errors other than `EAGAIN`.
    pub errors: HashMap<ErrorKey, u64>,
    /// Wake-ups that ended sleeps.
    pub wakes: HashMap<WakeKey, u64>,
}

impl Snapshot {
    /// What happened since `before`.
    pub fn since(&self, before: &Snapshot) -> Snapshot {
        let counts = |now: u64, then: Option<&u64>| now.saturating_sub(then.copied().unwrap_or(0));
        Snapshot {
            rows: self
                .rows
                .iter()
                .map(|(key, row)| {
                    (*key, before.rows.get(key).map_or_else(|| row.clone(), |then| row.since(then)))
                })
                .filter(|(_, row)| row.calls > 0)
                .collect(),
            errors: self
                .errors
                .iter()
                .map(|(key, now)| (*key, counts(*now, before.errors.get(key))))
                .filter(|(_, times)| *times > 0)
                .collect(),
            wakes: self
                .wakes
                .iter()
                .map(|(key, now)| (*key, counts(*now, before.wakes.get(key))))
                .filter(|(_, times)| *times > 0)
                .collect(),
        }
    }
}

/// A call that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Syscall number.
    pub nr: u32,
    /// When it was entered.
    pub since: u64,
}

/// Counts by coarse bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Box<[u64; AGG_BUCKETS]>);

impl Default for Buckets {
    fn default() -> Self {
        Self(Box::new([0; AGG_BUCKETS]))
    }
}

impl Buckets {
    fn add(&mut self, cpu: &[u32; AGG_BUCKETS]) {
        for (sum, count) in self.0.iter_mut().zip(cpu) {
            *sum += u64::from(*count);
        }
    }

    fn merge(&mut self, other: &Buckets) {
        for (sum, count) in self.0.iter_mut().zip(other.0.iter()) {
            *sum += count;
        }
    }

    fn since(&self, before: &Buckets) -> Buckets {
        let mut delta = self.clone();
        for (now, then) in delta.0.iter_mut().zip(before.0.iter()) {
            *now = now.saturating_sub(*then);
        }
        delta
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// As a distribution; extremes are edges of buckets, the sum is the exact one.
    pub fn dist(&self, sum_ns: u64) -> Dist {
        let filled = || self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        let count = self.count();
        let quantile = |fraction: f64| {
            let rank = ((count as f64 * fraction).ceil() as u64).max(1);
            let mut seen = 0;
            filled()
                .find(|(_, bucket)| {
                    seen += **bucket;
                    seen >= rank
                })
                .map_or(0, |(index, _)| middle(index))
        };
        Dist {
            count,
            sum_ns,
            min_ns: filled().next().map_or(0, |(index, _)| coarse_lower(index)),
            p50_ns: quantile(0.50),
            p90_ns: quantile(0.90),
            p99_ns: quantile(0.99),
            max_ns: filled().next_back().map_or(0, |(index, _)| upper(index)),
            error: COARSE_ERROR,
            buckets: filled().map(|(index, count)| (coarse_upper(index), *count)).collect(),
        }
    }
}

/// The last bucket has no upper edge; its lower one is the most that is known.
fn upper(index: usize) -> u64 {
    if coarse_upper(index) == u64::MAX { coarse_lower(index) } else { coarse_upper(index) }
}

fn middle(index: usize) -> u64 {
    let (low, high) = (coarse_lower(index), upper(index));
    low + (high - low) / 2
}

/// A row, all CPUs together. Fields as in [`Agg`].
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "documented where the kernel writes them")]
pub struct Row {
    pub calls: u64,
    pub bytes: u64,
    pub parts: Parts,
    pub marked: u64,
    pub windows: u64,
    pub window_ns: u64,
    pub sleeps: u64,
    pub locks: u64,
    pub preempts: u64,
    pub again: u64,
    pub errors: u64,
    pub empty: u64,
    pub empty_slept: u64,
    pub restarts: u64,
    pub pickups: u64,
    pub pickup_ns: u64,
    pub phase1: Buckets,
    pub phase2: Buckets,
    pub latency: Buckets,
    pub pickup: Buckets,
}

/// Applies an operation to every summed field of a row.
macro_rules! each_sum {
    ($target:expr, $source:expr, $operate:expr) => {{
        let (target, source, operate): (&mut Row, _, fn(&mut u64, u64)) = ($target, $source, $operate);
        operate(&mut target.calls, source.calls);
        operate(&mut target.bytes, source.bytes);
        operate(&mut target.parts.wait, source.parts.wait);
        operate(&mut target.parts.lock, source.parts.lock);
        operate(&mut target.parts.runq, source.parts.runq);
        operate(&mut target.parts.copy, source.parts.copy);
        operate(&mut target.parts.work, source.parts.work);
        operate(&mut target.marked, source.marked);
        operate(&mut target.windows, source.windows);
        operate(&mut target.window_ns, source.window_ns);
        operate(&mut target.sleeps, source.sleeps);
        operate(&mut target.locks, source.locks);
        operate(&mut target.preempts, source.preempts);
        operate(&mut target.again, source.again);
        operate(&mut target.errors, source.errors);
        operate(&mut target.empty, source.empty);
        operate(&mut target.empty_slept, source.empty_slept);
        operate(&mut target.restarts, source.restarts);
        operate(&mut target.pickups, source.pickups);
        operate(&mut target.pickup_ns, source.pickup_ns);
    }};
}

/// The total as its parts have it. A row may be read while its CPU adds a call to it; the total it shows
/// then may be of one call more than its parts.
fn sum(parts: &Parts) -> u64 {
    parts.wait + parts.lock + parts.runq + parts.copy + parts.work
}

impl Row {
    /// Adds what one CPU summed up.
    pub fn add(&mut self, cpu: &Agg) {
        each_sum!(self, cpu, |sum, more| *sum += more);
        self.parts.total += sum(&cpu.parts);
        self.phase1.add(&cpu.phase1);
        self.phase2.add(&cpu.phase2);
        self.latency.add(&cpu.latency);
        self.pickup.add(&cpu.pickup);
    }

    /// Adds another row.
    pub fn merge(&mut self, other: &Row) {
        each_sum!(self, other, |sum, more| *sum += more);
        self.parts.total += other.parts.total;
        self.phase1.merge(&other.phase1);
        self.phase2.merge(&other.phase2);
        self.latency.merge(&other.latency);
        self.pickup.merge(&other.pickup);
    }

    fn since(&self, before: &Row) -> Row {
        let mut delta = self.clone();
        each_sum!(&mut delta, before, |now, then| *now = now.saturating_sub(then));
        delta.parts.total = sum(&delta.parts);
        delta.phase1 = self.phase1.since(&before.phase1);
        delta.phase2 = self.phase2.since(&before.phase2);
        delta.latency = self.latency.since(&before.latency);
        delta.pickup = self.pickup.since(&before.pickup);
        delta
    }
}

#[cfg(test)]
mod tests {
    use iotrace_ebpf::hist::coarse;

    use super::*;

    fn row(latencies: &[u64]) -> Row {
        let mut row = Row { calls: latencies.len() as u64, ..Row::default() };
        for &latency in latencies {
            row.parts.total += latency;
            row.parts.work += latency;
            row.latency.0[coarse(latency)] += 1;
        }
        row
    }

    #[test]
    fn an_interval_is_the_difference_of_two_readings() {
        let key = AggKey { tgid: 1, ..AggKey::default() };
        let idle = AggKey { tgid: 2, ..AggKey::default() };
        let before = Snapshot { rows: [(key, row(&[100])), (idle, row(&[7]))].into(), ..Snapshot::default() };
        let now =
            Snapshot { rows: [(key, row(&[100, 900])), (idle, row(&[7]))].into(), ..Snapshot::default() };
        let delta = now.since(&before);
        assert_eq!(delta.rows.len(), 1, "a row without calls in the interval is none");
        assert_eq!(delta.rows[&key], row(&[900]));
        assert_eq!(now.since(&Snapshot::default()), now);
    }

    #[test]
    fn quantiles_stay_within_the_stated_error() {
        let values: Vec<u64> = (1..=1000).map(|n| n * 1000).collect();
        let row = row(&values);
        let dist = row.latency.dist(row.parts.total);
        for (want, got) in [(500_000, dist.p50_ns), (900_000, dist.p90_ns), (990_000, dist.p99_ns)] {
            assert!((got as f64 - f64::from(want)).abs() / f64::from(want) <= dist.error, "{want} {got}");
        }
        assert_eq!((dist.count, dist.sum_ns), (1000, values.iter().sum()));
    }
}
