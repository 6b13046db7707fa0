//! Constants and map sizes that are set before the probes are loaded: the target, the syscalls, and the sinks.

use std::sync::OnceLock;

use iotrace_ebpf::abi::{FIELDS, Field, MAX_SYSCALL, fault, mode, per, sinks};

use super::btf::Btf;
use super::probes::Group;
use crate::host::kallsyms::{Places, Symbols};
use iotrace_core::domain::{ProbeId, syscall};

/// Most bytes of records that are taken out of the ring at a time: the largest ring of `trace`.
pub const A_DRAIN: usize = 64 << 20;

/// The target: threads that match any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// Processes, with all their threads.
    pub tgids: Vec<u32>,
    /// Single threads.
    pub tids: Vec<u32>,
    /// Threads of this name, which is bytes (at most 15 count).
    pub comm: Option<Vec<u8>>,
    /// Threads in this cgroup of the unified hierarchy or below: its id, and its depth below the root.
    pub cgroup: Option<(u64, u32)>,
    /// Every thread except those of iotrace.
    pub all: bool,
    /// Also children of `tgids`.
    pub follow: bool,
    /// Also descendants of `tgids` that are there when the probes are attached: they are added then.
    pub tree: bool,
}

impl Whom {
    /// One process with all its threads, without its children.
    pub fn process(pid: u32) -> Self {
        Self { tgids: vec![pid], ..Self::default() }
    }

    /// The bits of `abi::mode`.
    pub fn mode(&self) -> u32 {
        let alone = self.tids.is_empty() && self.comm.is_none() && self.cgroup.is_none() && !self.all;
        let mut bits = 0;
        if self.tgids.len() == 1 && alone && !self.follow && !self.tree {
            return mode::ONE;
        }
        for (bit, wanted) in [
            (mode::TGIDS, !self.tgids.is_empty()),
            (mode::TIDS, !self.tids.is_empty()),
            (mode::COMM, self.comm.is_some()),
            (mode::CGROUP, self.cgroup.is_some()),
            (mode::ALL, self.all),
            (mode::FOLLOW, self.follow),
        ] {
            bits |= if wanted { bit } else { 0 };
        }
        bits
    }

    /// Whether the sums are of one process as a whole, whose room is bounded by its calls.
    pub fn is_one_as_a_whole(&self, per: Per) -> bool {
        self.mode() == mode::ONE && per == Per::Process
    }

    /// The name as the probes compare it.
    pub fn comm_words(&self) -> [u64; 2] {
        let mut bytes = [0u8; 16];
        let name = self.comm.as_deref().unwrap_or_default();
        let length = name.len().min(15);
        bytes[..length].copy_from_slice(&name[..length]);
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        [word(0), word(8)]
    }
}

/// What a row of the sums stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// Process.
    #[default]
    Process,
    /// Thread.
    Thread,
    /// Process and descriptor.
    Fd,
}

impl Per {
    /// As `abi::per` has it.
    pub fn number(self) -> u32 {
        match self {
            Per::Process => per::PROCESS,
            Per::Thread => per::THREAD,
            Per::Fd => per::FD,
        }
    }
}

/// A deliberate fault of the probes: shows that `iotrace selftest` notices. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// A constant of `abi::fault`.
    pub kind: u32,
    /// By how much a mark is shifted, ns.
    pub shift_ns: i64,
}

impl Fault {
    /// Names of the kinds on the command line.
    pub const NAMES: [(&str, u32); 8] = [
        ("enter", fault::ENTER),
        ("exit", fault::EXIT),
        ("out", fault::OUT),
        ("in", fault::IN),
        ("waking", fault::WAKING),
        ("copy", fault::COPY),
        ("ready", fault::READY),
        ("skip-exit", fault::SKIP_EXIT),
    ];

    /// The fault of this name; `None` if there is none.
    pub fn named(name: &str, shift_ns: i64) -> Option<Self> {
        let (_, kind) = Self::NAMES.into_iter().find(|(known, _)| *known == name)?;
        Some(Self { kind, shift_ns })
    }
}

