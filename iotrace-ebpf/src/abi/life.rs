//! Sums of the time that threads spend outside traced calls, and of their whole lives.

/// Key of a sum of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct LifeKey {
    /// Process.
    pub tgid: u32,
    /// Thread; 0: not by thread.
    pub tid: u32,
    /// What the thread was in: the number of a syscall, with [`LifeKey::COMPAT`] for one of the 32-bit table, or one of
    /// the constants below.
    pub what: u32,
    /// Where the time went: one of [`place`].
    pub place: u32,
}

impl LifeKey {
    /// A [`LifeKey::what`]: no syscall, so the thread slept in a page fault. The entry code of the kernel keeps -1 in
    /// the place of the number there (`arch/x86/entry/entry_64.S`).
    pub const FAULT: u32 = u32::MAX;
    /// A [`LifeKey::what`] where there is nothing to name, or nothing is known.
    pub const NONE: u32 = u32::MAX - 1;
    /// A [`LifeKey::what`]: traced calls that are shorter than was asked for.
    pub const SHORT: u32 = u32::MAX - 2;
    /// Set in [`LifeKey::what`] for a `futex` that waits for a lock which another thread holds, see [`is_held`].
    pub const HELD: u32 = 1 << 29;
    /// Set in [`LifeKey::what`] for a syscall of the 32-bit table.
    pub const COMPAT: u32 = 1 << 30;
}

/// Whether a `futex` waits for a lock that is held, by its operation and the value that it expects. The C library
/// (`nptl/lowlevellock.c`), Rust (`sys/sync/mutex/futex.rs`) and Go (`runtime/lock_futex.go`) mark a lock that others wait
/// for by 2, a lock for readers by 3; locks that know their owner have `FUTEX_WAITERS`, as do those of musl. A parked
/// thread of Rust (`sys/sync/thread_parking/futex.rs`) has all bits, which is no owner. A condition,
/// a semaphore, the end of a thread, and a Go thread without work are waited for with other values.
#[inline(always)]
pub fn is_held(operation: u64, expected: u32) -> bool {
    const WAITERS: u32 = 1 << 31;
    match operation & 0x7f {
        // FUTEX_LOCK_PI, FUTEX_LOCK_PI2
        6 | 13 => true,
        // FUTEX_WAIT, FUTEX_WAIT_BITSET
        0 | 9 => expected == 2 || expected == 3 || (expected & WAITERS != 0 && expected != u32::MAX),
        _ => false,
    }
}

/// Values of [`LifeKey::place`].
pub mod place {
    /// The whole life of threads that have ended, from when they were observed first.
    pub const OBSERVED: u32 = 0;
    /// Asleep interruptibly.
    pub const WAIT: u32 = 1;
    /// Asleep uninterruptibly, and not for a disk.
    pub const LOCK: u32 = 2;
    /// Runnable, not running.
    pub const RUNQ: u32 = 3;
    /// Asleep for a disk.
    pub const DISK: u32 = 4;
    /// Stopped, traced or frozen.
    pub const STOPPED: u32 = 5;
    /// Copying, of short calls.
    pub const COPY: u32 = 6;
    /// On a CPU, of short calls.
    pub const WORK: u32 = 7;
}

/// A sum of time on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct LifeSum {
    /// Time, ns.
    pub ns: u64,
    /// Sleeps, or threads.
    pub times: u64,
}

/// Key of the time for which another process had the CPU that a thread was ready to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct TakenKey {
    /// The process that waited.
    pub tgid: u32,
    /// The process that ran.
    pub taker: u32,
}

/// Key of the time that was waited for data on TCP connections, by their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct PeerKey {
    /// Address of the peer, in network order: of IPv4 the first four bytes.
    pub address: [u8; 16],
    /// The process that waited.
    pub tgid: u32,
    /// Inode number of the network namespace.
    pub network: u32,
    /// Local port.
    pub local: u16,
    /// Port of the peer.
    pub remote: u16,
    /// Family of the socket, one of [`super::kernel::family`].
    pub family: u32,
}

/// Most ends of connections that are told apart. Where nothing is summed up, the map has one.
pub const PEERS_ROOM: u32 = 2048;

/// Waits for a CPU shorter than this, ns, are not asked who had it: that would cost more than it tells.
pub const TAKEN_FROM_NS: u64 = 10_000;

/// Set in `WakeKey::nr` for a sleep outside traced calls.
pub const WAKE_OUTSIDE: u32 = 1 << 31;

/// Most sums of time. Where nothing is summed up, the map has one.
pub const LIVES_ROOM: u32 = 8192;
/// Most pairs of processes of which one waited while the other ran. Where nothing is summed up, the map has one.
pub const TAKEN_ROOM: u32 = 2048;

/// What the program `adopt` does with a thread; its first argument.
pub mod adopt {
    /// Begins to account for it. Arguments: its id in the initial pid namespace, its id and that of its process in that
    /// of iotrace.
    pub const BEGIN: u64 = 0;
    /// Notes what it was found to do, unless it was seen to run since. Arguments: its id, a number of `span::Off`, and a
    /// `LifeKey::what`.
    pub const SETTLE: u64 = 1;
    /// Forgets it: it had ended before. Argument: its id.
    pub const FORGET: u64 = 2;
}
