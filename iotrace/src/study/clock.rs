//! Timing of whole calls with the clock of user space, without probes.

use crate::host::clock::monotonic_ns;
use iotrace_core::samples::stats;

/// Least and most calls of one sample; between the two [`BUDGET_NS`] decides.
const CALLS: (usize, usize) = (5, 101);
/// Time for the calls of one sample, ns.
const BUDGET_NS: u64 = 1_500_000;

/// The time of one `call`, ns, less the time of reading the clock. `prepare` runs before each call, untimed.
///
/// The result is the tenth percentile of the calls, not the median: interrupts, preemption and a busy sibling of
/// the CPU only ever add time, and they add it to many calls in a row, which would move the median.
///
/// # Errors
/// `prepare` or `call` failed.
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

/// Time between two readings of the clock with nothing in between, ns: median of 33.
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