/// Which hooks were asked for to time copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Function hooks where the kernel takes them, else tracepoints.
    Auto,
    /// Function hooks or nothing.
    Exact,
    /// Tracepoints; nothing else is tried.
    #[default]
    Tracepoint,
    /// Tracepoints, and function hooks beside them in records of their own, to compare.
    Both,
}

/// Constants and map sizes set before loading.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The target.
    pub whom: Whom,
    /// Groups of probes to attach.
    pub groups: Vec<Group>,
    /// Bits of `abi::sinks`.
    pub sinks: u32,
    /// Rows of the aggregates.
    pub per: Per,
    /// Traits of each syscall that is traced, see [`syscall::table`].
    pub traits: [u32; MAX_SYSCALL],
    /// Aggregates count only calls at least this long, ns.
    pub min_ns: u64,
    /// ns per KiB of a copy without marks: out of a socket; out of or into anything else.
    pub per_kib: [u64; 2],
    /// Signals whose life is recorded: bit n-1 for signal n.
    pub signals: u64,
    /// Size of the ring buffer; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Most rows of the aggregates.
    pub rows: u32,
    /// Which hooks time the copy.
    pub tier: Wish,
    /// Probes not to attach, so that a result without them can be seen. A second chance goes with its first.
    pub without: Vec<ProbeId>,
    /// Probes of these groups that the question does not need: they are neither attached nor missed.
    pub unneeded: &'static [ProbeId],
    /// A deliberate fault, for tests of the self-test.
    pub fault: Fault,
}

impl Settings {
    /// A record for every input call of one process.
    pub fn records(pid: u32, groups: Vec<Group>) -> Self {
        Self {
            whom: Whom::process(pid),
            groups,
            sinks: sinks::RECORDS,
            per: Per::Process,
            traits: syscall::input_table(false),
            min_ns: 0,
            per_kib: [0; 2],
            signals: 0,
            ring_bytes: 16 << 20,
            // The aggregates are off; the maps must have a size all the same.
            rows: 1,
            tier: Wish::Tracepoint,
            without: Vec::new(),
            unneeded: &[],
            fault: Fault::default(),
        }
    }
}

