//! What a result misses, counted by its cause.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the figures miss. All zero but `in_flight_*` and `switches_unseen`: complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Records that found the ring buffer full.
    pub records: u64,
    /// Calls that found no row, and threads or sockets that found no room in a map.
    pub map_full: u64,
    /// Probe runs the kernel skipped because the same probe was running on that CPU.
    /// `null` where this kernel does not count them (before 5.12).
    pub recursion_misses: Option<u64>,
    /// Enters without exit, or exits without enter.
    pub unmatched: u64,
    /// Calls by an ABI that is not decoded (x32), or whose arguments could not be read.
    #[serde(default)]
    pub not_decoded: u64,
    /// Calls that were open when tracing began.
    pub in_flight_start: u64,
    /// Calls that were open when tracing ended.
    pub in_flight_stop: u64,
    /// Switches to traced threads that the kernel did not show: no call is missing, but `runq` is too long by what the
    /// threads worked until they were seen again.
    #[serde(default)]
    pub switches_unseen: u64,
}

impl Loss {
    /// Nothing is missing, and that is known.
    pub const NOTHING: Self = Self {
        records: 0,
        map_full: 0,
        recursion_misses: Some(0),
        unmatched: 0,
        not_decoded: 0,
        in_flight_start: 0,
        in_flight_stop: 0,
        switches_unseen: 0,
    };

    /// What is missing from both of two results; what was not counted in one of them is not known of both.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            records: self.records + more.records,
            map_full: self.map_full + more.map_full,
            recursion_misses: self
                .recursion_misses
                .zip(more.recursion_misses)
                .map(|(one, other)| one + other),
            unmatched: self.unmatched + more.unmatched,
            not_decoded: self.not_decoded + more.not_decoded,
            in_flight_start: self.in_flight_start + more.in_flight_start,
            in_flight_stop: self.in_flight_stop + more.in_flight_stop,
            switches_unseen: self.switches_unseen + more.switches_unseen,
        }
    }

    /// Everything that makes a result incomplete: how much of it, and what it is. This list is the only one.
    pub fn missing(&self) -> [(u64, &'static str); 5] {
        [
            (self.records, "records because the ring buffer was full"),
            (self.map_full, "calls, threads or sockets because a map was full"),
            (self.recursion_misses.unwrap_or(0), "probe runs that the kernel skipped"),
            (self.unmatched, "calls of which only the enter or only the exit was seen"),
            (self.not_decoded, "calls of another ABI, or with arguments that could not be read"),
        ]
    }

    /// What is missing from what came after `before`, of two counts since the same beginning; calls in flight stay as
    /// they are.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let misses = self.recursion_misses.zip(before.recursion_misses);
        Self {
            records: self.records.saturating_sub(before.records),
            map_full: self.map_full.saturating_sub(before.map_full),
            recursion_misses: misses.map(|(now, then)| now.saturating_sub(then)),
            unmatched: self.unmatched.saturating_sub(before.unmatched),
            not_decoded: self.not_decoded.saturating_sub(before.not_decoded),
            switches_unseen: self.switches_unseen.saturating_sub(before.switches_unseen),
            ..self
        }
    }

    /// Whether nothing is missing.
    pub fn is_none(&self) -> bool {
        self.missing().iter().all(|(times, _)| *times == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Loss;

    #[test]
    fn each_loss_makes_a_result_incomplete_and_open_calls_do_not() {
        let none = Loss::NOTHING;
        let with = [
            Loss { records: 1, ..none },
            Loss { map_full: 1, ..none },
            Loss { recursion_misses: Some(1), ..none },
            Loss { unmatched: 1, ..none },
            Loss { not_decoded: 1, ..none },
        ];
        for (place, loss) in with.iter().enumerate() {
            assert!(!loss.is_none(), "{loss:?}");
            let told: Vec<u64> = loss.missing().iter().map(|(times, _)| *times).collect();
            assert_eq!((told[place], told.iter().sum::<u64>()), (1, 1), "{loss:?}");
        }
        assert!(Loss { in_flight_start: 1, in_flight_stop: 1, recursion_misses: None, ..none }.is_none());
    }

    #[test]
    fn losses_add_up_and_what_is_not_counted_once_is_not_known() {
        let one = Loss { records: 1, recursion_misses: Some(2), in_flight_stop: 3, ..Loss::default() };
        let both = one.and(one).and(Loss::NOTHING);
        assert_eq!((both.records, both.recursion_misses, both.in_flight_stop), (2, Some(4), 6));
        assert!(!both.is_none() && Loss::NOTHING.is_none());
        let unknown = one.and(Loss { unmatched: 7, ..Loss::default() });
        assert_eq!((unknown.records, unknown.recursion_misses, unknown.unmatched), (1, None, 7));
    }
}
