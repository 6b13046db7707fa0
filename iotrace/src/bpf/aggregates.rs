//! Reads the sums that the probes keep in the kernel.

use std::collections::{HashMap, HashSet};

use aya::Pod;
use aya::maps::{Array, HashMap as BpfHashMap, PerCpuHashMap};
use iotrace_ebpf::abi::{Agg, AggKey, ErrorKey, WakeKey};
use iotrace_ebpf::thread::{ParkedKey, Task};
use zerocopy::{FromBytes, IntoBytes};

use super::loader::Observer;
use iotrace_core::rows::sums::{Open, Row, Snapshot, add_cpu};

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

impl Observer {
    /// All sums of the probes so far. The probes keep running: a call that ends during this read is in this snapshot or
    /// in the next.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { rows: self.rows(), errors: self.errors(), wakes: self.wakes() }
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

    fn errors(&self) -> HashMap<ErrorKey, u64> {
        let map =
            self.map("ERRORS").and_then(|map| PerCpuHashMap::<_, Key<ErrorKey>, u64>::try_from(map).ok());
        map.map_or_else(HashMap::new, |map| {
            map.iter().flatten().map(|(key, cpus)| (key.0, cpus.iter().sum())).collect()
        })
    }

    fn wakes(&self) -> HashMap<WakeKey, u64> {
        let map = self.map("WAKES").and_then(|map| PerCpuHashMap::<_, Key<WakeKey>, u64>::try_from(map).ok());
        map.map_or_else(HashMap::new, |map| {
            map.iter().flatten().map(|(key, cpus)| (key.0, cpus.iter().sum())).collect()
        })
    }

    /// Keys of all rows in the kernel.
    pub fn rows_taken(&self) -> Vec<AggKey> {
        let map =
            self.map("ROWS").and_then(|map| PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from(map).ok());
        map.map_or_else(Vec::new, |map| map.keys().flatten().map(|key| key.0).collect())
    }

    /// Moves the sums of processes that have ended out of the kernel, as no probe adds to them any more.
    pub fn retire(&mut self, ended: &HashSet<u32>) -> Snapshot {
        let mut snapshot = self.snapshot();
        snapshot.rows.retain(|key, _| ended.contains(&key.tgid));
        snapshot.errors.retain(|key, _| ended.contains(&key.row.tgid));
        snapshot.wakes.retain(|key, _| ended.contains(&key.tgid));
        // An entry that cannot be removed stays in the kernel only, or it would be counted twice.
        if let Some(Ok(mut map)) =
            self.map_mut("ROWS").map(PerCpuHashMap::<_, Key<AggKey>, Value<Agg>>::try_from)
        {
            snapshot.rows.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
        if let Some(Ok(mut map)) =
            self.map_mut("ERRORS").map(PerCpuHashMap::<_, Key<ErrorKey>, u64>::try_from)
        {
            snapshot.errors.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
        if let Some(Ok(mut map)) = self.map_mut("WAKES").map(PerCpuHashMap::<_, Key<WakeKey>, u64>::try_from)
        {
            snapshot.wakes.retain(|key, _| map.remove(&Key(*key)).is_ok());
        }
        snapshot
    }

    /// Calls of known threads that are open at this moment, also those that a handler of a signal interrupts.
    pub fn open_calls(&self) -> Vec<Open> {
        let call = |task: &Task| Open { tgid: task.tgid, tid: task.tid, nr: task.nr, since: task.span.enter };
        let open = |task: Task| task.span.is_open().then(|| call(&task));
        let threads = self.threads();
        let in_handlers: HashSet<u32> =
            threads.iter().filter(|task| task.parked > 0).map(|task| task.tid).collect();
        let mut calls: Vec<Open> = threads.into_iter().filter_map(open).collect();
        let parked = self
            .map("PARKED")
            .and_then(|map| BpfHashMap::<_, Key<ParkedKey>, Value<Task>>::try_from(map).ok())
            .filter(|_| !in_handlers.is_empty());
        if let Some(map) = parked {
            let interrupted = map.iter().flatten().filter(|(key, _)| in_handlers.contains(&key.0.tid));
            calls.extend(interrupted.map(|(_, task)| call(&task.0)));
        }
        let overflow =
            self.map("OVERFLOW").and_then(|map| BpfHashMap::<_, u32, Value<Task>>::try_from(map).ok());
        if let Some(map) = overflow {
            calls.extend(map.iter().flatten().filter_map(|(_, task)| open(task.0)));
        }
        calls
    }

    /// State of all threads that have a place in `TASKS`.
    fn threads(&self) -> Vec<Task> {
        let taken = self.map("CLAIMS").and_then(|map| BpfHashMap::<_, u32, u32>::try_from(map).ok());
        let tasks = self.map("TASKS").and_then(|map| Array::<_, Value<Task>>::try_from(map).ok());
        let Some((taken, tasks)) = taken.zip(tasks) else { return Vec::new() };
        taken.keys().flatten().filter_map(|place| Some(tasks.get(&place, 0).ok()?.0)).collect()
    }
}
