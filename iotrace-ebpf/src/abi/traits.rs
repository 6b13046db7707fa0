//! What a syscall is, as bits: the probes and user space steer by these, never by a number.

/// Moves data to the process. The highest bit, so that a probe tells by one comparison ([`moves_in`]).
pub const IN: u32 = 1 << 30;
/// Moves data from the process.
pub const OUT: u32 = 1 << 1;
/// Waits for readiness.
pub const READINESS: u32 = 1 << 2;
/// Waits for completions.
pub const COMPLETION: u32 = 1 << 3;
/// Hands work over.
pub const SUBMIT: u32 = 1 << 4;
/// `io_uring_enter`: hands work over, waits for completions, or both, by its arguments ([`enter_waits`]).
pub const REQUESTS: u32 = 1 << 5;
/// The first argument is a descriptor.
pub const FD: u32 = 1 << 6;
/// Works on sockets only.
pub const SOCKET: u32 = 1 << 7;
/// Returns messages, not bytes: bytes are those that the receive marks counted, if any.
pub const MESSAGES: u32 = 1 << 8;
/// Returns how many descriptors, completions or requests: 0 says that nothing came.
pub const COUNT: u32 = 1 << 9;
/// Moves pages between two files, past the process: nothing is copied to or from it.
pub const PAST: u32 = 1 << 10;
/// Traced only in those of its operations that wait ([`futex_waits`]).
pub const WAITS: u32 = 1 << 11;
/// Carries out a read that it is handed, if the file knows no other way (`io_submit`).
pub const SUBMIT_READS: u32 = 1 << 12;
/// Reads from its first argument, and writes to another (`splice`).
pub const FROM_FIRST: u32 = 1 << 14;
/// Takes a signal, and returns `EAGAIN` where none came (`rt_sigtimedwait`).
pub const SIGNAL: u32 = 1 << 13;
/// The third argument has flags of a receive ([`message`]).
pub const FLAGS_THIRD: u32 = 1 << 20;
/// The fourth argument has flags of a receive ([`message`]).
pub const FLAGS_FOURTH: u32 = 1 << 21;
/// Waits for at least as many as its second argument says: fewer were returned where its time was up.
pub const LEAST: u32 = 1 << 22;

/// Waits for a peer: a connection.
pub const CONNECTION: u32 = 1 << 15;
/// Waits until data is on the disk.
pub const DURABLE: u32 = 1 << 16;

/// Waits for another thread or process to let go of something (`futex`, `flock`): every sleep is for a lock.
pub const SYNC: u32 = 1 << 17;
/// Has none of the purposes above, but may sleep: for a child, until a time, in the file system.
pub const OTHER: u32 = 1 << 18;
/// Traced only where it is asked for.
pub const ON_REQUEST: u32 = 1 << 19;
/// Sleeps until a time, and returns 0 when that has come.
pub const TIMER: u32 = 1 << 23;
/// Calls that no data on a socket wakes.
pub const NO_SOCKET: u32 = DURABLE | SYNC | OTHER;

/// Takes sets of descriptors (`select`), not a list of them.
pub const FD_SETS: u32 = 1 << 29;

/// Flags of a receive, `include/linux/socket.h`.
pub mod message {
    /// `MSG_PEEK`: the bytes stay in the socket, and another receive copies them again.
    pub const PEEK: u64 = 0x2;
    /// `MSG_TRUNC`: a datagram returns its whole length, however much of it was copied, and TCP drops the bytes
    /// (`tcp_recvmsg_locked`, `net/ipv4/tcp.c`).
    pub const TRUNC: u64 = 0x20;
    /// `MSG_ERRQUEUE`: reads what the kernel reports on the socket (errors, time stamps), no data.
    pub const ERRQUEUE: u64 = 0x2000;
}

/// The table that the probes look up first, for every call of every process: one byte for each syscall number, of
/// whichever table the call is. 0: no call of that number is traced.
pub mod traced {
    /// Every native call is traced, or it is `restart_syscall`.
    pub const NATIVE: u8 = 1;
    /// Native calls are traced in those of their operations that wait.
    pub const WAITS: u8 = 2;
    /// Calls of 32-bit programs are traced.
    pub const I386: u8 = 4;
}

/// Whether a syscall has the trait [`IN`].
#[inline(always)]
pub fn moves_in(traits: u32) -> bool {
    traits >= IN
}

/// Whether an `io_uring_enter` waits: `min_complete` is its third argument, and `IORING_ENTER_GETEVENTS` among the
/// flags in its fourth.
#[inline(always)]
pub fn enter_waits(min_complete: u64, flags: u64) -> bool {
    const GETEVENTS: u64 = 1;
    flags & GETEVENTS != 0 && min_complete > 0
}

/// Whether an `io_uring_enter` names its ring by an index into the thread's registered rings
/// (`IORING_ENTER_REGISTERED_RING`, from 5.18, in the flags, its fourth argument), not by a descriptor.
#[inline(always)]
pub fn enter_by_index(flags: u64) -> bool {
    const REGISTERED_RING: u64 = 1 << 4;
    flags & REGISTERED_RING != 0
}

/// Whether a `futex` operation, its second argument, waits (`include/uapi/linux/futex.h`): under `FUTEX_CMD_MASK`
/// `FUTEX_WAIT`, `FUTEX_LOCK_PI`, `FUTEX_WAIT_BITSET`, `FUTEX_WAIT_REQUEUE_PI` or `FUTEX_LOCK_PI2`. No other one waits.
#[inline(always)]
pub fn futex_waits(operation: u64) -> bool {
    const WAITING: u64 = 1 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 13;
    let command = operation & 0x7f;
    command < 64 && WAITING >> command & 1 != 0
}
