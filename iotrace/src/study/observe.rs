//! iotrace's probes on the process of the study itself: the experiment makes calls, and the kernel's records say
//! where their time went.

use iotrace_ebpf::abi::CallRecord;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::probes::Group;
use crate::bpf::settings::Settings;
use crate::session::error::Failure;
use iotrace_core::domain::{Loss, syscall};
use iotrace_core::messages::signals::SIGIO;
use iotrace_core::records::journal::Journal;

/// Probes attached to this process.
pub struct Watching {
    observer: Observer,
    unknown: u64,
}

impl Watching {
    /// Attaches the probes of `groups`. Futex waits are recorded only with `futex`, because every lock makes them.
    ///
    /// # Errors
    /// The kernel has no BTF, or refuses the probes.
    pub fn attach(groups: Vec<Group>, futex: bool) -> Result<Self, Failure> {
        let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
        let settings = Settings {
            traits: syscall::input_table(futex),
            signals: 1 << (SIGIO - 1),
            ..Settings::records(std::process::id(), groups)
        };
        Ok(Self { observer: Observer::attach(&btf, &settings)?, unknown: 0 })
    }

    /// Runs `what`; returns its result and the records that the kernel made meanwhile.
    pub fn during<T>(&mut self, what: impl FnOnce() -> T) -> (T, Journal) {
        self.observer.drain(|_| {});
        let done = what();
        let mut journal = Journal::default();
        self.observer.drain(|item| journal.take(item));
        self.unknown += journal.unknown;
        (done, journal)
    }

    /// A sentence for each probe that could not be attached: which, and what is not measured without it.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.observer.missing().iter().map(ToString::to_string)
    }

    /// What the probes lost since they were attached.
    pub fn loss(&self) -> Loss {
        self.observer.loss(self.unknown)
    }
}

/// The calls of thread `tid`, in order of their exits.
pub fn calls_of(journal: &Journal, tid: u32) -> impl Iterator<Item = &CallRecord> {
    journal.calls.iter().map(|entry| &entry.call).filter(move |call| call.head.tid == tid)
}

/// The id of the calling thread.
pub fn own_tid() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Nanoseconds from the enter of the call to its first sleep: in a readiness call, the first look at its
/// descriptors. `None` if the call did not sleep.
pub fn before_sleep(call: &CallRecord) -> Option<u64> {
    (call.first_out > 0).then(|| call.first_out.saturating_sub(call.enter))
}

/// Nanoseconds from the last switch-in of the call to its exit: in a readiness call, the second look at its
/// descriptors. `None` if the call did not sleep.
pub fn after_sleep(call: &CallRecord) -> Option<u64> {
    (call.first_out > 0 && call.last_in > call.first_out).then(|| call.head.at.saturating_sub(call.last_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_cut_at_its_sleep() {
        let mut call = CallRecord { enter: 100, first_out: 140, last_in: 900, ..CallRecord::default() };
        call.head.at = 960;
        assert_eq!((before_sleep(&call), after_sleep(&call)), (Some(40), Some(60)));
        let awake = CallRecord { enter: 100, last_in: 100, ..CallRecord::default() };
        assert_eq!((before_sleep(&awake), after_sleep(&awake)), (None, None));
    }
}
