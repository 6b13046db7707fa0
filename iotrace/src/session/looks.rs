//! What `/proc` and the sockets of a namespace tell beside the probes, at the time of a batch.

use std::collections::HashSet;

use iotrace_core::domain::ProbeId;
use iotrace_core::rows::batch::{Batch, Facts, ThreadName};
use iotrace_core::rows::ledger::Ledger;

use crate::bpf::loader::Observer;
use crate::host::fd::Namer;
use crate::host::{proc, quota};

/// Most processes whose quotas are looked at.
const QUOTAS: usize = 64;

/// Looks who listens, where connections may have been made or accepted.
pub fn at_listeners(observer: &Observer, namer: &mut Namer, facts: &mut Facts) {
    let waiters: Vec<u32> = observer.waiters().into_iter().collect();
    if !waiters.is_empty() {
        namer.look_around(&waiters);
        facts.listening = namer.networks().listening().into_iter().collect();
    }
}

/// Looks at the quotas of the cgroups of processes: of those that were there at the start, and of followed ones.
pub fn at_quotas(observer: &Observer, initial: &[u32], batch: &mut Batch) {
    let pids: HashSet<u32> = initial.iter().copied().chain(observer.members().processes).collect();
    let few = pids.into_iter().filter(|&pid| pid != 0).take(QUOTAS);
    batch.facts.throttled.extend(few.filter_map(|pid| Some((pid, quota::throttled_ns(pid)?))));
}

/// Looks at threads outside the target, wakers and others, while they are there.
pub fn at_threads(wakers: &HashSet<u32>, ledger: &Ledger, facts: &mut Facts) {
    let known = &ledger.names().threads;
    for &tid in wakers.iter().filter(|tid| !known.contains_key(tid)) {
        if let (Some(name), Some(pid)) = (proc::comm(tid), proc::process_of(tid)) {
            facts.threads.push(ThreadName { tid, pid, name });
        }
    }
}

/// Looks what processes are called: by their first threads, which need not have made a call, unless these have `told`
/// their names.
pub fn at_leaders(
    observer: &Observer,
    processes: HashSet<u32>,
    told: impl Fn(u32) -> bool,
    ledger: &Ledger,
    facts: &mut Facts,
) {
    let known = &ledger.names().threads;
    let is_new = |pid: &u32| !told(*pid) && !known.contains_key(pid);
    let mut leaders: HashSet<u32> = processes.into_iter().filter(is_new).collect();
    if !observer.has(ProbeId::TaskRename) {
        // Nobody tells of new names: they are looked at again while the thread is there.
        leaders.extend(known.values().filter(|thread| thread.called).map(|thread| thread.pid));
    }
    for pid in leaders {
        facts.threads.extend(proc::comm(pid).map(|name| ThreadName { tid: pid, pid, name }));
    }
}

/// Those of these threads and processes that have ended; a process that the kernel has sums of is still shown.
pub fn gone(observer: &Observer, threads: Vec<(u32, u32)>) -> Vec<u32> {
    if threads.is_empty() {
        return Vec::new();
    }
    let with_sums = observer.with_sums();
    let is_gone = |&(tid, pid): &(u32, u32)| match tid == pid {
        true => !with_sums.contains(&pid) && proc::has_ended(pid),
        false => proc::is_gone(tid),
    };
    threads.into_iter().filter(is_gone).map(|(tid, _)| tid).collect()
}
