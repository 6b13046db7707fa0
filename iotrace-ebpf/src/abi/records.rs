//! The records of the ring buffer.

use super::errno::EAGAIN;
use crate::span::{Parts, Window};

/// Which record follows a [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`CallRecord`]
    Call = 1,
    /// [`CopyRecord`]
    Copy = 2,
    /// [`ReadyRecord`]
    Ready = 3,
    /// [`SignalRecord`]
    Signal = 4,
    /// [`super::UringRecord`]
    Uring = 5,
    /// [`TaskRecord`]
    Task = 6,
    /// [`RecvRecord`]
    Recv = 7,
    /// [`PollRecord`]
    Poll = 8,
    /// [`FileRecord`]
    File = 9,
    /// [`CopyRecord`] of the exact tier, beside a marked one
    Exact = 10,
    /// [`TaskRecord`] of a thread that need not have made a traced call: only its name is told
    Name = 11,
}

impl TryFrom<u32> for Kind {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        Ok(match value {
            1 => Kind::Call,
            2 => Kind::Copy,
            3 => Kind::Ready,
            4 => Kind::Signal,
            5 => Kind::Uring,
            6 => Kind::Task,
            7 => Kind::Recv,
            8 => Kind::Poll,
            9 => Kind::File,
            10 => Kind::Exact,
            11 => Kind::Name,
            other => return Err(other),
        })
    }
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Head {
    /// [`Kind`] as a number.
    pub kind: u32,
    /// The thread the record is about.
    pub tid: u32,
    /// Process of that thread.
    pub tgid: u32,
    /// Of a [`FileRecord`] of a socket: the inode number of its network namespace; else 0.
    pub reserved: u32,
    /// When it happened, ns; of a call: its exit.
    pub at: u64,
}

/// The wake-up that ended a sleep. Times are in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Wake {
    /// When `sched_waking` was; 0: there was none.
    pub at: u64,
    /// The socket whose `sk_data_ready` came right before the wake-up on the same CPU, if the sleeper may have waited on
    /// it; 0: none.
    pub sock: u64,
    /// When that `sk_data_ready` was; 0: there was none.
    pub ready: u64,
    /// The thread that was current at the wake-up; 0: the idle task.
    pub tid: u32,
    /// Where the wake-up ran: one of [`context`].
    pub context: u32,
}

/// Contexts of a CPU.
pub mod context {
    /// Not known.
    pub const UNKNOWN: u32 = 0;
    /// The current thread's own.
    pub const THREAD: u32 = 1;
    /// A softirq, for whichever thread was current. Not that of the sender to a socket of this machine: that is
    /// [`THREAD`].
    pub const SOFTIRQ: u32 = 2;
    /// An interrupt, for whichever thread was current.
    pub const HARDIRQ: u32 = 3;

    /// Whether an interrupt, and not the current thread, is the cause of what happens in a context.
    #[inline(always)]
    pub fn is_interrupt(context: u32) -> bool {
        context >= SOFTIRQ
    }
}

/// One finished call. Times are in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct CallRecord {
    /// The thread; `at` is the exit of the call.
    pub head: Head,
    /// When the call was entered.
    pub enter: u64,
    /// Where the time of the call went.
    pub parts: Parts,
    /// What the program got, `EINTR` included; a kernel-internal restart code where a signal ended the thread in it.
    pub ret: i64,
    /// Syscall number.
    pub nr: u32,
    /// First argument: mostly a descriptor.
    pub fd: i32,
    /// Third argument: length, event count, `min_complete`.
    pub arg2: u64,
    /// Fourth argument: flags.
    pub arg3: u64,
    /// When it first went to sleep for data; 0: it did not.
    pub first_out: u64,
    /// When the thread was switched in last inside the call; `enter` if it was not.
    pub last_in: u64,
    /// Start of the first marked copy; 0: none.
    pub copy_first: u64,
    /// End of the last marked copy; 0: none.
    pub copy_last: u64,
    /// Bytes of the marked copies.
    pub copy_bytes: u64,
    /// When the last `sock_recv_length` was; 0: there was none.
    pub recv_at: u64,
    /// The socket that `sock_recv_length` or the end mark of a copy named; 0: none did.
    pub sock: u64,
    /// The wake-up that ended the last sleep (`at` is 0 if there was none).
    pub wake: Wake,
    /// Number of sleeps for data.
    pub sleeps: u32,
    /// Number of sleeps for a disk.
    pub disks: u32,
    /// Number of other sleeps.
    pub locks: u32,
    /// Number of preemptions.
    pub preempts: u32,
    /// Number of marked copies.
    pub copies: u32,
    /// Times that the kernel entered it again, unseen by the program.
    pub restarts: u32,
    /// Bytes that `sock_recv_length` counted.
    pub recv_bytes: u64,
    /// Between the thread's last call and this one: runnable, not running.
    pub before_runq: u64,
    /// Between the thread's last call and this one: asleep, in an untraced call or a fault.
    pub before_sleep: u64,
    /// How long data had been ready when this call started, ns, plus one; 0: not known.
    pub pickup: u64,
    /// Floors of the marked copies, ns; 0 where none were set.
    pub floors: u64,
    /// Second argument.
    pub arg1: u64,
    /// What it was beside its arguments: bits of [`call_flags`].
    pub flags: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What a call was beside its arguments; bits of a mask.
