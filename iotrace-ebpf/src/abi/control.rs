//! What user space tells the probes before they are loaded, and what they count for it.

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
    /// `task_struct.pid`
    TaskPid,
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
    /// `sock.__sk_common.skc_v6_rcv_saddr`; with `CONFIG_IPV6`
    SockSaddr6,
    /// `sock.__sk_common.skc_v6_daddr`; with `CONFIG_IPV6`
    SockDaddr6,
    /// `sock.sk_receive_queue.qlen`
    SockQlen,
    /// `udp_sock.reader_queue.qlen`
    UdpReaderQlen,
    /// `file.f_path.dentry`
    FileDentry,
    /// `dentry.d_name.name`
    DentryName,
    /// `file.f_op`
    FileOps,
    /// `file.f_flags`
    FileFlags,
    /// The byte with `task_struct.in_iowait`, a bit field: `IOWAIT_MASK` has its bit.
    TaskIowait,
    /// `task_struct.se.cfs_rq`
    TaskCfsRq,
    /// `cfs_rq.rq`
    CfsRqRq,
    /// `task_struct.flags`
    TaskFlags,
    /// `sock.__sk_common.skc_state`
    SockState,
    /// `sock.sk_wq`
    SockWq,
    /// `tcp_sock.rcv_nxt`
    TcpRcvNxt,
    /// `tcp_sock.copied_seq`
    TcpCopiedSeq,
    /// `socket_wq.wait.head`
    SocketWqHead,
    /// `wait_queue_entry.private`
    WaitPrivate,
    /// `wait_queue_entry.entry`
    WaitEntry,
    /// `eppoll_entry.base`
    EppollBase,
    /// `eppoll_entry.wait`
    EppollWait,
    /// `epitem.ep`
    EpitemEp,
    /// `eventpoll.wq.head`
    EpollWq,
    /// `poll_wqueues.polling_task`
    PollTask,
    /// `socket.file`
    SocketFile,
    /// `sock.sk_socket`
    SockSocket,
    /// `pipe_inode_info.head`
    PipeHead,
    /// `pipe_inode_info.tail`
    PipeTail,
    /// `pipe_inode_info.max_usage`
    PipeMax,
    /// `file.f_ep` (before 5.12 `.f_ep_links`)
    FileEp,
    /// `epitem.fllink`
    EpitemLink,
    /// `epitem.event.events`
    EpitemEvents,
    /// `task_struct.thread_info.status`
    TaskStatus,
    /// `task_struct.start_time`
    TaskStart,
    /// `task_struct.seccomp.mode`
    TaskSeccomp,
    /// `task_struct.restart_block.fn`
    TaskRestart,
    /// `k_sigaction.sa.sa_handler`
    ActionHandler,
    /// `k_sigaction.sa.sa_flags`
    ActionFlags,
    /// `task_struct.thread_pid`
    TaskThreadPid,
    /// `task_struct.group_leader`
    TaskLeader,
    /// `task_struct.comm`
    TaskComm,
    /// `pid.level`
    PidLevel,
    /// `pid.numbers`
    PidNumbers,
    /// `upid.nr`
    UpidNr,
    /// `upid.ns`
    UpidNs,
    /// `proc_inode.pid`
    ProcPid,
    /// `proc_inode.vfs_inode`
    ProcInode,
    /// `sock.__sk_common.skc_net.net`
    SockNet,
    /// `net.ns.inum`
    NetInum,
    /// `dentry.d_parent`
    DentryParent,
    /// `dentry.d_inode`
    DentryInode,
    /// `inode.i_flags`
    InodeFlags,
    /// `task_struct.jobctl`
    TaskJobctl,
    /// `task_struct.stack`
    TaskStack,
    /// `task_struct.se.sum_exec_runtime`
    TaskRan,
    /// `task_struct.se.prev_sum_exec_runtime`
    TaskRanBefore,
}

/// Number of kinds of marks that end a copy; each has a floor.
pub const FLOORS_OF: usize = 5;

/// Number of [`Field`]s.
pub const FIELDS: usize = Field::TaskRanBefore as usize + 1;

/// How a thread is found to belong to the target; bits of a mask.
pub mod mode {
    /// The one process `TARGET_TGID`, found by comparison with a constant.
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
    /// Children of listed processes are added to the list.
    pub const FOLLOW: u32 = 64;
}

/// Where closed spans go; bits of a mask.
pub mod sinks {
    /// A record for each call.
    pub const RECORDS: u32 = 1;
    /// Sums in the kernel.
    pub const AGGREGATES: u32 = 2;
}

/// What a row of the sums stands for.
pub mod per {
    /// Process.
    pub const PROCESS: u32 = 0;
    /// Thread.
    pub const THREAD: u32 = 1;
    /// Process and descriptor.
    pub const FD: u32 = 2;
}

/// Deliberate faults, one at a time, to show that `iotrace selftest` notices them. The kind is a constant in `.rodata`,
/// so with [`fault::NONE`] the verifier drops their code.
pub mod fault {
    /// No fault.
    pub const NONE: u32 = 0;
    /// The enter of every call is shifted.
    pub const ENTER: u32 = 1;
    /// The exit of every call is shifted.
    pub const EXIT: u32 = 2;
    /// The time at which a thread leaves the CPU is shifted.
    pub const OUT: u32 = 3;
    /// The time at which a thread gets the CPU is shifted.
    pub const IN: u32 = 4;
    /// The time of every wake-up is shifted.
    pub const WAKING: u32 = 5;
    /// The start of every marked copy is shifted.
    pub const COPY: u32 = 6;
    /// The time at which data became ready on a socket is shifted.
    pub const READY: u32 = 7;
    /// About one exit in eight is not seen.
    pub const SKIP_EXIT: u32 = 8;
}

/// Syscall numbers below this can be traced.
pub const MAX_SYSCALL: usize = 512;

/// Bytes of the filter before the list of processes, indexed by the low bits of the process id; a power of two.
pub const MAYBE: u32 = 4096;

/// Bytes of a `struct upid` (`include/linux/pid.h`), a number and a pointer on a 64-bit machine: the numbers of a
/// `struct pid` lie one after the other, the one of the initial namespace first.
pub const UPID_BYTES: u64 = 16;

/// What the program `translate` is asked, as its first argument; the second is a descriptor of a directory
/// `/proc/PID` that the caller has open.
pub mod question {
    /// The id of that process or thread in the initial pid namespace.
    pub const ID: u64 = 0;
    /// How many pid namespaces lie around the one that it is in.
    pub const LEVEL: u64 = 1;
    /// The low half of the address of the namespace that it is in.
    pub const NAMESPACE_LOW: u64 = 2;
    /// The high half of that address.
    pub const NAMESPACE_HIGH: u64 = 3;
}

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
    /// Sleeps without a wake-up between switch-out and switch-in.
    Unwoken = 6,
    /// Rows that found no room.
    RowsFull = 7,
    /// Processes that found no room in the target.
    TargetsFull = 8,
    /// Least total time of the calls of `InFlightStart`, ns: from the start of observing to their exit.
    InFlightStartNs = 9,
    /// Threads seen running whose switch-in was missed.
    SwitchUnseen = 10,
    /// Calls of traced threads by an ABI that is not decoded (x32), or whose arguments could not be read.
    NotDecoded = 11,
}

/// Number of [`Stat`]s.
pub const STATS: u32 = 12;
