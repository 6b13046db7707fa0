//! x86-64: syscalls of 64-bit programs (`arch/x86/entry/syscalls/syscall_64.tbl`), `struct pt_regs`, and how a call
//! by the 32-bit ABI is told from one of these.

use super::{Syscall, call};
use crate::abi::traits::{
    COMPLETION, CONNECTION, COUNT, DURABLE, FD, FD_SETS, FLAGS_FOURTH, FLAGS_THIRD, FROM_FIRST, IN, LEAST,
    MESSAGES, ON_REQUEST, OTHER, OUT, PAST, READINESS, REQUESTS, SIGNAL, SOCKET, SUBMIT, SUBMIT_READS, SYNC,
    TIMER, WAITS,
};

/// Every syscall that can be traced.
pub const SYSCALLS: &[Syscall] = &[
    call(0, "read", IN | FD),
    call(17, "pread64", IN | FD),
    call(19, "readv", IN | FD),
    call(45, "recvfrom", IN | FD | SOCKET | FLAGS_FOURTH),
    call(47, "recvmsg", IN | FD | SOCKET | FLAGS_THIRD),
    call(295, "preadv", IN | FD),
    call(299, "recvmmsg", IN | FD | SOCKET | MESSAGES | FLAGS_FOURTH),
    call(327, "preadv2", IN | FD),
    call(1, "write", OUT | FD),
    call(18, "pwrite64", OUT | FD),
    call(20, "writev", OUT | FD),
    call(40, "sendfile", OUT | FD | PAST),
    call(44, "sendto", OUT | FD | SOCKET),
    call(46, "sendmsg", OUT | FD | SOCKET),
    call(275, "splice", OUT | FD | PAST | FROM_FIRST),
    call(296, "pwritev", OUT | FD),
    call(307, "sendmmsg", OUT | FD | SOCKET | MESSAGES),
    call(328, "pwritev2", OUT | FD),
    call(7, "poll", READINESS | COUNT),
    call(23, "select", READINESS | COUNT | FD_SETS),
    call(232, "epoll_wait", READINESS | COUNT | FD),
    call(270, "pselect6", READINESS | COUNT | FD_SETS),
    call(271, "ppoll", READINESS | COUNT),
    call(281, "epoll_pwait", READINESS | COUNT | FD),
    call(441, "epoll_pwait2", READINESS | COUNT | FD),
    call(34, "pause", COMPLETION),
    call(128, "rt_sigtimedwait", COMPLETION | SIGNAL),
    call(130, "rt_sigsuspend", COMPLETION),
    call(202, "futex", COMPLETION | SYNC | WAITS | ON_REQUEST),
    call(208, "io_getevents", COMPLETION | COUNT | LEAST),
    call(333, "io_pgetevents", COMPLETION | COUNT | LEAST),
    call(209, "io_submit", SUBMIT | SUBMIT_READS),
    call(426, "io_uring_enter", REQUESTS | FD),
    call(42, "connect", CONNECTION | FD | SOCKET),
    call(43, "accept", CONNECTION | FD | SOCKET),
    call(288, "accept4", CONNECTION | FD | SOCKET),
    call(26, "msync", DURABLE),
    call(74, "fsync", DURABLE | FD),
    call(75, "fdatasync", DURABLE | FD),
    call(277, "sync_file_range", DURABLE | FD),
    call(306, "syncfs", DURABLE | FD | ON_REQUEST),
    call(65, "semop", SYNC | ON_REQUEST),
    call(73, "flock", SYNC | FD | ON_REQUEST),
    call(220, "semtimedop", SYNC | ON_REQUEST),
    call(449, "futex_waitv", SYNC | ON_REQUEST),
    call(455, "futex_wait", SYNC | ON_REQUEST),
    call(35, "nanosleep", OTHER | TIMER | ON_REQUEST),
    call(230, "clock_nanosleep", OTHER | TIMER | ON_REQUEST),
    call(61, "wait4", OTHER | ON_REQUEST),
    call(247, "waitid", OTHER | ON_REQUEST),
    call(2, "open", OTHER | ON_REQUEST),
    call(3, "close", OTHER | ON_REQUEST),
    call(77, "ftruncate", OTHER | FD | ON_REQUEST),
    call(82, "rename", OTHER | ON_REQUEST),
    call(87, "unlink", OTHER | ON_REQUEST),
    call(217, "getdents64", OTHER | FD | ON_REQUEST),
    call(257, "openat", OTHER | ON_REQUEST),
    call(263, "unlinkat", OTHER | ON_REQUEST),
    call(285, "fallocate", OTHER | FD | ON_REQUEST),
    call(316, "renameat2", OTHER | ON_REQUEST),
    call(318, "getrandom", OTHER | ON_REQUEST),
    call(437, "openat2", OTHER | ON_REQUEST),
];

/// Where `struct pt_regs` (`arch/x86/include/uapi/asm/ptrace.h`) keeps the number of a call, in bytes.
pub const NUMBER_OFFSET: usize = 15 * 8;
/// Where the kernel keeps these registers below the end of a thread's kernel stack, and how large that stack is, in
/// bytes: `THREAD_SIZE` (`arch/x86/include/asm/page_64_types.h`), `task_pt_regs`.
/// Only read where `bpf_task_pt_regs` is missing (before 5.15), when no kernel had the padding of FRED.
pub const STACK_BYTES: u64 = 16384;
/// Bytes of a `struct pt_regs`, which ends where the stack does.
pub const REGISTERS_BYTES: u64 = 21 * 8;
/// Number of `futex`.
pub const FUTEX: u32 = 202;
/// Numbers of the calls in which a program's locks wait: `futex`, `futex_waitv`, `futex_wait`.
pub const LOCKS: [u32; 3] = [FUTEX, 449, 455];
/// Where it keeps the first four arguments: `rdi`, `rsi`, `rdx`, `r10`, in bytes.
pub const ARGUMENT_OFFSETS: [usize; 4] = [14 * 8, 13 * 8, 12 * 8, 7 * 8];
/// Where it keeps the stack pointer of the program, in bytes.
pub const STACK_OFFSET: usize = 19 * 8;
/// Number of `restart_syscall`, by which the thread's interrupted call goes on.
pub const RESTART_NUMBER: u32 = 219;
/// The functions in which calls go on by that, and what these calls are; a call that is not here cannot be traced.
pub const RESTARTED: [(&str, &str); 4] = [
    ("do_restart_poll", "poll"),
    ("futex_wait_restart", "futex"),
    ("hrtimer_nanosleep_restart", "nanosleep"),
    ("hrtimer_nanosleep_restart", "clock_nanosleep"),
];

/// Bit of `task_struct.thread_info.status` that is set while a thread is in a call by the 32-bit ABI (`TS_COMPAT`,
/// `arch/x86/include/asm/thread_info.h`): its number is one of another table then.
pub const COMPAT_STATUS: u32 = 0x2;
/// Bit of the number of a call by the x32 ABI (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u64 = 0x4000_0000;

/// `O_DIRECT` in `file.f_flags` (`include/uapi/asm-generic/fcntl.h`; other architectures have their own value).
pub const O_DIRECT: u32 = 0o40000;
