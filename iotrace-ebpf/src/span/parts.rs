//! Stretches of time that a span is made of: times off the CPU, copies, and the places of a finished call.

#[cfg(doc)]
use super::Off;

/// How long a thread was off the CPU, ns, and what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Rest {
    /// Asleep, or stopped.
    pub slept: u64,
    /// Runnable, not running.
    pub waited: u64,
    /// Why it left the CPU ([`Off`] as a number).
    pub off: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A copy between two marks. Times are `CLOCK_MONOTONIC` in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Window {
    /// Time of the start mark.
    pub begin: u64,
    /// Time of the end mark; 0 while the copy is open.
    pub end: u64,
    /// Time switched out between the marks, ns.
    pub off: u64,
    /// Bytes copied, as the start mark announced them.
    pub bytes: u64,
}

impl Window {
    /// Time in the copy without the time switched out, ns.
    #[inline(always)]
    pub fn length(&self) -> u64 {
        self.end.saturating_sub(self.begin).saturating_sub(self.off)
    }
}

/// Where the time of a finished call went, in ns; the six parts add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Parts {
    /// Enter to exit.
    pub total: u64,
    /// Asleep in an interruptible sleep: for data, a timer or a completion.
    pub wait: u64,
    /// Asleep in the block layer or for a page of a file, uninterruptibly.
    pub disk: u64,
    /// Asleep in any other sleep: for a lock or a page fault.
    pub lock: u64,
    /// Runnable, not running.
    pub runq: u64,
    /// Copying (between the marks, floor not yet subtracted).
    pub copy: u64,
    /// On the CPU and not in a marked copy.
    pub work: u64,
}
