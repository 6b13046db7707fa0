//! Sums of the kernel as plain data, and what happened between two readings.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use iotrace_ebpf::abi::{
    AGG_BUCKETS, Agg, AggKey, Buckets, ErrorKey, LifeKey, LifeSum, PeerKey, TakenKey, WakeKey, WayKey,
};
use iotrace_ebpf::book::{Distribution, Sums};
use iotrace_ebpf::hist::{COARSE_ERROR, coarse, coarse_lower, coarse_upper};

use crate::domain::dist::{Dist, Histogram};
use crate::rows::parts::parts_since;

/// Everything that was summed up from the start to one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Sums of calls by process, syscall and what else tells rows apart.
    pub rows: HashMap<AggKey, Row>,
    /// Number of errors other than `EAGAIN`.
    pub errors: HashMap<ErrorKey, u64>,
    /// Number of wake-ups that ended sleeps.
    pub wakes: HashMap<WakeKey, u64>,
    /// Number of transfers by the way they came; a sample, see [`iotrace_ebpf::abi::WAYS_ALL`].
    pub ways: HashMap<WayKey, u64>,
    /// Time of threads outside traced calls, and how long they were observed.
    pub lives: HashMap<LifeKey, LifeSum>,
    /// Time that was waited for data on TCP connections, by their ends.
    pub peers: HashMap<PeerKey, LifeSum>,
    /// For how long who had the CPU while others were runnable, ns.
    pub taken: HashMap<TakenKey, u64>,
}

impl Snapshot {
    /// How often threads left the CPU in the calls of all rows: asleep, or preempted.
    pub fn switches(&self) -> u64 {
        self.rows.values().map(|row| row.sleeps + row.disks + row.locks + row.preempts).sum()
    }

    /// Processes, and entries that stand for several, that have sums of calls or of time.
    pub fn processes(&self) -> HashSet<u32> {
        let rows = self.rows.keys().map(|key| key.tgid);
        rows.chain(self.lives.keys().map(|key| key.tgid)).collect()
    }

    /// What happened since `before`. A row without a call may have the time of one that is open, see
    /// [`crate::rows::open`].
    pub fn since(&self, before: &Snapshot) -> Snapshot {
        let row = |(key, row): (&AggKey, &Row)| {
            (*key, before.rows.get(key).map_or_else(|| row.clone(), |then| since(row, then)))
        };
        Snapshot {
            rows: self.rows.iter().map(row).filter(|(_, row)| row.calls + row.parts.total > 0).collect(),
            errors: counts_since(&self.errors, &before.errors),
            wakes: counts_since(&self.wakes, &before.wakes),
            ways: counts_since(&self.ways, &before.ways),
            lives: lives_since(&self.lives, &before.lives),
            peers: lives_since(&self.peers, &before.peers),
            taken: counts_since(&self.taken, &before.taken),
        }
    }
}

/// What each count has now that it had not before; counts that have not changed are left out.
fn counts_since<K: Copy + Eq + Hash>(now: &HashMap<K, u64>, before: &HashMap<K, u64>) -> HashMap<K, u64> {
    let delta = |(key, now): (&K, &u64)| (*key, now.saturating_sub(before.get(key).copied().unwrap_or(0)));
    now.iter().map(delta).filter(|(_, times)| *times > 0).collect()
}

/// What each sum of time has now that it had not before; those that have not changed are left out.
fn lives_since<K: Copy + Eq + Hash>(
    now: &HashMap<K, LifeSum>,
    before: &HashMap<K, LifeSum>,
) -> HashMap<K, LifeSum> {
    let delta = |(key, now): (&K, &LifeSum)| {
        let then = before.get(key).copied().unwrap_or_default();
        let sum = LifeSum { ns: now.ns.saturating_sub(then.ns), times: now.times.saturating_sub(then.times) };
        (*key, sum)
    };
    now.iter().map(delta).filter(|(_, sum)| *sum != LifeSum::default()).collect()
}

/// Counts by coarse bucket, of a row on all CPUs together: index and count of each bucket that is not empty, in order.
/// There may be thousands of rows, and most have values in few buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coarse(Vec<(u16, u64)>);

impl Distribution for Coarse {
    fn count(&mut self, value: u64) {
        self.add_to(coarse(value), 1);
    }
}

