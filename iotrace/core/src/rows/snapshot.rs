//! Sums as a tape has them: distributions without their empty buckets.

use std::cell::{Cell, RefCell};

use iotrace_ebpf::abi::{AggKey, ErrorKey, LifeKey, LifeSum, PeerKey, TakenKey, WakeKey, WayKey};
use iotrace_ebpf::span::Parts;
use serde::{Deserialize, Serialize};

use crate::rows::open::Open;
use crate::rows::sums::{Coarse, Row, Snapshot};

/// All sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotOnTape {
    rows: Vec<RowOnTape>,
    errors: Vec<ErrorOnTape>,
    wakes: Vec<WakeOnTape>,
    #[serde(default)]
    ways: Vec<WayOnTape>,
    /// Process, thread, what, place; time in ns, times.
    #[serde(default)]
    lives: Vec<([u32; 4], [u64; 2])>,
    /// Address; process, network, local port, remote port, family; time in ns, times.
    #[serde(default)]
    peers: Vec<([u8; 16], [u32; 5], [u64; 2])>,
    /// Process, taker; time in ns.
    #[serde(default)]
    taken: Vec<([u32; 2], u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct KeyOnTape {
    file: u64,
    tgid: u32,
    tid: u32,
    nr: u32,
    fd: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RowOnTape {
    key: KeyOnTape,
    /// In the order of `Sums::combine`.
    numbers: Vec<u64>,
    /// Index and count of each bucket that is not empty, in the order of `Sums::combine`.
    distributions: Vec<Vec<(u16, u64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct ErrorOnTape {
    key: KeyOnTape,
    errno: u64,
    times: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct WakeOnTape {
    tgid: u32,
    nr: u32,
    waker: u32,
    by_socket: u32,
    times: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct WayOnTape {
    tgid: u32,
    nr: u16,
    way: u16,
    times: u64,
}

/// An open call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenOnTape {
    tgid: u32,
    tid: u32,
    nr: u32,
    since: u64,
    #[serde(default)]
    key: Option<KeyOnTape>,
    /// Wait, disk, lock, runq, copy, work.
    #[serde(default)]
    parts: [u64; 6],
}

impl OpenOnTape {
    /// As a tape has it.
    pub fn of(open: &Open) -> Self {
        let Parts { total: _, wait, disk, lock, runq, copy, work } = open.parts;
        Self {
            tgid: open.tgid,
            tid: open.tid,
            nr: open.nr,
            since: open.since,
            key: Some(KeyOnTape::of(&open.key)),
            parts: [wait, disk, lock, runq, copy, work],
        }
    }

    /// As it was.
    pub fn open(&self) -> Open {
        let [wait, disk, lock, runq, copy, work] = self.parts;
        // A tape is checked, not trusted: the sum may not overflow.
        let total = self.parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
        Open {
            tgid: self.tgid,
            tid: self.tid,
            nr: self.nr,
            since: self.since,
            key: self.key.map_or_else(AggKey::default, KeyOnTape::key),
            parts: Parts { total, wait, disk, lock, runq, copy, work },
        }
    }
}

impl KeyOnTape {
    fn of(key: &AggKey) -> Self {
        Self { file: key.file, tgid: key.tgid, tid: key.tid, nr: key.nr, fd: key.fd }
    }

    fn key(self) -> AggKey {
        AggKey { file: self.file, tgid: self.tgid, tid: self.tid, nr: self.nr, fd: self.fd }
    }
}

impl RowOnTape {
    fn of(key: &AggKey, row: &Row) -> Self {
        let (numbers, distributions) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        Row::default().combine(
            row,
            |_, number| numbers.borrow_mut().push(number),
            |_, distribution| distributions.borrow_mut().push(distribution.filled()),
        );
        Self {
            key: KeyOnTape::of(key),
            numbers: numbers.into_inner(),
            distributions: distributions.into_inner(),
        }
    }

    /// What a shorter or longer list has too little or too much is 0 or left out: a tape is checked, not trusted.
    fn row(&self) -> Row {
        let (number, distribution) = (Cell::new(0), Cell::new(0));
        let next = |place: &Cell<usize>| place.replace(place.get() + 1);
        let mut row = Row::default();
        row.combine(
            &Row::default(),
            |slot, _| *slot = self.numbers.get(next(&number)).copied().unwrap_or(0),
            |slot, _| {
                if let Some(filled) = self.distributions.get(next(&distribution)) {
                    *slot = Coarse::of(filled);
                }
            },
        );
        row
    }
}

impl SnapshotOnTape {
    /// As a tape has it, in a fixed order.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut rows: Vec<_> = snapshot.rows.iter().collect();
        rows.sort_by_key(|(key, _)| **key);
        let errors = snapshot.errors.iter().map(|(key, times)| ErrorOnTape {
            key: KeyOnTape::of(&key.row),
            errno: key.errno,
            times: *times,
        });
        let wakes = snapshot.wakes.iter().map(|(key, times)| WakeOnTape {
            tgid: key.tgid,
            nr: key.nr,
            waker: key.waker,
            by_socket: key.by_socket,
            times: *times,
        });
        Self {
            rows: rows.into_iter().map(|(key, row)| RowOnTape::of(key, row)).collect(),
            errors: errors.collect(),
            wakes: wakes.collect(),
            ways: snapshot
                .ways
                .iter()
                .map(|(key, times)| WayOnTape { tgid: key.tgid, nr: key.nr, way: key.way, times: *times })
                .collect(),
            lives: snapshot
                .lives
                .iter()
                .map(|(key, sum)| ([key.tgid, key.tid, key.what, key.place], [sum.ns, sum.times]))
                .collect(),
            peers: snapshot
                .peers
                .iter()
                .map(|(key, sum)| {
                    let ends = [key.tgid, key.network, key.local.into(), key.remote.into(), key.family];
                    (key.address, ends, [sum.ns, sum.times])
                })
                .collect(),
            taken: snapshot.taken.iter().map(|(key, ns)| ([key.tgid, key.taker], *ns)).collect(),
        }
    }

    /// As it was.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows: self.rows.iter().map(|row| (row.key.key(), row.row())).collect(),
            errors: self
                .errors
                .iter()
                .map(|one| (ErrorKey { row: one.key.key(), errno: one.errno }, one.times))
                .collect(),
            wakes: self
                .wakes
                .iter()
                .map(|one| {
                    let WakeOnTape { tgid, nr, waker, by_socket, times } = *one;
                    (WakeKey { tgid, nr, waker, by_socket }, times)
                })
                .collect(),
            ways: self
                .ways
                .iter()
                .map(|one| (WayKey { tgid: one.tgid, nr: one.nr, way: one.way }, one.times))
                .collect(),
            lives: self
                .lives
                .iter()
                .map(|&([tgid, tid, what, place], [ns, times])| {
                    (LifeKey { tgid, tid, what, place }, LifeSum { ns, times })
                })
                .collect(),
            peers: self
                .peers
                .iter()
                .map(|&(address, [tgid, network, local, remote, family], [ns, times])| {
                    let (local, remote) = (local as u16, remote as u16);
                    (PeerKey { address, tgid, network, local, remote, family }, LifeSum { ns, times })
                })
                .collect(),
            taken: self.taken.iter().map(|&([tgid, taker], ns)| (TakenKey { tgid, taker }, ns)).collect(),
        }
    }
}
