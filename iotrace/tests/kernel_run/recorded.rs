//! A workload recorded through the library, as `run` does it, with what the binary does not print: the
//! workload's own account.

use std::ffi::OsStr;

use iotrace::bpf::btf::Btf;
use iotrace::session::recorded::{Recorded, Recording, record};
use iotrace::session::tape::Items;
use iotrace_core::domain::spec::{Log, Message, Spec};
use iotrace_core::domain::{Role, ThreadRole};
use iotrace_core::messages;
use iotrace_core::summary::{Call, Run, Warning};

use crate::program::binary;

/// A result, and the account that it must agree with.
pub struct Measured {
    pub log: Log,
    pub run: Run,
    pub warnings: Vec<Warning>,
    what: String,
}

/// Runs the workload under observation; again if the kernel skipped probes, see
/// [`run_undisturbed`](crate::document::run_undisturbed).
pub fn measure(spec: &Spec) -> Measured {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    for _ in 0..8 {
        let program = binary();
        let recording = Recording::by_tracepoints(OsStr::new(&program), &btf, spec, 16 << 20);
        let recorded = record(&recording, |_| {}, &mut Items::dropped());
        let recorded = recorded.unwrap_or_else(|failure| panic!("{spec:?}: {failure}"));
        let Recorded { log, mut journal, observer } = recorded.expect("nobody interrupts the tests");
        if observer.recursion_misses().unwrap_or(0) > 0 {
            continue;
        }
        let (run, warnings) = messages::run(spec, &log, &mut journal);
        let what = format!("{spec:?}\n{:?}\n{:#?}\n{:?}", log.counters, run.calls, run.operations);
        return Measured { log, run, warnings, what };
    }
    panic!("{spec:?}: the kernel skipped probes in every run");
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
/// process takes the CPU between a time stamp and what it stamps, both are right and do not agree.
pub fn one_of_three(spec: &Spec, agrees: impl Fn(&Measured) -> Result<(), String>) {
    let mut said = Vec::new();
    for _ in 0..3 {
        let measured = measure(spec);
        match agrees(&measured) {
            Ok(()) => return,
            Err(why) => said.push(format!("{why}: {}", measured.what())),
        }
    }
    panic!("three times of three: {}", said.join("\n\n"));
}