pub mod call_flags {
    /// It was denied: a filter (seccomp) answered it before it began. Its time is not known, and 0 here.
    pub const DENIED: u32 = 1;
    /// Its file was opened with `O_DIRECT` and it slept for a disk: the disk moved the data, no processor did.
    pub const DIRECT: u32 = 2;
    /// It moved pages between two files, and was input: it slept until there was something to read, or did not sleep
    /// and took from anything but a pipe.
    pub const INPUT: u32 = 4;
}

/// A data call that returned `EAGAIN` without ever leaving the CPU, in or before it: a spinning reader
/// makes a million of them a second. All of its time is work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct PollRecord {
    /// The thread; `at` is the exit of the call.
    pub head: Head,
    /// When the call was entered.
    pub enter: u64,
    /// Syscall number.
    pub nr: u32,
    /// First argument: mostly a descriptor.
    pub fd: i32,
}

impl PollRecord {
    /// The call in full.
    pub fn call(&self) -> CallRecord {
        let total = self.head.at.saturating_sub(self.enter);
        CallRecord {
            head: self.head,
            enter: self.enter,
            parts: Parts { total, work: total, ..Parts::default() },
            ret: -EAGAIN,
            nr: self.nr,
            fd: self.fd,
            last_in: self.enter,
            ..CallRecord::default()
        }
    }
}

/// One copy that ran outside a data call: in task work, in a worker, or in a call that submits or
/// completes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct CopyRecord {
    /// The thread that copied; `at` is the end of the copy.
    pub head: Head,
    /// The copy.
    pub window: Window,
    /// The socket, where the end mark names one; 0: it does not.
    pub sock: u64,
    /// Syscall number of the open call; `u32::MAX` where none is open.
    pub nr: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Data became ready on a socket (`sk_data_ready`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct ReadyRecord {
    /// The thread in whose context `sk_data_ready` ran.
    pub head: Head,
    /// The socket.
    pub sock: u64,
}

/// `signal_generate` or `signal_deliver`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct SignalRecord {
    /// The thread the signal is for.
    pub head: Head,
    /// Number of the signal.
    pub signal: u32,
    /// [`SIGNAL_GENERATED`] or [`SIGNAL_DELIVERED`].
    pub event: u32,
    /// Generated: `TRACE_SIGNAL_*`: 0 delivered, 1 ignored, 2 already pending, 3 overflow, 4 info lost.
    pub result: i32,
    /// Generated: 1 for the process, 0 for the thread.
    pub group: i32,
    /// The socket whose `sk_data_ready` came right before it on the same CPU; 0: none did.
    pub sock: u64,
    /// When that `sk_data_ready` was, ns; 0: there was none.
    pub ready: u64,
}

/// [`SignalRecord::event`] of `signal_generate`.
pub const SIGNAL_GENERATED: u32 = 1;
/// [`SignalRecord::event`] of `signal_deliver`.
pub const SIGNAL_DELIVERED: u32 = 2;

/// A thread was seen for the first time, or has another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct TaskRecord {
    /// The thread.
    pub head: Head,
    /// Its name at that moment.
    pub comm: [u8; 16],
}

/// `sock_recv_length` in a thread with no data call open: io_uring and native AIO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct RecvRecord {
    /// The thread.
    pub head: Head,
    /// The socket.
    pub sock: u64,
    /// When the thread was switched in last, ns.
    pub last_in: u64,
    /// Bytes received, or a negative error.
    pub ret: i32,
    /// Syscall number of the open call; `u32::MAX` where none is open.
    pub nr: u32,
}

/// A file was seen for the first time behind a descriptor (`--per fd`): what is needed to name it even
/// when it is closed before user space looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct FileRecord {
    /// The thread that used it.
    pub head: Head,
    /// What tells it from every other file, see [`super::AggKey::file`].
    pub file: u64,
    /// Regular files: what tells its directory from others; 0: none.
    pub directory: u64,
    /// Address of its `struct sock`; 0: no socket.
    pub sock: u64,
    /// Inode number.
    pub inode: u64,
    /// Descriptor; -1: the record stands for several files, see [`super::FOLDED`].
    pub fd: i32,
    /// `i_mode`.
    pub mode: u32,
    /// Sockets: address family.
    pub family: u16,
    /// Sockets: `IPPROTO_*`.
    pub protocol: u16,
    /// Sockets: local port, host order.
    pub local_port: u16,
    /// Sockets: remote port, network order as the kernel keeps it.
    pub remote_port: u16,
    /// Last component of its path, cut to fit, ended by zeros. Sockets: the local and the remote address of 16
    /// bytes each in network order, of which IPv4 has the first four. One field for both, as this record lies on a
    /// stack of 512 bytes.
    pub name: [u8; 32],
    /// Regular files: last component of the path of its directory, cut to fit, ended by zeros.
    pub parent: [u8; 24],
}
