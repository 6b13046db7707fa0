//! Distributions: exact count, sum and extremes, quantiles from log-linear buckets.

use std::collections::BTreeMap;

use iotrace_ebpf::book::Distribution;
use iotrace_ebpf::hist::{RELATIVE_ERROR, bucket_of, lower, upper};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A distribution of times in ns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dist {
    /// Number of values.
    pub count: u64,
    /// Exact sum of the values.
    pub sum_ns: u64,
    /// The smallest, exact (0 when `count` is 0).
    pub min_ns: u64,
    /// Median, from the buckets.
    pub p50_ns: u64,
    /// 90th percentile, from the buckets.
    pub p90_ns: u64,
    /// 99th percentile, from the buckets.
    pub p99_ns: u64,
    /// The largest, exact.
    pub max_ns: u64,
    /// Largest relative error of a percentile.
    pub error: f64,
    /// `[upper edge in ns, count]` of every bucket that is not empty, in order.
    pub buckets: Vec<(u64, u64)>,
}

/// Collects values into a [`Dist`]. Sparse: a run keeps one for every stretch of polling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// Adds one value.
    pub fn add(&mut self, value: u64) {
        *self.counts.entry(bucket_of(value) as u16).or_default() += 1;
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Number of values so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Exact sum of the values so far.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest value of each bucket that is not empty, ns, with the number of values in it.
    pub fn lower_edges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().map(|(bucket, count)| (lower(usize::from(*bucket)), *count))
    }

    /// The value at or below which `fraction` of the values lie: the middle of its bucket, held
    /// within the exact extremes. 0 when empty.
    pub fn quantile(&self, fraction: f64) -> u64 {
        let rank = ((self.count as f64 * fraction).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += count;
            if seen >= rank {
                let (low, high) = (lower(usize::from(*bucket)), upper(usize::from(*bucket)).min(self.max));
                return (low + high.saturating_sub(low) / 2).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The distribution so far.
    pub fn dist(&self) -> Dist {
        Dist {
            count: self.count,
            sum_ns: self.sum,
            min_ns: self.min,
            p50_ns: self.quantile(0.50),
            p90_ns: self.quantile(0.90),
            p99_ns: self.quantile(0.99),
            max_ns: self.max,
            error: RELATIVE_ERROR,
            buckets: self
                .counts
                .iter()
                .map(|(bucket, count)| (upper(usize::from(*bucket)), *count))
                .collect(),
        }
    }

    /// The distribution, or `None` when nothing was added: not measured.
    pub fn measured(&self) -> Option<Dist> {
        (self.count > 0).then(|| self.dist())
    }
}

impl Distribution for Histogram {
    fn count(&mut self, value: u64) {
        self.add(value);
    }
}

impl FromIterator<u64> for Histogram {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut histogram = Self::default();
        values.into_iter().for_each(|value| histogram.add(value));
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_stay_within_the_stated_error() {
        let values: Vec<u64> = (1..=10_000).map(|n| n * 37).collect();
        let dist = values.iter().copied().collect::<Histogram>().dist();
        for (fraction, got) in [(0.5, dist.p50_ns), (0.9, dist.p90_ns), (0.99, dist.p99_ns)] {
            let want = values[(values.len() as f64 * fraction) as usize - 1] as f64;
            assert!((got as f64 - want).abs() / want <= dist.error, "{fraction}: {got} for {want}");
        }
        assert_eq!(dist.sum_ns, values.iter().sum::<u64>());
        assert_eq!((dist.min_ns, dist.max_ns), (37, 370_000));
    }

    #[test]
    fn nothing_added_is_not_measured() {
        assert_eq!(Histogram::default().measured(), None);
        assert_eq!(Histogram::default().dist().p99_ns, 0);
    }

    #[test]
    fn the_buckets_hold_every_value() {
        let dist = [0, 5, 1 << 50, 77, 77].into_iter().collect::<Histogram>().dist();
        assert_eq!(dist.buckets.iter().map(|b| b.1).sum::<u64>(), 5);
        assert!(dist.buckets.is_sorted_by_key(|b| b.0));
    }

    #[test]
    fn merging_is_adding() {
        let values = [3, 900, 17, 70_000, 5];
        let mut left: Histogram = values[..2].iter().copied().collect();
        left.merge(&values[2..].iter().copied().collect());
        left.merge(&Histogram::default());
        assert_eq!(left, values.into_iter().collect());
        let mut empty = Histogram::default();
        empty.merge(&left);
        assert_eq!(empty, left);
    }
}
