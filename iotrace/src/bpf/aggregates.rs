//! Reads the sums that the probes keep in the kernel.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use aya::Pod;
use aya::maps::{Array, HashMap as BpfHashMap, MapData, PerCpuHashMap};
use iotrace_ebpf::abi::traits::{REQUESTS, enter_waits};
use iotrace_ebpf::abi::{
    AGG_WAITS, Agg, AggKey, ErrorKey, LifeKey, LifeSum, PeerKey, SHARED, TakenKey, WakeKey, WayKey,
};
use iotrace_ebpf::thread::{ParkedKey, Task};
use zerocopy::{FromBytes, IntoBytes};

use super::loader::Observer;
use super::settings::Per;
use crate::host::clock::monotonic_ns;
use iotrace_core::rows::living::Living;
use iotrace_core::rows::open::{Open, so_far};
use iotrace_core::rows::sums::{Row, Snapshot, add_cpu};

/// A key of the ABI as aya wants it, which would be an orphan implementation on the type itself.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key<T>(T);

// SAFETY: zerocopy has checked at compile time that any bytes are a valid `T`, and that `T` has no padding.
unsafe impl<T: FromBytes + IntoBytes + Copy + 'static> Pod for Key<T> {}

/// A value of the ABI as aya wants it. Values are read only, so padding would do no harm.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value<T>(T);

// SAFETY: zerocopy has checked at compile time that any bytes are a valid `T`.
unsafe impl<T: FromBytes + Copy + 'static> Pod for Value<T> {}

/// The map of times of threads.
type Lives<'a, K> = PerCpuHashMap<&'a MapData, Key<K>, Value<LifeSum>>;

fn of_cpus(cpus: &[Value<LifeSum>]) -> LifeSum {
    let add = |sum: LifeSum, cpu: &Value<LifeSum>| LifeSum {
        ns: sum.ns + cpu.0.ns,
        times: sum.times + cpu.0.times,
    };
    cpus.iter().fold(LifeSum::default(), add)
}

/// What threads of the target do at a moment.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Calls that are open.
    pub open: Vec<Open>,
    /// Threads that live.
    pub living: Vec<Living>,
}