impl Coarse {
    fn add_to(&mut self, bucket: usize, count: u64) {
        let bucket = bucket as u16;
        match self.0.binary_search_by_key(&bucket, |(index, _)| *index) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(count),
            Err(place) => self.0.insert(place, (bucket, count)),
        }
    }

    /// Index and count of each bucket that is not empty.
    pub fn filled(&self) -> Vec<(u16, u64)> {
        self.0.clone()
    }

    /// The same from such a list; indices beyond the last bucket are left out.
    pub fn of(filled: &[(u16, u64)]) -> Self {
        let mut buckets = Self::default();
        for (index, count) in filled.iter().filter(|(_, count)| *count > 0) {
            if usize::from(*index) < AGG_BUCKETS {
                buckets.add_to(usize::from(*index), *count);
            }
        }
        buckets
    }

    fn add(&mut self, cpu: &Buckets) {
        for (bucket, count) in cpu.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add_to(bucket, u64::from(*count));
        }
    }

    /// Adds finer counts. No fine bucket has parts in two coarse ones, so this is what counting the values makes.
    fn add_fine(&mut self, fine: &Histogram) {
        for (value, count) in fine.lower_edges() {
            self.add_to(coarse(value), count);
        }
    }

    fn merge(&mut self, other: &Coarse) {
        for (bucket, count) in &other.0 {
            self.add_to(usize::from(*bucket), *count);
        }
    }

    fn subtract(&mut self, before: &Coarse) {
        for (bucket, count) in &mut self.0 {
            let then = before.0.binary_search_by_key(bucket, |(index, _)| *index);
            *count = count.saturating_sub(then.map_or(0, |place| before.0[place].1));
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Number of values.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The distribution; its extremes are edges of buckets, `sum_ns` is the exact sum.
    pub fn dist(&self, sum_ns: u64) -> Dist {
        let filled = || self.0.iter().map(|(index, count)| (usize::from(*index), *count));
        let count = self.total();
        let quantile = |fraction: f64| {
            let rank = ((count as f64 * fraction).ceil() as u64).max(1);
            let mut seen = 0;
            filled()
                .find(|(_, bucket)| {
                    seen = bucket.saturating_add(seen);
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
            buckets: filled().map(|(index, count)| (coarse_upper(index), count)).collect(),
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

/// Sums of a row, all CPUs together.
pub type Row = Sums<Coarse>;

/// Adds what one CPU summed up to a row.
pub fn add_cpu(row: &mut Row, cpu: &Agg) {
    row.combine(cpu, |sum, more| *sum += more, Coarse::add);
}

/// Adds the sums of a folded stretch of polls, see [`crate::records::journal::Entry::polls`], to a row.
pub fn add_folded(row: &mut Row, polls: &Sums<Histogram>) {
    row.combine(polls, |sum, more| *sum += more, Coarse::add_fine);
}

/// Adds a row to another.
pub fn merge(row: &mut Row, other: &Row) {
    row.combine(other, |sum, more| *sum += more, Coarse::merge);
}

/// What a row has now that it had not before.
pub fn since(row: &Row, before: &Row) -> Row {
    let mut delta = row.clone();
    delta.combine(before, |now, then| *now = now.saturating_sub(then), Coarse::subtract);
    delta.parts = parts_since(&row.parts, &before.parts);
    delta
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(latencies: &[u64]) -> Row {
        let mut row = Row { calls: latencies.len() as u64, ..Row::default() };
        for &latency in latencies {
            row.parts.total += latency;
            row.parts.work += latency;
            row.latency.count(latency);
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
    fn fine_buckets_lie_within_coarse_ones() {
        let values =
            (0..60).flat_map(|bit| [1u64 << bit, (1 << bit) + 1, (1 << bit) * 15 / 8, (1 << bit) - 1]);
        let (mut counted, mut added) = (Coarse::default(), Coarse::default());
        values.clone().for_each(|value| counted.count(value));
        added.add_fine(&values.collect());
        assert_eq!(added, counted);
        for index in 1..iotrace_ebpf::hist::BUCKETS - 1 {
            let (low, high) = (iotrace_ebpf::hist::lower(index), iotrace_ebpf::hist::upper(index));
            assert_eq!(coarse(low), coarse(high), "bucket {index}");
        }
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
