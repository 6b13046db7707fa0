//! Rules of diagnosis: what a process waits for that its disks do.

use std::collections::BTreeMap;

use crate::domain::{Direction, Role};
use crate::rows::finding::{Case, ms};
use crate::summary::{Call, Class, Code, Diagnosis, Elsewhere};

/// Calls that return when data is on the disk; all that they sleep for is that (`rows/time.rs`).
const DURABLE: [&str; 6] = ["fsync", "fdatasync", "msync", "sync_file_range", "sync", "syncfs"];
/// Beginnings of the names of calls that change files or directories.
const CHANGES: [&str; 16] = [
    "write",
    "pwrite",
    "rename",
    "unlink",
    "link",
    "symlink",
    "mkdir",
    "mknod",
    "rmdir",
    "truncate",
    "ftruncate",
    "fallocate",
    "chmod",
    "fchmod",
    "setxattr",
    "close",
];

fn name(one: &Elsewhere) -> &str {
    one.what.trim_start_matches("32-bit ")
}

fn asleep(call: &Call) -> u64 {
    call.disk_ns.saturating_add(call.lock_ns).saturating_add(call.wait_ns)
}

/// It waits until what it wrote is on the disk. Time without a CPU and on it is not the disk's.
pub fn durable(case: &Case<'_>) -> Option<Diagnosis> {
    let rows = || case.process.calls.iter().filter(|call| call.role == Role::Durable);
    let others = || {
        let disk = case.time.elsewhere.iter().filter(|one| one.class == Class::Disk);
        disk.filter(|one| DURABLE.contains(&name(one)))
    };
    // Of calls that are not traced the sleeps are known, and not their number.
    let mut by: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let each = rows().map(|call| (call.syscall.as_str(), asleep(call), call.calls));
    for (what, ns, times) in each.chain(others().map(|one| (name(one), one.ns, one.sleeps))) {
        let sum = by.entry(what).or_default();
        *sum = (sum.0.saturating_add(ns), sum.1.saturating_add(times));
    }
    let ns = by.values().map(|sum| sum.0).fold(0, u64::saturating_add);
    let (what, (most, times)) = by.into_iter().max_by_key(|(_, sum)| sum.0)?;
    (case.is_much(ns) && times > 0).then(|| {
        let calls = rows().map(|call| call.calls).fold(0, u64::saturating_add);
        let writes = case.sum(|call| if call.direction == Some(Direction::Out) { call.calls } else { 0 });
        case.finding(
            Code::DurableWrites,
            ns,
            format!(
                "durable writes: {} asleep until data was on the disk, most of it in {what}, {} a time, beside {writes} \
                 writes",
                ms(ns),
                ms(most / times)
            ),
            &[("durable_ns", ns), ("durable_calls", calls), ("writes", writes)],
            "write more before each fsync: group commits, or leave it to the kernel where loss is allowed".to_owned(),
        )
    })
}

/// It waits for a disk to read.
pub fn reads(case: &Case<'_>) -> Option<Diagnosis> {
    let reads = case.sum(|call| if call.direction == Some(Direction::In) { call.disk_ns } else { 0 });
    let elsewhere = case.time.elsewhere.iter().filter(|one| one.class == Class::Disk);
    let faults =
        elsewhere.filter(|one| one.what == "page fault").map(|one| one.ns).fold(0, u64::saturating_add);
    let ns = reads.saturating_add(faults);
    case.is_much(ns).then(|| {
        let bytes =
            case.sum(
                |call| {
                    if call.disk_ns > 0 && call.direction == Some(Direction::In) { call.bytes } else { 0 }
                },
            );
        let what = if faults > reads {
            "page faults of mapped files, or of memory that was swapped out"
        } else {
            "reads that the page cache had not, or that go past it (O_DIRECT)"
        };
        case.finding(
            Code::DiskReads,
            ns,
            format!("disk reads: {} asleep for a disk, in {what}", ms(ns)),
            &[("read_disk_ns", reads), ("fault_disk_ns", faults), ("bytes", bytes)],
            format!("which files: {}", case.command("--per fd")),
        )
    })
}

/// It waits for a disk in other calls: writes that do not return before (`O_SYNC`, `O_DIRECT`), calls on directories.
pub fn others(case: &Case<'_>) -> Option<Diagnosis> {
    let mut by: BTreeMap<&str, u64> = BTreeMap::new();
    let rows = case.process.calls.iter().filter(|call| call.role != Role::Durable);
    let rows = rows.filter(|call| call.direction != Some(Direction::In));
    let rows = rows.map(|call| (call.syscall.as_str(), call.disk_ns));
    let elsewhere = case.time.elsewhere.iter().filter(|one| one.class == Class::Disk);
    let elsewhere = elsewhere.filter(|one| !DURABLE.contains(&name(one)) && one.what != "page fault");
    for (what, ns) in rows.chain(elsewhere.map(|one| (name(one), one.ns))).filter(|(_, ns)| *ns > 0) {
        let sum = by.entry(what).or_default();
        *sum = sum.saturating_add(ns);
    }
    let ns = by.values().copied().fold(0, u64::saturating_add);
    if !case.is_much(ns) {
        return None;
    }
    let is_change = |what: &str| CHANGES.iter().any(|start| what.starts_with(start));
    let changes =
        by.iter().filter(|(what, _)| is_change(what)).map(|(_, ns)| *ns).fold(0, u64::saturating_add);
    let mut most: Vec<(&str, u64)> = by.into_iter().collect();
    most.sort_by_key(|one| std::cmp::Reverse(one.1));
    let writes = most.first().is_some_and(|(what, _)| what.contains("write"));
    let names: Vec<&str> = most.iter().take(3).map(|(what, _)| *what).collect();
    Some(case.finding(
        if changes.saturating_mul(2) >= ns { Code::DurableWrites } else { Code::DiskReads },
        ns,
        format!("waiting for the disk: {} asleep for it in {}", ms(ns), names.join(", ")),
        &[("other_disk_ns", ns), ("change_disk_ns", changes)],
        match writes {
            true => "whether its files are open with O_SYNC, O_DSYNC or O_DIRECT (/proc/PID/fdinfo), or writes are \
                     held up by too many dirty pages (/proc/meminfo)"
                .to_owned(),
            false => "which files: strace -f -P DIRECTORY, or -e trace=%file".to_owned(),
        },
    ))
}
