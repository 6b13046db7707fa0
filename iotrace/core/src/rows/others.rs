//! What keeps a result bounded however many processes there are: the least active of them become one entry. Nothing is
//! lost by that, all sums stay exact; only who they belong to is not told any more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::rows::sums::Snapshot;

/// Id of the entry that stands for processes of any name. No process has it, see [`crate::rows::retired::STAND_IN`].
pub const OTHERS: u32 = u32::MAX;
/// What the entry is called.
pub const NAME: &str = "others";
/// Most processes that a result lists.
pub const PROCESSES: usize = 1024;
/// Most rows of all processes of a result together. A row takes about 2 KB of JSON.
pub const ROWS: usize = 2048;

/// The processes that are to become one entry, so that the others have at most `rows` rows and are at most `processes`:
/// those with the least time in calls that is not waiting. Those in `keep` stay.
pub fn surplus(sums: &Snapshot, keep: &HashSet<u32>, processes: usize, rows: usize) -> HashSet<u32> {
    /// Time that is not waiting, all time, and number of rows.
    type Weight = (u64, u64, usize);
    let mut all: HashMap<u32, Weight> = HashMap::new();
    for (key, row) in &sums.rows {
        let (active, total, count) = all.entry(key.tgid).or_default();
        let parts = &row.parts;
        *active = active.saturating_add(parts.total.saturating_sub(parts.wait));
        *total = total.saturating_add(parts.total);
        *count += 1;
    }
    // A process that makes no call has the time of its threads alone.
    for pid in sums.lives.keys().map(|key| key.tgid) {
        all.entry(pid).or_default();
    }
    if all.len() <= processes && sums.rows.len() <= rows {
        return HashSet::new();
    }
    all.remove(&OTHERS);
    let mut order: Vec<(u32, Weight)> = all.into_iter().collect();
    order.sort_unstable_by_key(|&(pid, (active, total, _))| {
        (!keep.contains(&pid), Reverse((active, total)), pid)
    });
    let (mut kept, mut rows_kept) = (0, 0);
    let fits = order.iter().take_while(|(pid, (.., count))| {
        (kept, rows_kept) = (kept + 1, rows_kept + count);
        keep.contains(pid) || (kept < processes && rows_kept < rows)
    });
    // One process alone is shown, however many rows it has.
    let from = fits.count().max(1);
    order.drain(..from.min(order.len()));
    order.into_iter().map(|(pid, _)| pid).collect()
}

#[cfg(test)]
mod tests {
    use iotrace_ebpf::abi::AggKey;

    use super::*;
    use crate::rows::sums::Row;

    fn of(rows: &[(u32, u32, u64)]) -> Snapshot {
        let row = |&(tgid, nr, work): &(u32, u32, u64)| {
            let mut row = Row { calls: 1, ..Row::default() };
            (row.parts.work, row.parts.total) = (work, work);
            (AggKey { tgid, nr, ..AggKey::default() }, row)
        };
        Snapshot { rows: rows.iter().map(row).collect(), ..Snapshot::default() }
    }

    #[test]
    fn the_least_active_go_first() {
        let sums = of(&[(1, 0, 5), (2, 0, 50), (2, 1, 1), (3, 0, 7), (OTHERS, 0, 1)]);
        let surplus = |keep: &[u32], processes, rows| {
            let mut pids: Vec<u32> =
                surplus(&sums, &keep.iter().copied().collect(), processes, rows).into_iter().collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(surplus(&[], 4, 5), [0; 0]);
        assert_eq!(surplus(&[], 3, 5), [1]);
        assert_eq!(surplus(&[], 9, 4), [1]);
        assert_eq!(surplus(&[1], 2, 9), [2, 3], "one is kept whatever it did");
        assert_eq!(surplus(&[], 0, 0), [1, 3], "there is always one");
    }
}
