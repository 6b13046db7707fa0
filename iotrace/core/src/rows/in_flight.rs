//! Calls that were open at either end of tracing.

use std::collections::{BTreeSet, HashMap};

use crate::rows::batch::Since;
use crate::rows::open::Open;
use crate::rows::retired;
use crate::rows::sums::Snapshot;

/// Calls that were open when tracing ended or began.
#[derive(Clone, Debug, Default)]
pub struct InFlightCalls {
    /// Open calls of known threads.
    pub open: Vec<Open>,
    /// Whether the rows have the time of these calls so far.
    pub booked: bool,
    /// Calls that have been open since before tracing began: process, thread, syscall number.
    pub before: Vec<Since>,
    /// When tracing ended, ns.
    pub now: u64,
    /// When tracing began, ns.
    pub started: u64,
}

impl InFlightCalls {
    /// Processes with an open call and without sums, beyond the first `most`.
    pub fn surplus(&self, sums: &Snapshot, most: usize) -> Vec<u32> {
        let with_sums = sums.processes();
        let all = self.open.iter().map(|call| call.tgid).chain(self.before.iter().map(|call| call.pid));
        let single: BTreeSet<u32> = all.filter(|pid| !with_sums.contains(pid)).collect();
        single.into_iter().skip(most).collect()
    }

    /// Gives the calls of processes to others: `into` has their new ids.
    pub fn rename(&mut self, into: &HashMap<u32, u32>) {
        for call in &mut self.open {
            call.key = retired::renamed(&call.key, into);
            call.tgid = into.get(&call.tgid).copied().unwrap_or(call.tgid);
        }
        for call in &mut self.before {
            call.pid = into.get(&call.pid).copied().unwrap_or(call.pid);
        }
    }
}
