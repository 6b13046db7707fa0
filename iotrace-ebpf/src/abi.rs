//! The records that cross from the kernel to user space.
//!
//! `#[repr(C)]`, fixed widths, no implicit padding; sizes are asserted below. Every record begins with
//! a [`Head`] whose `kind` tells which one it is. Times are CLOCK_MONOTONIC in ns; 0 means "did not
//! happen". Kernel addresses serve as names of sockets, rings and requests and are never shown.

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
    /// [`UringRecord`]
    Uring = 5,
    /// [`TaskRecord`]
    Task = 6,
    /// [`RecvRecord`]
    Recv = 7,
    /// [`PollRecord`]
    Poll = 8,
    /// [`FileRecord`]
    File = 9,
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
            other => return Err(other),
        })
    }
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Head {
    /// [`Kind`] as a number.
    pub kind: u32,
    /// The thread the record is about.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// Spare.
    pub reserved: u32,
    /// When it happened (calls: the exit).
    pub at: u64,
}

/// Who ended a sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Wake {
    /// When (`sched_waking`).
    pub at: u64,
    /// The socket whose `sk_data_ready` came right before it on the same CPU; 0: none did.
    pub sock: u64,
    /// When that `sk_data_ready` was.
    pub ready: u64,
    /// The thread in whose context the wake-up ran; 0: idle (an interrupt).
    pub tid: u32,
    /// Spare.
    pub reserved: u32,
}

/// One finished call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallRecord {
    /// Thread; `at` is the exit.
    pub head: Head,
    /// When it was entered.
    pub enter: u64,
    /// Where its time went.
    pub parts: Parts,
    /// What `sys_exit` returned, the kernel-internal restart codes included.
    pub ret: i64,
    /// Syscall number.
    pub nr: u32,
    /// First argument.
    pub fd: i32,
    /// Second argument.
    pub arg1: u64,
    /// Third argument: length, event count, `min_complete`.
    pub arg2: u64,
    /// Fourth argument: flags.
    pub arg3: u64,
    /// First sleep for data.
    pub first_out: u64,
    /// Last switch-in, if it was switched in inside the call, else the enter.
    pub last_in: u64,
    /// Start of the first copy.
    pub copy_first: u64,
    /// End of the last copy.
    pub copy_last: u64,
    /// Bytes between the marks.
    pub copy_bytes: u64,
    /// The last `sock_recv_length`.
    pub recv_at: u64,
    /// The socket of that, or of the copy's end mark.
    pub sock: u64,
    /// The wake-up that ended the last sleep (`at` is 0 if there was none).
    pub wake: Wake,
    /// Sleeps for data.
    pub sleeps: u32,
    /// Other sleeps.
    pub locks: u32,
    /// Preemptions.
    pub preempts: u32,
    /// Copies.
    pub copies: u32,
    /// Bytes that `sock_recv_length` counted.
    pub recv_bytes: u64,
    /// Between the thread's last call and this one: runnable, not running.
    pub before_runq: u64,
    /// Between the thread's last call and this one: asleep, in an untraced call or a fault.
    pub before_sleep: u64,
}

/// A data call that returned `EAGAIN` without ever leaving the CPU, in or before it: a spinning reader
/// makes a million of them a second. All of its time is work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PollRecord {
    /// Thread; `at` is the exit.
    pub head: Head,
    /// When it was entered.
    pub enter: u64,
    /// Syscall number.
    pub nr: u32,
    /// First argument.
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

/// `EAGAIN`
pub const EAGAIN: i64 = 11;

/// One copy that ran outside a data call: in task work, in a worker, or in a call that submits or
/// completes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CopyRecord {
    /// The thread that copied; `at` is the end.
    pub head: Head,
    /// The copy.
    pub window: Window,
    /// Its socket, where the end mark names one.
    pub sock: u64,
    /// The open call, or `u32::MAX` outside any.
    pub nr: u32,
    /// Spare.
    pub reserved: u32,
}

/// Data became ready on a socket (`sk_data_ready`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ReadyRecord {
    /// The thread in whose context it ran.
    pub head: Head,
    /// The socket.
    pub sock: u64,
}

/// `signal_generate` or `signal_deliver`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SignalRecord {
    /// The thread the signal is for.
    pub head: Head,
    /// The signal.
    pub signal: u32,
    /// [`SIGNAL_GENERATED`] or [`SIGNAL_DELIVERED`].
    pub event: u32,
    /// Generated: `TRACE_SIGNAL_*`: 0 delivered, 1 ignored, 2 already pending, 3 overflow, 4 info lost.
    pub result: i32,
    /// Generated: 1 for the process, 0 for the thread.
    pub group: i32,
    /// The socket whose `sk_data_ready` came right before it on the same CPU; 0: none did.
    pub sock: u64,
    /// When that was.
    pub ready: u64,
}

/// [`SignalRecord::event`] of `signal_generate`.
pub const SIGNAL_GENERATED: u32 = 1;
/// [`SignalRecord::event`] of `signal_deliver`.
pub const SIGNAL_DELIVERED: u32 = 2;

