//! Sums of processes that have ended: taken out of the kernel, whose room is bounded, and kept here, where
//! they are put together by name once there are many.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use iotrace_ebpf::abi::{AggKey, ErrorKey, LifeKey, LifeSum, PeerKey, TakenKey, WakeKey, WayKey};

use crate::rows::others::{self, OTHERS};
use crate::rows::sums::{Row, Snapshot, merge};

/// Largest number of rows, and of processes, that are kept by process; with more, ended processes of one name become one
/// entry, and if these have too many as well, the least active of them become [`OTHERS`].
pub const ROWS: usize = 1024;
/// Rows that are left then, so that it does not happen again with the next name.
const LEFT: usize = ROWS / 2;
/// First pseudo process id, of entries that stand for several ended processes. It is above `PID_MAX_LIMIT`
/// (`include/linux/threads.h`), so no process has it, while the kernel soon reuses the id of an ended process.
pub const STAND_IN: u32 = 1 << 31;

/// An entry that stands for all processes that ended under one name, or, as [`OTHERS`], for those of several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The name.
    pub name: String,
    /// How many processes it stands for.
    pub processes: u64,
}

impl StandIn {
    /// The entry of processes of several names, with none yet.
    pub fn others() -> Self {
        Self { name: others::NAME.to_owned(), processes: 0 }
    }
}

/// Sums of processes that have ended.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    sums: Snapshot,
    /// Id of the merged entry of each name, but for [`OTHERS`].
    of_name: HashMap<String, u32>,
    /// Number of ids that were given to merged entries.
    given: u32,
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

    /// Processes, and merged entries, that have sums here.
    pub fn processes(&self) -> HashSet<u32> {
        self.sums.processes()
    }

    /// Whether there are more rows, or more processes, than are kept.
    fn is_full(&self) -> bool {
        self.sums.rows.len() > ROWS || self.sums.processes().len() > ROWS
    }

    /// Merged entries: the name of each, and the number of processes it stands for, by its id.
    pub fn stand_ins(&self) -> &HashMap<u32, StandIn> {
        &self.entries
    }

    /// Merges ended processes of one name if there are too many rows, and the least active names if there are too many of
    /// these. Earlier sums of which differences are taken are merged alike. Returns the processes that were merged.
    pub fn fold<'a>(
        &mut self,
        name_of: impl Fn(u32) -> String,
        earlier: impl IntoIterator<Item = &'a mut Snapshot>,
    ) -> HashSet<u32> {
        self.sums.taken = most(std::mem::take(&mut self.sums.taken), |ns| *ns);
        self.sums.peers = most(std::mem::take(&mut self.sums.peers), |sum| sum.ns);
        if !self.is_full() {
            return HashSet::new();
        }
        let ended: HashSet<u32> = self.sums.processes().into_iter().filter(|&pid| pid < STAND_IN).collect();
        let mut into = HashMap::new();
        for &pid in &ended {
            let name = name_of(pid);
            let next = STAND_IN + self.given % (OTHERS - STAND_IN);
            let entry = *self.of_name.entry(name.clone()).or_insert_with(|| {
                self.given = self.given.wrapping_add(1);
                next
            });
            self.entries.entry(entry).or_insert(StandIn { name, processes: 0 }).processes += 1;
            into.insert(pid, entry);
        }
        self.sums.rename(&into);
        let rest = self.merge_names();
        for sums in earlier {
            sums.rename(&into);
            sums.rename(&rest);
        }
        ended
    }

    /// Merges the least active names if there are too many rows; returns the new id of each of their entries.
    fn merge_names(&mut self) -> HashMap<u32, u32> {
        if !self.is_full() {
            return HashMap::new();
        }
        let surplus = others::surplus(&self.sums, &HashSet::new(), LEFT, LEFT);
        for id in &surplus {
            if let Some(StandIn { name, processes }) = self.entries.remove(id) {
                self.of_name.remove(&name);
                self.entries.entry(OTHERS).or_insert_with(StandIn::others).processes += processes;
            }
        }
        let into = surplus.into_iter().map(|id| (id, OTHERS)).collect();
        self.sums.rename(&into);
        into
    }
}

