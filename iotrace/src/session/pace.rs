//! How often the ring is drained where calls are recorded one by one, and how urgently.
//!
//! Draining takes a CPU that the target may want: every 20 ms, the longest calls of a quiet target were those that
//! iotrace delayed. So it waits as long as the ring has room for, and runs only when nothing else wants its CPU, unless
//! records come so fast that the ring would run over meanwhile.

use crate::host::priority;

/// Longest time between two drains, ns. At a million calls a second the records of that time are 25 MiB of the 64 MiB
/// that the ring has.
const LONGEST: u64 = 100_000_000;
/// Bytes that are let gather.
const GATHERED: u64 = 8 << 20;
/// Bytes a second from which on draining is as urgent as everything else: of less than that, the ring holds seconds.
const URGENT: u64 = 16 << 20;

/// The pace at which the ring is drained.
#[derive(Debug)]
pub struct Pace {
    /// When it was drained last, ns.
    last: u64,
    /// Bytes a second that came before that.
    rate: u64,
    /// Whether iotrace runs only when nothing else wants its CPU.
    yields: bool,
}

impl Pace {
    /// Begins at a moment, ns, with nothing known.
    pub fn new(now: u64) -> Self {
        Self { last: now, rate: 0, yields: false }
    }

    /// Whether it is time to drain.
    pub fn is_due(&self, now: u64) -> bool {
        let since = now.saturating_sub(self.last);
        since >= LONGEST || expected(self.rate, since) >= GATHERED
    }

    /// So many bytes were in the ring.
    pub fn drained(&mut self, bytes: u64, now: u64) {
        let since = now.saturating_sub(self.last).max(1);
        self.rate = (u128::from(bytes) * 1_000_000_000 / u128::from(since)) as u64;
        self.last = now;
        let yields = self.rate < URGENT;
        if yields != self.yields {
            // Where the kernel refuses, it stays as urgent as it was.
            priority::only_when_idle(yields);
            self.yields = yields;
        }
    }
}

fn expected(rate: u64, ns: u64) -> u64 {
    (u128::from(rate) * u128::from(ns) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_ring_is_left_alone_and_a_busy_one_is_not() {
        let quiet = Pace { last: 0, rate: 1 << 20, yields: true };
        assert!(!quiet.is_due(20_000_000) && quiet.is_due(LONGEST));
        let busy = Pace { last: 0, rate: 512 << 20, yields: false };
        assert!(busy.is_due(20_000_000));
    }
}
