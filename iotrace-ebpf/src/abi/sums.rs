//! What the probes sum up in the kernel.

use crate::book::Sums;

/// The key of a row of sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct AggKey {
    /// Mixed from the addresses of `struct file`, inode and operations and the number of the inode: each
    /// alone is used again soon after a close. 0: not by descriptor.
    pub file: u64,
    /// Process.
    pub tgid: u32,
    /// Thread; 0: not by thread.
    pub tid: u32,
    /// Syscall number, with [`AGG_WAITS`] for an `io_uring_enter` that waits.
    pub nr: u32,
    /// Descriptor; -1: not by descriptor.
    pub fd: i32,
}

/// Set in [`AggKey::nr`] for an `io_uring_enter` with `IORING_ENTER_GETEVENTS` and a count to wait for.
pub const AGG_WAITS: u32 = 1 << 31;

/// Room for the buckets of a histogram in the kernel, see [`crate::hist::coarse`]: a power of two, so that
/// an index can be masked.
pub const AGG_BUCKETS: usize = crate::hist::COARSE_BUCKETS.next_power_of_two();

/// Counts by coarse bucket, of one row on one CPU.
pub type Buckets = [u32; AGG_BUCKETS];

/// Sums of one row on one CPU.
pub type Agg = Sums<Buckets>;

/// Key of an error count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct ErrorKey {
    /// The row.
    pub row: AggKey,
    /// The error, positive.
    pub errno: u64,
}

/// Most rows of the map of errors. Where nothing is summed up, the map has one.
pub const ERRORS_ROOM: u32 = 1024;
/// Most rows of the map of wake-ups. Where nothing is summed up, the map has one.
pub const WAKES_ROOM: u32 = 4096;

/// Who woke the threads of a process, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct WakeKey {
    /// The process that slept.
    pub tgid: u32,
    /// The call it slept in.
    pub nr: u32,
    /// The thread in whose context the wake-up ran; 0: an idle CPU, so an interrupt; or [`WakeKey::TIMER`].
    pub waker: u32,
    /// 1: `sk_data_ready` came right before the wake-up; 0: it did not.
    pub by_socket: u32,
}

impl WakeKey {
    /// A [`WakeKey::waker`] that only user space uses: the merged wakers of ended processes.
    pub const MANY: u32 = u32::MAX;
    /// A [`WakeKey::waker`]: the timer of a call that timed out. The thread that its interrupt disturbed is not the
    /// cause.
    pub const TIMER: u32 = u32::MAX - 1;
    /// A [`WakeKey::waker`]: a thread that has no id in the pid namespace of iotrace.
    pub const OUTSIDE: u32 = u32::MAX - 2;

    /// The waker, if it is one thread.
    pub fn thread(&self) -> Option<u32> {
        Self::thread_of(self.waker)
    }

    /// The thread that the number of a waker stands for, if it is one thread.
    pub fn thread_of(waker: u32) -> Option<u32> {
        Some(waker).filter(|waker| ![0, Self::MANY, Self::TIMER, Self::OUTSIDE].contains(waker))
    }
}

/// What the kernel knows of a socket that is received from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct SockState {
    /// Since when data has waited in it, ns; 0: it has none.
    pub ready: u64,
    /// When the last `sk_data_ready` was, ns; 0: there was none.
    pub last: u64,
    /// Where its data waits; one of [`queues`].
    pub queues: u32,
    /// 1: a read has left it empty since it is known, so `sk_data_ready` was seen of all data that came later.
    pub emptied: u32,
}

/// The queues in which a socket keeps received data; their lengths tell whether any is left.
pub mod queues {
    /// Not known.
    pub const OTHER: u32 = 0;
    /// In `sk_receive_queue` (TCP, AF_UNIX).
    pub const RECEIVE: u32 = 1;
    /// In `sk_receive_queue`, or in `reader_queue`, to which `__skb_recv_udp` moves all of it at once (UDP).
    pub const UDP: u32 = 2;
}
