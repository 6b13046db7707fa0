//! The rules of diagnosis about disks: what a process reads that is not in memory, and what it waits for to be written.

use std::collections::BTreeMap;

use crate::domain::{Direction, Role};
use crate::rows::finding::{Case, ms};
use crate::summary::{Call, Class, Code, Diagnosis, Elsewhere};

/// Syscalls that return when data is on the disk: all that they sleep for is that.
pub const DURABLE: [&str; 6] = ["fsync", "fdatasync", "msync", "sync_file_range", "sync", "syncfs"];

/// Where a thread sleeps outside traced calls until something came from a disk. `openat` is not among them, as it may
/// create or truncate a file, and nor are those that change directories: they wait for writes, too.
const READS: [&str; 22] = [
    "page fault",
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "sendfile",
    "readahead",
    "getdents",
    "getdents64",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "execve",
    "execveat",
];

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

/// Whether a call writes to what it was given, of which it sleeps for the disk. `sendfile` and `splice` read from the
/// disk what they hand on.
fn writes(call: &Call) -> bool {
    call.direction == Some(Direction::Out) && !hands_on(&call.syscall)
}

fn hands_on(syscall: &str) -> bool {
    matches!(syscall, "sendfile" | "splice" | "copy_file_range")
}

/// Sleeps for a disk outside traced calls.
fn elsewhere<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Elsewhere> {
    case.time.elsewhere.iter().filter(|one| one.class == Class::Disk)
}

fn is_durable(one: &Elsewhere) -> bool {
    DURABLE.contains(&one.syscall())
}

/// Of a durable call, what is not on a CPU or without one: the disk, and the journal's lock.
fn asleep(call: &Call) -> u64 {
    call.disk_ns.saturating_add(call.lock_ns).saturating_add(call.wait_ns)
}

/// It waits until what it wrote is on the disk. Time without a CPU and on it is not the disk's.
pub fn durable(case: &Case<'_>) -> Option<Diagnosis> {
    let rows = || case.process.calls.iter().filter(|call| call.role == Role::Durable);
    let sleeps = || elsewhere(case).filter(|one| is_durable(one));
    let all = || {
        let calls = rows().map(|call| (call.syscall.as_str(), asleep(call), call.calls));
        calls.chain(sleeps().map(|one| (one.what.as_str(), one.ns, one.sleeps)))
    };
    let asked = all().map(|one| one.1).fold(0, u64::saturating_add);
    let calls = all().map(|one| one.2).fold(0, u64::saturating_add);
    // Writes themselves sleep for a disk where they were asked to, or where more is written than it takes.
    let within = case.sum(|call| if writes(call) { call.disk_ns } else { 0 });
    let ns = asked.saturating_add(within);
    if !case.is_much(ns) {
        return None;
    }
    let evidence = |more: [(&'static str, u64); 2]| {
        let mut evidence = vec![("durable_ns", asked), ("durable_calls", calls), ("write_disk_ns", within)];
        evidence.extend(more);
        evidence
    };
    let written = case.sum(|call| if writes(call) { call.calls } else { 0 });
    let bytes = case.sum(|call| if writes(call) { call.bytes } else { 0 });
    if asked >= within {
        let most = all().max_by_key(|one| one.1)?;
        return Some(case.finding(
            Code::DurableWrites,
            ns,
            format!(
                "durable writes: {} asleep in {calls} {} {} until data was on the disk, {} a time, beside {written} \
                 writes",
                ms(asked),
                if rows().next().is_some() { "calls of" } else { "sleeps in" },
                most.0,
                ms(asked / calls.max(1))
            ),
            &evidence([("writes", written), ("bytes", bytes)]),
            "write more before each fsync: group commits, or leave it to the kernel where loss is allowed".to_owned(),
        ));
    }
    let most = case.process.calls.iter().filter(|call| writes(call)).max_by_key(|call| call.disk_ns)?;
    Some(case.finding(
        Code::DurableWrites,
        ns,
        format!(
            "durable writes: {} asleep for a disk inside {}, as the file is open with O_SYNC or O_DIRECT, or more is \
             written than the disk takes",
            ms(within),
            most.syscall
        ),
        &evidence([("writes", written), ("bytes", bytes)]),
        format!("which files: {}", case.command("--per fd")),
    ))
}

/// It waits for a disk to read.
pub fn reads(case: &Case<'_>) -> Option<Diagnosis> {
    let from_disk = |call: &Call| call.direction == Some(Direction::In) || hands_on(&call.syscall);
    let inside = case.sum(|call| if from_disk(call) { call.disk_ns } else { 0 });
    let is_read = |one: &&Elsewhere| READS.contains(&one.syscall());
    let outside = || elsewhere(case).filter(is_read);
    let faults =
        outside().filter(|one| one.what == "page fault").map(|one| one.ns).fold(0, u64::saturating_add);
    let others = outside().map(|one| one.ns).fold(0, u64::saturating_add).saturating_sub(faults);
    let ns = inside.saturating_add(faults).saturating_add(others);
    case.is_much(ns).then(|| {
        let bytes = case.sum(|call| if call.disk_ns > 0 && from_disk(call) { call.bytes } else { 0 });
        let most = outside().filter(|one| one.what != "page fault").max_by_key(|one| one.ns);
        let what = match most {
            Some(most) if others > inside.max(faults) => format!("most of it in {}", most.what),
            _ if faults > inside => {
                "in page faults of mapped files, or of memory that was swapped out".to_owned()
            }
            _ => "in reads that the page cache had not, or that go past it (O_DIRECT)".to_owned(),
        };
        case.finding(
            Code::DiskReads,
            ns,
            format!("disk reads: {} asleep for a disk, {what}", ms(ns)),
            &[
                ("read_disk_ns", inside),
                ("fault_disk_ns", faults),
                ("other_disk_ns", others),
                ("bytes", bytes),
            ],
            format!("which files: {}", case.command("--per fd")),
        )
    })
}

/// It waits for a disk in what neither moves data nor makes it durable: calls on directories, opening files.
pub fn others(case: &Case<'_>) -> Option<Diagnosis> {
    let mut by: BTreeMap<&str, u64> = BTreeMap::new();
    let rows =
        case.process.calls.iter().filter(|call| call.role != Role::Durable && call.direction.is_none());
    let rows = rows.map(|call| (call.syscall.as_str(), call.disk_ns));
    let sleeps = elsewhere(case).map(|one| (one.syscall(), one.ns));
    let sleeps = sleeps.filter(|(what, _)| !DURABLE.contains(what) && !READS.contains(what));
    for (what, ns) in rows.chain(sleeps).filter(|(_, ns)| *ns > 0) {
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
    let names: Vec<&str> = most.iter().take(3).map(|(what, _)| *what).collect();
    Some(case.finding(
        // Of the others it is not known whether they read or wait for writes.
        if changes.saturating_mul(2) >= ns { Code::DurableWrites } else { Code::None },
        ns,
        format!("waiting for the disk: {} asleep for it in {}", ms(ns), names.join(", ")),
        &[("other_disk_ns", ns), ("change_disk_ns", changes)],
        "which files: strace -f -P DIRECTORY, or -e trace=%file".to_owned(),
    ))
}