/// Each field that a probe reads, its structure, and its names there, the newest first.
const PATHS: &[(Field, &str, &[&str])] = &[
    (Field::TaskState, "task_struct", &["__state", "state"]),
    (Field::ReqCtx, "io_kiocb", &["ctx"]),
    (Field::ReqUserData, "io_kiocb", &["cqe.user_data", "user_data"]),
    (Field::TaskPid, "task_struct", &["pid"]),
    (Field::TaskTgid, "task_struct", &["tgid"]),
    (Field::TaskSignal, "task_struct", &["signal"]),
    (Field::SignalLive, "signal_struct", &["live"]),
    (Field::TaskFiles, "task_struct", &["files"]),
    (Field::FilesFdt, "files_struct", &["fdt"]),
    (Field::FdtableFd, "fdtable", &["fd"]),
    (Field::FdtableMax, "fdtable", &["max_fds"]),
    (Field::FileInode, "file", &["f_inode"]),
    (Field::FilePrivate, "file", &["private_data"]),
    (Field::InodeMode, "inode", &["i_mode"]),
    (Field::InodeIno, "inode", &["i_ino"]),
    (Field::SocketSk, "socket", &["sk"]),
    (Field::SockFamily, "sock", &["__sk_common.skc_family"]),
    (Field::SockProtocol, "sock", &["sk_protocol"]),
    (Field::SockNum, "sock", &["__sk_common.skc_num"]),
    (Field::SockDport, "sock", &["__sk_common.skc_dport"]),
    (Field::SockSaddr, "sock", &["__sk_common.skc_rcv_saddr"]),
    (Field::SockDaddr, "sock", &["__sk_common.skc_daddr"]),
    (Field::SockSaddr6, "sock", &["__sk_common.skc_v6_rcv_saddr"]),
    (Field::SockDaddr6, "sock", &["__sk_common.skc_v6_daddr"]),
    (Field::SockQlen, "sock", &["sk_receive_queue.qlen"]),
    (Field::UdpReaderQlen, "udp_sock", &["reader_queue.qlen"]),
    (Field::FileDentry, "file", &["f_path.dentry", "__f_path.dentry"]),
    (Field::DentryName, "dentry", &["d_name.name", "__d_name.name"]),
    (Field::FileOps, "file", &["f_op"]),
    (Field::FileFlags, "file", &["f_flags"]),
    (Field::TaskIowait, "task_struct", &["in_iowait"]),
    (Field::TaskCfsRq, "task_struct", &["se.cfs_rq"]),
    (Field::CfsRqRq, "cfs_rq", &["rq"]),
    (Field::TaskFlags, "task_struct", &["flags"]),
    (Field::SockState, "sock", &["__sk_common.skc_state"]),
    (Field::SockWq, "sock", &["sk_wq"]),
    (Field::TcpRcvNxt, "tcp_sock", &["rcv_nxt"]),
    (Field::TcpCopiedSeq, "tcp_sock", &["copied_seq"]),
    (Field::SocketWqHead, "socket_wq", &["wait.head"]),
    (Field::WaitPrivate, "wait_queue_entry", &["private"]),
    (Field::WaitEntry, "wait_queue_entry", &["entry"]),
    (Field::EppollBase, "eppoll_entry", &["base"]),
    (Field::EppollWait, "eppoll_entry", &["wait"]),
    (Field::EpitemEp, "epitem", &["ep"]),
    (Field::EpollWq, "eventpoll", &["wq.head"]),
    (Field::PollTask, "poll_wqueues", &["polling_task"]),
    (Field::SocketFile, "socket", &["file"]),
    (Field::SockSocket, "sock", &["sk_socket"]),
    (Field::PipeHead, "pipe_inode_info", &["head"]),
    (Field::PipeTail, "pipe_inode_info", &["tail"]),
    (Field::PipeMax, "pipe_inode_info", &["max_usage"]),
    (Field::FileEp, "file", &["f_ep", "f_ep_links"]),
    (Field::EpitemLink, "epitem", &["fllink"]),
    (Field::EpitemEvents, "epitem", &["event.events"]),
    (Field::TaskStatus, "task_struct", &["thread_info.status"]),
    (Field::TaskStart, "task_struct", &["start_time"]),
    (Field::TaskSeccomp, "task_struct", &["seccomp.mode"]),
    (Field::TaskRestart, "task_struct", &["restart_block.fn"]),
    (Field::ActionHandler, "k_sigaction", &["sa.sa_handler"]),
    (Field::ActionFlags, "k_sigaction", &["sa.sa_flags"]),
    (Field::TaskThreadPid, "task_struct", &["thread_pid"]),
    (Field::TaskLeader, "task_struct", &["group_leader"]),
    (Field::TaskComm, "task_struct", &["comm"]),
    (Field::PidLevel, "pid", &["level"]),
    (Field::PidNumbers, "pid", &["numbers"]),
    (Field::UpidNr, "upid", &["nr"]),
    (Field::UpidNs, "upid", &["ns"]),
    (Field::ProcPid, "proc_inode", &["pid"]),
    (Field::ProcInode, "proc_inode", &["vfs_inode"]),
    (Field::SockNet, "sock", &["__sk_common.skc_net.net"]),
    (Field::NetInum, "net", &["ns.inum"]),
    (Field::DentryParent, "dentry", &["d_parent"]),
    (Field::DentryInode, "dentry", &["d_inode"]),
    (Field::InodeFlags, "inode", &["i_flags"]),
    (Field::TaskJobctl, "task_struct", &["jobctl"]),
    (Field::TaskStack, "task_struct", &["stack"]),
    (Field::TaskRan, "task_struct", &["se.sum_exec_runtime"]),
    (Field::TaskRanBefore, "task_struct", &["se.prev_sum_exec_runtime"]),
];

fn offset_of(btf: &Btf, (_, structure, paths): &(Field, &str, &[&str])) -> Option<u32> {
    paths.iter().find_map(|path| btf.offset_of(structure, path))
}