/// What happened to an io_uring request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum UringEvent {
    /// Taken from the SQ.
    Submit = 1,
    /// The kernel polls its file.
    PollArm = 2,
    /// The poll woke: task work is queued.
    TaskAdd = 3,
    /// Handed to an io-wq worker.
    QueueAsync = 4,
    /// The CQE was written.
    Complete = 5,
    /// The submitter waits for completions.
    CqringWait = 6,
}

impl TryFrom<u32> for UringEvent {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        Ok(match value {
            1 => UringEvent::Submit,
            2 => UringEvent::PollArm,
            3 => UringEvent::TaskAdd,
            4 => UringEvent::QueueAsync,
            5 => UringEvent::Complete,
            6 => UringEvent::CqringWait,
            other => return Err(other),
        })
    }
}

/// One event of an io_uring request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UringRecord {
    /// The thread in whose context it happened.
    pub head: Head,
    /// The ring.
    pub ctx: u64,
    /// The request; 0 where the tracepoint does not tell.
    pub req: u64,
    /// Its user data.
    pub user_data: u64,
    /// Result (complete), mask (task add), else 0.
    pub res: i64,
    /// When the thread was switched in last.
    pub last_in: u64,
    /// [`UringEvent`] as a number.
    pub event: u32,
    /// The open call, or `u32::MAX`.
    pub nr: u32,
}

/// A thread was seen for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskRecord {
    /// The thread.
    pub head: Head,
    /// Its name at that moment.
    pub comm: [u8; 16],
}

/// `sock_recv_length` in a thread with no data call open: io_uring and native AIO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecvRecord {
    /// The thread.
    pub head: Head,
    /// The socket.
    pub sock: u64,
    /// When the thread was switched in last.
    pub last_in: u64,
    /// Bytes or negative error.
    pub ret: i32,
    /// The open call, or `u32::MAX`.
    pub nr: u32,
}

/// A file was seen for the first time behind a descriptor (`--per fd`): what is needed to name it even
/// when it is closed before user space looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileRecord {
    /// The thread that used it.
    pub head: Head,
    /// What tells it from every other file, see [`AggKey::file`].
    pub file: u64,
    /// Address of its `struct sock`; 0: no socket.
    pub sock: u64,
    /// Inode number.
    pub inode: u64,
    /// Descriptor.
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
    /// Sockets: local IPv4 address, network order.
    pub local: u32,
    /// Sockets: remote IPv4 address, network order.
    pub remote: u32,
    /// Last component of its path, cut to fit, ended by zeros; empty for sockets and the like.
    pub name: [u8; 32],
}

/// What is summed up under one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Sums of one row on one CPU.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Agg {
    /// Calls.
    pub calls: u64,
    /// Bytes moved; of readiness and completion calls, what they returned.
    pub bytes: u64,
    /// Where their time went, floors of marked copies subtracted.
    pub parts: Parts,
    /// Calls with marked copies.
    pub marked: u64,
    /// Calls that moved data without marks.
    pub windows: u64,
    /// Time on the CPU those cannot have copied longer than.
    pub window_ns: u64,
    /// Sleeps for data.
    pub sleeps: u64,
    /// Other sleeps.
    pub locks: u64,
    /// Preemptions.
    pub preempts: u64,
    /// Calls that returned `EAGAIN`.
    pub again: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// Readiness and completion calls that returned nothing.
    pub empty: u64,
    /// Of those, the ones that had slept.
    pub empty_slept: u64,
    /// Calls the kernel will enter again.
    pub restarts: u64,
    /// Data that waited for somebody to come: messages, and their time.
    pub pickups: u64,
    /// See `pickups`.
    pub pickup_ns: u64,
    /// Wait plus run queue of each call.
    pub phase1: [u32; AGG_BUCKETS],
    /// Copy of each call that moved data.
    pub phase2: [u32; AGG_BUCKETS],
    /// Enter to exit of each call.
    pub latency: [u32; AGG_BUCKETS],
    /// Data ready until somebody came, of each pickup.
    pub pickup: [u32; AGG_BUCKETS],
}

/// Key of an error count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ErrorKey {
    /// The row.
    pub row: AggKey,
    /// The error, positive.
    pub errno: u64,
}

/// Who woke the threads of a process, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct WakeKey {
    /// The process that slept.
    pub tgid: u32,
    /// The call it slept in.
    pub nr: u32,
    /// The thread in whose context the wake-up ran; 0: an idle CPU, so an interrupt.
    pub waker: u32,
    /// Whether `sk_data_ready` came right before it.
    pub by_socket: u32,
}

/// What the kernel knows of a socket that is received from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SockState {
    /// Since when data has waited in it; 0: none does.
    pub ready: u64,
    /// The last `sk_data_ready`.
    pub last: u64,
}