impl Observer {
    /// All sums of the probes so far. The probes keep running: a call that ends during this read is in this snapshot or
    /// in the next.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows: self.rows(),
            errors: self.counts::<ErrorKey>("ERRORS"),
            wakes: self.wakes(),
            ways: self.counts::<WayKey>("TRANSFERS"),
            lives: self.lives("LIVES"),
            peers: self.lives("PEERS"),
            taken: self.counts::<TakenKey>("TAKEN"),
        }
    }

    /// Times of one of the maps of these.
    fn lives<K: FromBytes + IntoBytes + Copy + Eq + Hash + 'static>(
        &self,
        name: &str,
    ) -> HashMap<K, LifeSum> {
        let map = self.map(name).and_then(|map| Lives::<K>::try_from(map).ok());
        map.map_or_else(HashMap::new, |map| {
            map.iter().flatten().map(|(key, cpus)| (key.0, of_cpus(&cpus))).collect()
        })
    }

    /// One sum of time so far.
    pub fn life(&self, key: &LifeKey) -> Option<LifeSum> {
        let map = Lives::<LifeKey>::try_from(self.map("LIVES")?).ok()?;
        Some(of_cpus(&map.get(&Key(*key), 0).ok()?))
    }

    fn rows(&self) -> HashMap<AggKey, Row> {
        let Some(map) =
            self.map("ROWS").and_then(|map| PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from(map).ok())
        else {
            return HashMap::new();
        };
        let mut rows = HashMap::new();
        for key in map.keys().flatten() {
            if let Ok(cpus) = map.get(&key, 0) {
                let mut row = Row::default();
                cpus.iter().for_each(|cpu| add_cpu(&mut row, &cpu.0));
                rows.insert(key.0, row);
            }
        }
        rows
    }

    /// Counts that each CPU keeps for itself, added up.
    fn counts<K: FromBytes + IntoBytes + Copy + Eq + Hash + 'static>(&self, name: &str) -> HashMap<K, u64> {
        let map = self.map(name).and_then(|map| PerCpuHashMap::<_, Key<K>, u64>::try_from(map).ok());
        map.map_or_else(HashMap::new, |map| {
            map.iter().flatten().map(|(key, cpus)| (key.0, cpus.iter().sum())).collect()
        })
    }

    /// Which threads ended sleeps, and how often.
    pub fn wakes(&self) -> HashMap<WakeKey, u64> {
        self.counts("WAKES")
    }

    /// Processes that had the CPU while threads of the target were runnable.
    pub fn takers(&self) -> HashSet<u32> {
        let taken = self.counts::<TakenKey>("TAKEN");
        taken.into_keys().map(|key| key.taker).collect()
    }

    /// Number of counts of errors in the kernel.
    pub fn errors_taken(&self) -> usize {
        let map =
            self.map("ERRORS").and_then(|map| PerCpuHashMap::<_, Key<ErrorKey>, u64>::try_from(map).ok());
        map.map_or(0, |map| map.keys().flatten().count())
    }

    /// Number of rows in the kernel, as the probes count them; a few less where two CPUs made one at the same time.
    pub fn rows_made(&self) -> u64 {
        let map = self.map("ROWS_MADE").and_then(|map| Array::<_, u64>::try_from(map).ok());
        map.and_then(|map| map.get(&0, 0).ok()).unwrap_or(0)
    }

    /// Keys of all rows in the kernel.
    pub fn rows_taken(&self) -> Vec<AggKey> {
        let map =
            self.map("ROWS").and_then(|map| PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from(map).ok());
        map.map_or_else(Vec::new, |map| map.keys().flatten().map(|key| key.0).collect())
    }

    /// Keys of all sums of time in the kernel.
    pub fn lives_taken(&self) -> Vec<LifeKey> {
        let map = self.map("LIVES").and_then(|map| Lives::<LifeKey>::try_from(map).ok());
        map.map_or_else(Vec::new, |map| map.keys().flatten().map(|key| key.0).collect())
    }

    /// Processes that have rows, or sums of time, in the kernel.
    pub fn with_sums(&self) -> HashSet<u32> {
        let rows = self.rows_taken().into_iter().map(|key| key.tgid);
        rows.chain(self.lives_taken().into_iter().map(|key| key.tgid)).collect()
    }

    /// Moves the sums of processes that have ended out of the kernel, as no probe adds to them any more.
    pub fn retire(&mut self, ended: &HashSet<u32>) -> Snapshot {
        let mut snapshot = self.snapshot();
        snapshot.rows.retain(|key, _| ended.contains(&key.tgid));
        snapshot.errors.retain(|key, _| ended.contains(&key.row.tgid));
        snapshot.wakes.retain(|key, _| ended.contains(&key.tgid));
        snapshot.ways.retain(|key, _| ended.contains(&key.tgid));
        snapshot.lives.retain(|key, _| ended.contains(&key.tgid));
        snapshot.taken.retain(|key, _| ended.contains(&key.tgid));
        snapshot.peers.retain(|key, _| ended.contains(&key.tgid));
        let before = self.rows_made();
        // An entry that cannot be removed stays in the kernel only, or it would be counted twice.
        if let Some(Ok(mut map)) =
            self.map_mut("ROWS").map(PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from)
        {
            snapshot.rows.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
        if let Some(Ok(mut made)) = self.map_mut("ROWS_MADE").map(Array::<_, u64>::try_from) {
            // Should it fail, room is looked for too often.
            let _ = made.set(0, before.saturating_sub(snapshot.rows.len() as u64), 0);
        }
        self.keep_removed("ERRORS", &mut snapshot.errors);
        self.keep_removed("WAKES", &mut snapshot.wakes);
        self.keep_removed("TRANSFERS", &mut snapshot.ways);
        self.keep_removed("TAKEN", &mut snapshot.taken);
        self.keep_removed_times("LIVES", &mut snapshot.lives);
        self.keep_removed_times("PEERS", &mut snapshot.peers);
        snapshot
    }

    /// Removes times from the kernel, and keeps those here that could be removed.
    fn keep_removed_times<K>(&mut self, name: &str, times: &mut HashMap<K, LifeSum>)
    where
        K: FromBytes + IntoBytes + Copy + Eq + Hash + 'static,
    {
        if let Some(Ok(mut map)) =
            self.map_mut(name).map(PerCpuHashMap::<_, Key<K>, Value<LifeSum>>::try_from)
        {
            times.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
    }

    /// Processes that waited for data on TCP connections.
    pub fn waiters(&self) -> HashSet<u32> {
        self.lives::<PeerKey>("PEERS").into_keys().map(|key| key.tgid).collect()
    }

    /// Removes counts from the kernel, and keeps those here that could be removed.
    fn keep_removed<K>(&mut self, name: &str, counts: &mut HashMap<K, u64>)
    where
        K: FromBytes + IntoBytes + Copy + Eq + Hash + 'static,
    {
        if let Some(Ok(mut map)) = self.map_mut(name).map(PerCpuHashMap::<_, Key<K>, u64>::try_from) {
            counts.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
    }

    /// What known threads do at this moment: their calls that are open, also those that a handler of a signal
    /// interrupts, with where their time went so far, and how long each lives.
    pub fn threads_now(&self) -> Now {
        let mut now = Now::default();
        let mut in_handlers = HashSet::new();
        // The walk through a hash begins anew where the key that it has come to is removed meanwhile
        // (`htab_map_get_next_key`, `kernel/bpf/hashtab.c`): where threads end, it meets others twice.
        let mut met = HashSet::new();
        let mut look = |task: &Task| {
            if !met.insert(task.id) {
                return;
            }
            let at = monotonic_ns();
            if task.span.is_open() {
                now.open.push(self.open_call(task, at));
            }
            if task.parked > 0 {
                in_handlers.insert(task.tid);
            }
            now.living.extend(Living::of(task, at, self.per == Per::Thread));
        };
        self.threads().iter().for_each(&mut look);
        let overflow =
            self.map("OVERFLOW").and_then(|map| BpfHashMap::<_, u32, Value<Task>>::try_from(map).ok());
        if let Some(map) = overflow {
            map.iter().flatten().for_each(|(_, task)| look(&task.0));
        }
        let parked = self
            .map("PARKED")
            .and_then(|map| BpfHashMap::<_, Key<ParkedKey>, Value<Task>>::try_from(map).ok())
            .filter(|_| !in_handlers.is_empty());
        if let Some(map) = parked {
            let all: HashMap<ParkedKey, Value<Task>> =
                map.iter().flatten().map(|(key, task)| (key.0, task)).collect();
            let interrupted = all.into_iter().filter(|(key, _)| in_handlers.contains(&key.tid));
            // The time since then is the handler's.
            now.open.extend(interrupted.map(|(_, task)| self.open_call(&task.0, task.0.parked_at)));
        }
        now
    }

    /// An open call, by the state of its thread at `now`.
    fn open_call(&self, task: &Task, now: u64) -> Open {
        let waits = task.traits & REQUESTS != 0 && enter_waits(task.arg2, task.arg3);
        // As `key` of the probes (`aggregate.rs`) makes it.
        let file = if self.per == Per::Fd { task.file_id } else { 0 };
        let key = AggKey {
            file,
            tgid: task.tgid,
            tid: if self.per == Per::Thread { task.tid } else { 0 },
            nr: if waits { task.nr | AGG_WAITS } else { task.nr },
            fd: if file == 0 || file & SHARED != 0 { -1 } else { task.fd },
        };
        let parts = so_far(task.span, now, task.wake.at);
        Open { tgid: task.tgid, tid: task.tid, nr: task.nr, since: task.span.enter, key, parts }
    }

    /// The sums of one row so far; `None`: there is no such row.
    pub fn row(&self, key: &AggKey) -> Option<Row> {
        let map = PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from(self.map("ROWS")?).ok()?;
        let mut row = Row::default();
        map.get(&Key(*key), 0).ok()?.iter().for_each(|cpu| add_cpu(&mut row, &cpu.0));
        Some(row)
    }

    /// State of all threads that have a place in `TASKS`.
    fn threads(&self) -> Vec<Task> {
        let taken = self.map("CLAIMS").and_then(|map| BpfHashMap::<_, u32, u32>::try_from(map).ok());
        let tasks = self.map("TASKS").and_then(|map| Array::<_, Value<Task>>::try_from(map).ok());
        let Some((taken, tasks)) = taken.zip(tasks) else { return Vec::new() };
        taken.keys().flatten().filter_map(|place| Some(tasks.get(&place, 0).ok()?.0)).collect()
    }
}
