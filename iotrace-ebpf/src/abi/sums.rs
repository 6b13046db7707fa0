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
    /// alone is used again soon after a close. Of regular files, without that of `struct file`: a file that is opened
    /// again is the same file. Has the bits [`ANY_FILE`], and with [`SHARED`] also this one. 0: not by descriptor.
    pub file: u64,
    /// Process.
    pub tgid: u32,
    /// Thread; 0: not by thread.
    pub tid: u32,
    /// Syscall number, with [`AGG_WAITS`] for an `io_uring_enter` that waits, and [`AGG_INPUT`] for a call between two
    /// files that was input.
    pub nr: u32,
    /// Descriptor; -1: not by descriptor.
    pub fd: i32,
}

/// Set in the [`AggKey::file`] of every file.
pub const ANY_FILE: u64 = 1;
/// Set in the [`AggKey::file`] of what has no one descriptor: a regular file, or several files in one row.
pub const SHARED: u64 = 2;
/// Set, with [`SHARED`], in the [`AggKey::file`] of several files: those of a directory, the connections of one
/// listening port or to one remote address. New files go there once there are many rows, so that a server with any
/// number of files and connections stays in the room for rows.
pub const FOLDED: u64 = 4;
/// All of them. Whatever else is in a number, these bits are set on purpose.
pub const MARKS_OF_FILE: u64 = ANY_FILE | SHARED | FOLDED;

/// Most TCP ports that the probes are told to be listened on.
pub const LISTENERS_ROOM: u32 = 4096;

/// The key of a TCP port in a network namespace, which is known by its inode number.
#[must_use]
pub const fn listener(network: u32, port: u16) -> u64 {
    (network as u64) << 16 | port as u64
}

/// The [`AggKey::file`] of an `io_uring_enter` on a registered ring: its [`AggKey::fd`] is an index. No file has this
/// number, as that of every file has other bits set, too.
pub const REGISTERED_RING: u64 = 1;

/// Set in [`AggKey::nr`] for an `io_uring_enter` with `IORING_ENTER_GETEVENTS` and a count to wait for.
pub const AGG_WAITS: u32 = 1 << 31;

/// Set in [`AggKey::nr`] for a call between two files that was input.
pub const AGG_INPUT: u32 = 1 << 30;

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

/// Most processes of a target, followed ones too.
pub const PROCESSES_ROOM: u32 = 16_384;
/// Most threads that a target can name.
pub const THREADS_ROOM: u32 = 4096;
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
    /// The thread that woke; 0: an interrupt of which no more is known; or [`WakeKey::TIMER`],
    /// [`WakeKey::NETWORK`], [`WakeKey::DISK`].
    pub waker: u32,
    /// 1: data on a socket that the call waited on; 0: anything else.
    pub by_socket: u32,
}

impl WakeKey {
    /// A [`WakeKey::waker`] that only user space uses: the merged wakers of ended processes.
    pub const MANY: u32 = u32::MAX;
    /// A [`WakeKey::waker`]: the timer of a call that timed out. The thread that its interrupt disturbed is not the
    /// cause.
    pub const TIMER: u32 = u32::MAX - 1;
    /// A [`WakeKey::waker`]: an interrupt that brought data of a socket.
    pub const NETWORK: u32 = u32::MAX - 2;
    /// A [`WakeKey::waker`]: an interrupt of a disk.
    pub const DISK: u32 = u32::MAX - 3;
    /// A [`WakeKey::waker`]: a thread that has no id in the pid namespace of iotrace.
    pub const OUTSIDE: u32 = u32::MAX - 4;

    /// The waker, if it is one thread.
    pub fn thread(&self) -> Option<u32> {
        Self::thread_of(self.waker)
    }

    /// The thread that the number of a waker stands for, if it is one thread.
    pub fn thread_of(waker: u32) -> Option<u32> {
        Some(waker).filter(|&waker| waker != 0 && waker < Self::OUTSIDE)
    }
}

/// Key of a count of transfers to a process, by the way they came: what its I/O models are recognised by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct WayKey {
    /// The process.
    pub tgid: u32,
    /// The syscall that read; 0 for requests.
    pub nr: u16,
    /// One of [`ways`].
    pub way: u16,
}

/// Values of [`WayKey::way`]. The reads are those that brought data; except for [`ways::SLEPT`] they did not sleep, or
/// were of files. See [`WAYS_ALL`] for how many are looked at.
pub mod ways {
    /// Reads of something that no readiness call told of.
    pub const UNTOLD: u16 = 0;
    /// Reads of regular files.
    pub const FILE: u16 = 1;
    /// Reads of descriptors that are registered with an epoll instance, level-triggered.
    pub const LEVEL: u16 = 2;
    /// Reads of descriptors that are registered with an epoll instance, edge-triggered.
    pub const EDGE: u16 = 3;
    /// Reads of descriptors that the last `select` of the same thread reported.
    pub const SELECT: u16 = 4;
    /// Reads of descriptors that the last `poll` of the same thread reported.
    pub const POLL: u16 = 5;
    /// io_uring requests that a thread of the process submitted.
    pub const SUBMITTED: u16 = 6;
    /// io_uring requests that the kernel's SQ thread submitted for the process.
    pub const SQPOLL: u16 = 7;
    /// Reads that slept for data.
    pub const SLEPT: u16 = 8;
}

/// Reads of each row and CPU that are looked at one by one; beyond that, about one in [`WAYS_EVERY`] is looked at, and
/// counts for as many.
pub const WAYS_ALL: u64 = 64;
/// See [`WAYS_ALL`]; a power of two.
pub const WAYS_EVERY: u64 = 16;
/// Most rows of the map of ways. Where nothing is summed up, the map has one.
pub const WAYS_ROOM: u32 = 8192;

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
    /// What was last found to wait on it for a thread of the target: the address of an epoll instance, or of the
    /// thread; 0: nothing yet.
    pub watch: u64,
    /// `skc_cookie`, which no other socket of this boot has; its address is that of another socket soon after it was
    /// closed.
    pub cookie: u64,
}

/// The queues in which a socket keeps received data; their lengths tell whether any is left.
pub mod queues {
    /// Not known.
    pub const OTHER: u32 = 0;
    /// In `sk_receive_queue` (AF_UNIX).
    pub const RECEIVE: u32 = 1;
    /// In `sk_receive_queue`, or in `reader_queue`, to which `__skb_recv_udp` moves all of it at once (UDP).
    pub const UDP: u32 = 2;
    /// In `sk_receive_queue` (TCP), where the end of the stream is a buffer without bytes.
    pub const TCP: u32 = 3;
}
