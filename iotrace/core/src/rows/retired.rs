//! Sums of processes that have ended: taken out of the kernel, whose room is bounded, and kept here, where
//! they are put together by name once there are many.

use std::collections::{HashMap, HashSet};

use iotrace_ebpf::abi::{AggKey, ErrorKey, LifeKey, LifeSum, PeerKey, TakenKey, WakeKey, WayKey};

use crate::rows::sums::{Snapshot, merge};

/// Largest number of rows kept by process; with more, ended processes of one name become one entry.
pub const ROWS: usize = 1024;
/// First pseudo process id, of entries that stand for several ended processes. It is above `PID_MAX_LIMIT`
/// (`include/linux/threads.h`), so no process has it, while the kernel soon reuses the id of an ended process.
pub const STAND_IN: u32 = 1 << 31;

/// An entry that stands for all processes that ended under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The name.
    pub name: String,
    /// How many processes it stands for.
    pub processes: u64,
}

/// Sums of processes that have ended.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    sums: Snapshot,
    /// Id of the merged entry of each name.
    of_name: HashMap<String, u32>,
    /// Name of each merged entry, and the number of processes it stands for, by its id.
    entries: HashMap<u32, StandIn>,
}

impl Retired {
    /// Adds the sums that were taken out of the kernel when processes ended.
    pub fn take(&mut self, ended: &Snapshot) {
        self.sums.add(ended);
    }

    /// All sums: `live`, and those of ended processes.
    pub fn with(&self, live: &Snapshot) -> Snapshot {
        let mut all = self.sums.clone();
        all.add(live);
        all
    }

    /// Merged entries: the name of each, and the number of processes it stands for, by its id.
    pub fn stand_ins(&self) -> &HashMap<u32, StandIn> {
        &self.entries
    }

    /// Merges ended processes of one name if there are too many rows. Earlier sums of which differences are taken are
    /// merged alike. Returns the processes that were merged.
    pub fn fold<'a>(
        &mut self,
        name_of: impl Fn(u32) -> String,
        earlier: impl IntoIterator<Item = &'a mut Snapshot>,
    ) -> HashSet<u32> {
        if self.sums.rows.len() <= ROWS {
            return HashSet::new();
        }
        let single = self.sums.rows.keys().map(|key| key.tgid).filter(|&pid| pid < STAND_IN);
        let ended: HashSet<u32> = single.collect();
        let mut into = HashMap::new();
        for &pid in &ended {
            let name = name_of(pid);
            let next = STAND_IN + self.of_name.len() as u32;
            let entry = *self.of_name.entry(name.clone()).or_insert(next);
            self.entries.entry(entry).or_insert(StandIn { name, processes: 0 }).processes += 1;
            into.insert(pid, entry);
        }
        self.sums.rename(&into);
        earlier.into_iter().for_each(|sums| sums.rename(&into));
        ended
    }
}

impl Snapshot {
    /// Adds the sums of another snapshot.
    pub fn add(&mut self, other: &Snapshot) {
        for (key, row) in &other.rows {
            merge(self.rows.entry(*key).or_default(), row);
        }
        for (key, times) in &other.errors {
            *self.errors.entry(*key).or_default() += times;
        }
        for (key, times) in &other.wakes {
            *self.wakes.entry(*key).or_default() += times;
        }
        for (key, times) in &other.ways {
            *self.ways.entry(*key).or_default() += times;
        }
        for (key, sum) in &other.lives {
            self.lived(*key, *sum);
        }
        for (key, sum) in &other.peers {
            let known = self.peers.entry(*key).or_default();
            known.ns = known.ns.saturating_add(sum.ns);
            known.times = known.times.saturating_add(sum.times);
        }
        for (key, ns) in &other.taken {
            *self.taken.entry(*key).or_default() += ns;
        }
    }

    /// Adds a time of threads.
    pub fn lived(&mut self, key: LifeKey, sum: LifeSum) {
        let known = self.lives.entry(key).or_default();
        known.ns = known.ns.saturating_add(sum.ns);
        known.times = known.times.saturating_add(sum.times);
    }