impl Snapshot {
    /// Adds the sums of another snapshot.
    pub fn add(&mut self, other: &Snapshot) {
        for (key, row) in &other.rows {
            add_row(&mut self.rows, *key, row.clone());
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
    pub fn rename(&mut self, into: &HashMap<u32, u32>) {
        if into.is_empty() {
            return;
        }
        let row = |key: &AggKey| renamed(key, into);
        let wake = |key: &WakeKey| match into.get(&key.tgid) {
            Some(&tgid) => WakeKey { tgid, waker: key.thread().map_or(key.waker, |_| WakeKey::MANY), ..*key },
            None => *key,
        };
        let before = std::mem::take(self);
        for (key, value) in before.rows {
            add_row(&mut self.rows, row(&key), value);
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

/// Those with the most time of what a result tells only the first few of, where there are too many to keep.
fn most<K: Eq + std::hash::Hash, V>(all: HashMap<K, V>, ns: impl Fn(&V) -> u64) -> HashMap<K, V> {
    if all.len() <= 2 * ROWS {
        return all;
    }
    let mut order: Vec<(K, V)> = all.into_iter().collect();
    order.sort_by_key(|(_, value)| std::cmp::Reverse(ns(value)));
    order.truncate(ROWS);
    order.into_iter().collect()
}

fn add_row(rows: &mut HashMap<AggKey, Row>, key: AggKey, row: Row) {
    match rows.entry(key) {
        Entry::Vacant(place) => {
            place.insert(row);
        }
        Entry::Occupied(mut there) => merge(there.get_mut(), &row),
    }
}

/// The key of a row under the new id of its process: by thread and descriptor it is not told apart there.
pub fn renamed(key: &AggKey, into: &HashMap<u32, u32>) -> AggKey {
    match into.get(&key.tgid) {
        Some(&tgid) => AggKey { file: 0, tgid, tid: 0, nr: key.nr, fd: -1 },
        None => *key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Ten minutes of 500 births a second, each under a name of its own.
    #[test]
    fn names_that_never_repeat_cost_a_bounded_number_of_rows_and_no_call() {
        let mut retired = Retired::default();
        let mut printed = Snapshot::default();
        let (mut calls_made, mut most) = (0, 0);
        for round in 0..3_000u32 {
            for pid in round * 100 + 1..=round * 100 + 100 {
                let mut ended = Snapshot::default();
                let key = AggKey { tgid: pid, nr: pid % 4, fd: -1, ..AggKey::default() };
                ended.rows.insert(key, Row { calls: 2, ..Row::default() });
                ended.errors.insert(ErrorKey { row: AggKey { tgid: pid, ..AggKey::default() }, errno: 2 }, 1);
                retired.take(&ended);
                calls_made += 2;
            }
            retired.fold(|pid| format!("unique-{pid}"), [&mut printed]);
            most =
                most.max(retired.sums.rows.len().max(retired.sums.errors.len()).max(retired.entries.len()));
            if round == 1_500 {
                printed = retired.with(&Snapshot::default());
            }
        }
        let all = retired.with(&Snapshot::default());
        assert!(most <= ROWS + 200, "{most} rows");
        assert_eq!(calls(&all), calls_made);
        assert_eq!(all.errors.values().sum::<u64>(), 300_000);
        let stood_for = retired.stand_ins().values().map(|entry| entry.processes).sum::<u64>();
        let single: HashSet<u32> =
            all.rows.keys().map(|key| key.tgid).filter(|pid| *pid < STAND_IN).collect();
        assert_eq!(stood_for + single.len() as u64, 300_000);
        assert_eq!(retired.of_name.len() + 1, retired.entries.len());
        assert_eq!(calls(&all.since(&printed)), 2 * 100 * 1_499, "what was printed is not printed again");
    }
}