/// Where the probes' fields lie in the structures of the running kernel, looked up once. Fields it does not have stay
/// 0: nothing that is loaded reads them.
pub fn offsets(btf: &Btf) -> [u32; FIELDS] {
    static FOUND: OnceLock<[u32; FIELDS]> = OnceLock::new();
    *FOUND.get_or_init(|| look_up(btf))
}

fn look_up(btf: &Btf) -> [u32; FIELDS] {
    let mut offsets = [0; FIELDS];
    for path in PATHS {
        offsets[path.0 as usize] = offset_of(btf, path).unwrap_or(0);
    }
    // A load of four bytes from where it may begin, so that it is aligned.
    offsets[Field::TaskIowait as usize] &= !3;
    offsets
}

/// The bit of `task_struct.in_iowait` in the four bytes at its offset of [`offsets`]; 0: this kernel has none.
pub fn iowait_mask(btf: &Btf) -> u32 {
    btf.bit_of("task_struct", "in_iowait").map_or(0, |bit| 1 << (bit % 32))
}

/// Fields that the running kernel does not have. Their offset alone does not tell: some lie at 0.
pub fn unknown(btf: &Btf) -> Vec<Field> {
    PATHS.iter().filter(|path| offset_of(btf, path).is_none()).map(|path| path.0).collect()
}

/// Distance from `runqueues` to the CPU's preemption count, bytes; 0: not known. The count is a variable of its own
/// (`__preempt_count`), and from 6.2 to 6.14 a field of `pcpu_hot`. Where BTF describes no variables (before 5.11, or
/// without them), `/proc/kallsyms` has their places.
pub fn preempt_distance(btf: &Btf) -> i64 {
    let described = |name: &str| btf.per_cpu(name).map(i64::from);
    let of = |find: &dyn Fn(&str) -> Option<i64>| {
        let hot = || Some(find("pcpu_hot")? + i64::from(btf.offset_of("pcpu_hot", "preempt_count")?));
        Some(find("__preempt_count").or_else(hot)? - find("runqueues")?)
    };
    // Read once: it is long.
    static BY_SYMBOLS: OnceLock<Option<i64>> = OnceLock::new();
    let by_symbols = || {
        let [count, hot, queues] = ["__preempt_count", "pcpu_hot", "runqueues"];
        let has = |found: &Places, name| found.contains_key(name);
        let enough = |found: &Places| has(found, queues) && (has(found, count) || has(found, hot));
        let symbols = Symbols::open().places(&[count, hot, queues], enough);
        of(&|name| symbols.get(name).map(|&place| place as i64))
    };
    of(&described).or_else(|| *BY_SYMBOLS.get_or_init(by_symbols)).unwrap_or(0)
}

/// Whether epoll items hang on a file as a list in the file itself, as before 5.12 (`319c15174757`).
pub fn epoll_is_listed_in_file(btf: &Btf) -> bool {
    btf.offset_of("file", "f_ep_links").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_is_a_comparison_and_everything_else_a_look_up() {
        assert_eq!(Whom::process(7).mode(), mode::ONE);
        let followed = Whom { follow: true, ..Whom::process(7) };
        assert_eq!(followed.mode(), mode::TGIDS | mode::FOLLOW);
        let many = Whom { tids: vec![9], all: true, ..Whom::process(7) };
        assert_eq!(many.mode(), mode::TGIDS | mode::TIDS | mode::ALL);
    }

    #[test]
    fn a_name_is_compared_as_the_kernel_keeps_it() {
        let whom = Whom { comm: Some(b"a-name-that-is-too-long".to_vec()), ..Whom::default() };
        let bytes: Vec<u8> = whom.comm_words().iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(&bytes, b"a-name-that-is-\0");
    }

    /// Whether this kernel has them is asked on every kernel, by `kernel_smoke`.
    #[test]
    fn every_field_has_a_path() {
        let mut fields: Vec<usize> = PATHS.iter().map(|path| path.0 as usize).collect();
        fields.sort_unstable();
        assert_eq!(fields, (0..FIELDS).collect::<Vec<_>>());
    }
}