    /// Re-keys rows by process, dropping thread, descriptor and waker: `into` has the new id of each process to
    /// re-key.
    fn rename(&mut self, into: &HashMap<u32, u32>) {
        let row = |key: &AggKey| match into.get(&key.tgid) {
            Some(&tgid) => AggKey { file: 0, tgid, tid: 0, nr: key.nr, fd: -1 },
            None => *key,
        };
        let wake = |key: &WakeKey| match into.get(&key.tgid) {
            Some(&tgid) => WakeKey { tgid, waker: key.thread().map_or(key.waker, |_| WakeKey::MANY), ..*key },
            None => *key,
        };
        let before = std::mem::take(self);
        for (key, value) in &before.rows {
            merge(self.rows.entry(row(key)).or_default(), value);
        }
        for (key, times) in &before.errors {
            *self.errors.entry(ErrorKey { row: row(&key.row), errno: key.errno }).or_default() += times;
        }
        for (key, times) in &before.wakes {
            *self.wakes.entry(wake(key)).or_default() += times;
        }
        for (key, times) in &before.ways {
            let tgid = into.get(&key.tgid).copied().unwrap_or(key.tgid);
            *self.ways.entry(WayKey { tgid, ..*key }).or_default() += times;
        }
        for (key, sum) in &before.lives {
            let merged = into.get(&key.tgid).map(|&tgid| LifeKey { tgid, tid: 0, ..*key });
            self.lived(merged.unwrap_or(*key), *sum);
        }
        for (key, sum) in &before.peers {
            let tgid = into.get(&key.tgid).copied().unwrap_or(key.tgid);
            let known = self.peers.entry(PeerKey { tgid, ..*key }).or_default();
            known.ns = known.ns.saturating_add(sum.ns);
            known.times = known.times.saturating_add(sum.times);
        }
        for (key, ns) in &before.taken {
            let tgid = into.get(&key.tgid).copied().unwrap_or(key.tgid);
            *self.taken.entry(TakenKey { tgid, ..*key }).or_default() += ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::sums::Row;

    fn of(pid: u32, calls: u64) -> Snapshot {
        let key = AggKey { tgid: pid, tid: pid, fd: -1, ..AggKey::default() };
        let error = ErrorKey { row: key, errno: 9 };
        let wake = WakeKey { tgid: pid, waker: pid + 1, ..WakeKey::default() };
        Snapshot {
            rows: [(key, Row { calls, ..Row::default() })].into(),
            errors: [(error, 1)].into(),
            wakes: [(wake, 2)].into(),
            ways: [(WayKey { tgid: pid, nr: 0, way: 1 }, 4)].into(),
            ..Snapshot::default()
        }
    }

    fn calls(snapshot: &Snapshot) -> u64 {
        snapshot.rows.values().map(|row| row.calls).sum()
    }

    #[test]
    fn few_ended_processes_stay_as_they_were() {
        let mut retired = Retired::default();
        retired.take(&of(7, 3));
        assert!(retired.fold(|_| "sh".to_owned(), []).is_empty());
        assert_eq!(retired.with(&of(7, 2)).rows.len(), 1, "a process that ends while it is looked at is one");
        assert_eq!(calls(&retired.with(&of(8, 2))), 5);
    }

    #[test]
    fn the_timer_stays_the_timer_where_threads_are_told_apart_no_longer() {
        let waker_of_many = |waker| {
            let mut snapshot = of(7, 1);
            snapshot.wakes = [(WakeKey { tgid: 7, waker, ..WakeKey::default() }, 1)].into();
            snapshot.rename(&[(7, 9)].into());
            snapshot.wakes.into_keys().map(|key| (key.tgid, key.waker)).collect::<Vec<_>>()
        };
        for waker in [0, WakeKey::TIMER, WakeKey::MANY] {
            assert_eq!(waker_of_many(waker), [(9, waker)]);
        }
        assert_eq!(waker_of_many(8), [(9, WakeKey::MANY)]);
    }

    #[test]
    fn many_become_one_of_each_name_and_nothing_is_lost_or_told_twice() {
        let mut retired = Retired::default();
        let many = ROWS as u32 + 10;
        for pid in 1..=many {
            retired.take(&of(pid, 3));
        }
        let name = |pid: u32| if pid.is_multiple_of(2) { "even" } else { "odd" }.to_owned();
        let mut printed = retired.with(&Snapshot::default());
        let gone = retired.fold(name, [&mut printed]);
        let all = retired.with(&of(many + 1, 5));
        assert_eq!((all.rows.len(), gone.len()), (3, many as usize));
        assert_eq!(calls(&all), u64::from(many) * 3 + 5);
        assert_eq!(all.errors.values().sum::<u64>(), u64::from(many) + 1);
        assert_eq!(all.wakes.values().sum::<u64>(), 2 * (u64::from(many) + 1));
        assert_eq!((all.ways.len(), all.ways.values().sum::<u64>()), (3, 4 * (u64::from(many) + 1)));
        // The last is still there, and is told by itself; the wakers of the others are merged.
        let several = all.wakes.keys().filter(|key| key.waker == WakeKey::MANY).count();
        assert_eq!((several, all.wakes.len()), (2, 3));
        assert_eq!(calls(&all.since(&printed)), 5, "what was printed is not printed again");
        let stood_for =
            |retired: &Retired| retired.stand_ins().values().map(|entry| entry.processes).sum::<u64>();
        assert_eq!(stood_for(&retired), u64::from(many));
        // Later ones join the entry of their name, whatever ids they have: these are used again.
        for pid in 1..=many {
            retired.take(&of(pid, 1));
        }
        retired.fold(|pid| name(pid + 1), [&mut printed]);
        let all = retired.with(&Snapshot::default());
        assert_eq!((all.rows.len(), calls(&all)), (2, u64::from(many) * 4));
        assert_eq!(stood_for(&retired), 2 * u64::from(many));
        assert!(retired.stand_ins().values().all(|entry| entry.processes == u64::from(many)));
    }
}
