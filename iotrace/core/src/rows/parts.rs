//! Arithmetic on where the time of calls went: sums, and differences of two readings.

use iotrace_ebpf::span::Parts;

/// Number of parts.
const PARTS: usize = 6;
const _: () = assert!(size_of::<Parts>() == (PARTS + 1) * size_of::<u64>(), "a part is missing below");

fn as_array(parts: &Parts) -> [u64; PARTS] {
    [parts.wait, parts.disk, parts.lock, parts.runq, parts.copy, parts.work]
}

fn of_array(parts: [u64; PARTS]) -> Parts {
    let [wait, disk, lock, runq, copy, work] = parts;
    let total = parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
    Parts { total, wait, disk, lock, runq, copy, work }
}

/// The sum of two times, part by part.
pub fn plus(one: &Parts, other: &Parts) -> Parts {
    let (one, other) = (as_array(one), as_array(other));
    of_array(std::array::from_fn(|part| one[part].saturating_add(other[part])))
}

/// What each part has now that it had not before. What was booked of an open call as work turns out to be a copy when
/// the call ends, and a sleep whose wake-up the kernel did not show a wait for a CPU: what one part has too little
/// then is taken from the others, the largest first, so that the total is right.
pub fn parts_since(now: &Parts, before: &Parts) -> Parts {
    let (now, before) = (as_array(now), as_array(before));
    let mut parts: [u64; PARTS] = std::array::from_fn(|part| now[part].saturating_sub(before[part]));
    let mut debt: u64 = (0..PARTS).map(|part| before[part].saturating_sub(now[part])).sum();
    while debt > 0 {
        let Some(largest) = parts.iter_mut().max().filter(|part| **part > 0) else { break };
        let paid = debt.min(*largest);
        *largest -= paid;
        debt -= paid;
    }
    of_array(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_intervals_add_up_to_the_call() {
        let parts = |wait, runq, copy, work| Parts {
            total: wait + runq + copy + work,
            wait,
            disk: 0,
            lock: 0,
            runq,
            copy,
            work,
        };
        // Half a second of work in the first interval was a copy after all.
        let (first, last) = (parts(1_000, 0, 0, 500), parts(2_500, 20, 480, 40));
        let rest = parts_since(&last, &first);
        assert_eq!(rest.total, last.total - first.total);
        assert_eq!(rest, parts(1_500 - 460, 20, 480, 0));
        assert_eq!(parts_since(&first, &Parts::default()), first);
    }
}