/// Fields of kernel structures that the probes read; user space looks their offsets up in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Field {
    /// `task_struct.__state` (before 5.14 `.state`)
    TaskState = 0,
    /// `io_kiocb.ctx`
    ReqCtx,
    /// `io_kiocb.cqe.user_data` (before 5.19 `.user_data`)
    ReqUserData,
    /// `task_struct.tgid`
    TaskTgid,
    /// `task_struct.signal`
    TaskSignal,
    /// `signal_struct.live`
    SignalLive,
    /// `task_struct.files`
    TaskFiles,
    /// `files_struct.fdt`
    FilesFdt,
    /// `fdtable.fd`
    FdtableFd,
    /// `fdtable.max_fds`
    FdtableMax,
    /// `file.f_inode`
    FileInode,
    /// `file.private_data`
    FilePrivate,
    /// `inode.i_mode`
    InodeMode,
    /// `inode.i_ino`
    InodeIno,
    /// `socket.sk`
    SocketSk,
    /// `sock.__sk_common.skc_family`
    SockFamily,
    /// `sock.sk_protocol`
    SockProtocol,
    /// `sock.__sk_common.skc_num`
    SockNum,
    /// `sock.__sk_common.skc_dport`
    SockDport,
    /// `sock.__sk_common.skc_rcv_saddr`
    SockSaddr,
    /// `sock.__sk_common.skc_daddr`
    SockDaddr,
    /// `sock.sk_receive_queue.qlen`
    SockQlen,
    /// `file.f_path.dentry`
    FileDentry,
    /// `dentry.d_name.name`
    DentryName,
    /// `file.f_op`
    FileOps,
}

/// Number of [`Field`]s.
pub const FIELDS: usize = Field::FileOps as usize + 1;

/// How a thread is found to belong to the target; bits of a mask.
pub mod mode {
    /// The one process of `TARGET_TGID`: a comparison with a constant.
    pub const ONE: u32 = 1;
    /// Every thread but iotrace's own.
    pub const ALL: u32 = 2;
    /// Processes listed in a map.
    pub const TGIDS: u32 = 4;
    /// Threads listed in a map.
    pub const TIDS: u32 = 8;
    /// Threads of one name.
    pub const COMM: u32 = 16;
    /// Threads in a cgroup of the unified hierarchy, or below it.
    pub const CGROUP: u32 = 32;
    /// Children of listed processes belong to the target, too.
    pub const FOLLOW: u32 = 64;
}

/// Where closed spans go; bits of a mask.
pub mod sinks {
    /// A record for each call.
    pub const RECORDS: u32 = 1;
    /// Sums in the kernel.
    pub const AGGREGATES: u32 = 2;
}

/// By what rows are told apart.
pub mod per {
    /// Process.
    pub const PROCESS: u32 = 0;
    /// Thread.
    pub const THREAD: u32 = 1;
    /// Process and descriptor.
    pub const FD: u32 = 2;
}

/// What a traced syscall is, in the table the probes read.
pub mod role {
    /// Not traced.
    pub const NONE: u8 = 0;
    /// Moves data to the process.
    pub const DATA: u8 = 1;
    /// Waits for readiness.
    pub const READINESS: u8 = 2;
    /// Waits for completions, or submits, or both.
    pub const REQUEST: u8 = 3;
    /// Moves data from the process.
    pub const OUTPUT: u8 = 4;
}

/// Syscall numbers below this can be traced.
pub const MAX_SYSCALL: usize = 512;

/// Indices of the loss counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stat {
    /// Records that found the ring full.
    RecordsLost = 0,
    /// Threads that found no room.
    TasksFull = 1,
    /// Sockets or rings that found no room.
    SocksFull = 2,
    /// Enters while a call was open: its exit was missed.
    Unmatched = 3,
    /// Exits of calls that were entered before the thread was known.
    InFlightStart = 4,
    /// Threads that ended inside a call.
    EndedInCall = 5,
    /// Sleeps without a wake-up between out and in.
    Unwoken = 6,
    /// Rows that found no room.
    RowsFull = 7,
    /// Processes that found no room in the target.
    TargetsFull = 8,
    /// Time those of `InFlightStart` took at least.
    InFlightStartNs = 9,
}

/// Number of [`Stat`]s.
pub const STATS: u32 = 10;

const _: () = {
    assert!(size_of::<Head>() == 24);
    assert!(size_of::<CallRecord>() == 248);
    assert!(size_of::<CopyRecord>() == 72);
    assert!(size_of::<ReadyRecord>() == 32);
    assert!(size_of::<SignalRecord>() == 56);
    assert!(size_of::<UringRecord>() == 72);
    assert!(size_of::<TaskRecord>() == 40);
    assert!(size_of::<RecvRecord>() == 48);
    assert!(size_of::<PollRecord>() == 40);
    assert!(size_of::<FileRecord>() == 104);
    assert!(size_of::<AggKey>() == 24);
    assert!(size_of::<WakeKey>() == 16);
    // A per-CPU value may not be larger than 32 KiB.
    assert!(size_of::<Agg>() < 8192 && size_of::<Agg>() % 8 == 0);
};
