//! A workload recorded through the library, as `run` does it, with what the binary does not print: the
//! workload's own account.

use std::ffi::OsStr;
use std::sync::{Mutex, PoisonError};

use iotrace::bpf::btf::Btf;
use iotrace::session::recorded::{Recorded, Recording, record};
use iotrace::session::tape::Items;
use iotrace_core::domain::spec::{Log, Message, Spec};
use iotrace_core::domain::{Role, ThreadRole};
use iotrace_core::messages;
use iotrace_core::summary::{Call, Run, Warning};

use crate::program::binary;
use crate::{SKIPPED, attempts};

/// A result, and the account that it must agree with.
pub struct Measured {
    spec: Spec,
    pub log: Log,
    pub run: Run,
    pub warnings: Vec<Warning>,
    what: String,
}

/// Runs the workload under observation; again if the kernel skipped probes, see [`SKIPPED`].
pub fn measure(spec: &Spec) -> Measured {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    attempts::until(8, SKIPPED, |_| {
        let program = binary();
        let recording = Recording::by_tracepoints(OsStr::new(&program), &btf, spec, 16 << 20);
        let recorded = record(&recording, |_| {}, &mut Items::dropped());
        let recorded = recorded.unwrap_or_else(|failure| panic!("{spec:?}: {failure}"));
        let Recorded { log, mut journal, observer } = recorded.expect("nobody interrupts the tests");
        let skipped = observer.recursion_misses().unwrap_or(0);
        if skipped > 0 {
            return Err(format!("{skipped} probe runs skipped: {spec:?}"));
        }
        let (run, warnings) = messages::run(spec, &log, &mut journal);
        let what = format!("{spec:?}\n{:?}\n{:#?}\n{:?}", log.counters, run.calls, run.operations);
        Ok(Measured { spec: spec.clone(), log, run, warnings, what })
    })
}

/// The one run of this workload that all tests look at which have the same question: observing takes longer than
/// looking, most of all under emulation.
pub fn measured(spec: &Spec) -> &'static Measured {
    static RUNS: Mutex<Vec<&Measured>> = Mutex::new(Vec::new());
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(run) = runs.iter().find(|run| run.spec == *spec) {
        return run;
    }
    // As long as the program; there are some fifty.
    let run = Box::leak(Box::new(measure(spec)));
    runs.push(run);
    run
}

impl Measured {
    /// What was run and what came of it, for the message of a failed assertion.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The counted messages, by the clocks of the workload and its peer.
    pub fn messages(&self) -> &[Message] {
        &self.log.messages[self.log.messages.len() - self.run.messages as usize..]
    }

    /// Time from wanting to sending, over all messages: what a reader that does nothing else waits.
    pub fn waited(&self) -> u64 {
        self.messages().iter().map(|one| one.sent_ns.saturating_sub(one.want_ns)).sum()
    }

    /// Likewise until the send call had returned: the kernel had woken the reader by then.
    pub fn waited_at_most(&self) -> u64 {
        self.messages().iter().map(|one| one.sent_done_ns.saturating_sub(one.want_ns)).sum()
    }

    /// Rows of a role and kind of thread.
    pub fn rows(&self, role: Role, thread_role: ThreadRole) -> Vec<&Call> {
        let fits = |row: &&Call| (row.role, row.thread_role) == (role, thread_role);
        self.run.calls.iter().filter(fits).collect()
    }

    /// The one row of a role and kind of thread.
    pub fn row(&self, role: Role, thread_role: ThreadRole) -> &Call {
        let rows = self.rows(role, thread_role);
        assert_eq!(rows.len(), 1, "{role:?} {thread_role:?}: {}", self.what);
        rows[0]
    }

    /// The application's row of a syscall.
    pub fn app(&self, syscall: &str) -> &Call {
        let fits = |row: &&Call| row.thread_role == ThreadRole::App && row.syscall == syscall;
        self.run.calls.iter().find(fits).unwrap_or_else(|| panic!("no row {syscall}: {}", self.what))
    }
}

/// Whether `got` lies within `percent` of the range.
pub fn within(got: u64, from: u64, to: u64, percent: u64) -> bool {
    (from - from * percent / 100..=to + to * percent / 100).contains(&got)
}

/// Checks something that the scheduler can spoil once, but not three times in a row: where another
/// process takes the CPU between a time stamp and what it stamps, both are right and do not agree. The first is the
/// run that others look at, too.
pub fn one_of_three(spec: &Spec, agrees: impl Fn(&Measured) -> Result<(), String>) {
    attempts::until(3, "a busy machine may delay a time stamp", |attempt| {
        let fresh = (attempt > 1).then(|| measure(spec));
        let measured = fresh.as_ref().unwrap_or_else(|| measured(spec));
        agrees(measured).map_err(|wrong| format!("{wrong}: {}", measured.what()))
    });
}
