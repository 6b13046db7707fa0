//! Timing a call from outside.

use crate::host::clock::monotonic_ns;
use iotrace_core::samples::stats;

/// At least this many calls, and no more than that, as far as [`BUDGET_NS`] goes.
const CALLS: (usize, usize) = (5, 101);
/// Time for the calls of one sample.
const BUDGET_NS: u64 = 1_500_000;

/// The time of a call, ns, less what reading the clock takes. `prepare` runs before each, untimed.
///
/// Of the calls of a sample the tenth percentile counts: interrupts, preemption and a busy sibling of the
/// CPU only ever add, and they add to runs of neighbouring calls, which a median would not outvote.
pub fn call_ns<E>(
    mut prepare: impl FnMut() -> Result<(), E>,
    mut call: impl FnMut() -> Result<(), E>,
) -> Result<f64, E> {
    let mut times = Vec::with_capacity(CALLS.1);
    let began = monotonic_ns();
    while times.len() < CALLS.0 || (times.len() < CALLS.1 && monotonic_ns() - began < BUDGET_NS) {
        prepare()?;
        let start = monotonic_ns();
        call()?;
        times.push((monotonic_ns() - start) as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 10] - own_ns()).max(0.0))
}

/// What two readings of the clock are apart with nothing in between.
fn own_ns() -> f64 {
    let pauses: Vec<f64> = (0..33)
        .map(|_| {
            let start = monotonic_ns();
            (monotonic_ns() - start) as f64
        })
        .collect();
    stats::median(&pauses).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_call_takes_longer() {
        let nothing = || Ok::<(), ()>(());
        let time = |units| {
            let work = || {
                std::hint::black_box(crate::workload::own_work(units));
                Ok(())
            };
            call_ns(nothing, work).unwrap()
        };
        assert!(time(400) > time(1));
    }
}
