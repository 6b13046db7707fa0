//! What `/proc` and the sockets of a namespace tell beside the probes, at the time of a batch.

use std::collections::HashSet;

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
