//! What the probes keep of a thread of the target, from its first traced event to its end.

use crate::abi::{Head, Kind, WAKE_OUTSIDE, Wake, WakeKey};
use crate::span::{Rest, Span};

/// Sets of places for threads; a power of two.
pub const SETS: u32 = 8192;
/// Places in a set.
pub const WAYS: usize = 4;

/// The set of a thread.
#[inline(always)]
pub fn set_of(tid: u32) -> u32 {
    tid & (SETS - 1)
}

/// What marks a place as that of a thread: its id, as wide as a register, so that it is widened once and compared
/// with each place. 0 marks a free place.
#[inline(always)]
pub fn mark_of(tid: u32) -> u64 {
    u64::from(tid)
}

/// One thread. All of it is written on the thread's own CPU, except [`Task::wake`], which the waker
/// writes: `sched_waking` and `sched_switch` of one thread may run at the same time.
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Task {
    /// The open call and copy.
    pub span: Span,
    /// The last wake-up, in or out of a call.
    pub wake: Wake,
    /// Second argument of the open call.
    pub arg1: u64,
    /// Third argument of the open call.
    pub arg2: u64,
    /// Fourth argument of the open call.
    pub arg3: u64,
    /// When the last `sock_recv_length` in this call was, ns; 0: none.
    pub recv_at: u64,
    /// Bytes that `sock_recv_length` counted in this call.
    pub recv_bytes: u64,
    /// The socket of the last mark that named one, in this call.
    pub sock: u64,
    /// The skb of the open copy.
    pub skb: u64,
    /// Floors of the marked copies in this call, ns.
    pub floors: u64,
    /// How long data had been ready when this call started, ns, plus one; 0: not known.
    pub pickup: u64,
    /// Since the thread got the CPU: where the kernel's last page fault for it returns to; 0: there was none.
    pub fault: u64,
    /// Address of the epoll instance that was last found to wait on a socket for this thread; 0: none was.
    pub epoll: u64,
    /// When the thread got the CPU after the first wake-up by a socket in this call, ns; 0: none woke it.
    pub came: u64,
    /// Address of the `struct file` of the open call (`--per fd`).
    pub file: u64,
    /// What tells that file from every other that had its address or its number; 0: no file.
    pub file_id: u64,
    /// Where the program's stack pointer was when `sys_exit` left the open call to be entered again: the same
    /// instruction enters it, with the same stack.
    pub stack: u64,
    /// When the open call was parked, ns; of a call that is parked.
    pub parked_at: u64,
    /// Descriptors that `reported_by` reported and that this thread has not read empty since: bit n for all of the numbers that
    /// are n modulo 64.
    pub reported: u64,
    /// When it was observed first, ns; 0: its whole time is not asked for.
    pub begun: u64,
    /// Runnable and not running outside traced calls since then, ns.
    pub outside_runq: u64,
    /// Its last time off the CPU, where that is to be accounted for.
    pub rest: Rest,
    /// Address of the `task_struct` of the thread that got the CPU when this one lost it while runnable.
    pub taker_task: u64,
    /// How long that one had run until then, ns of its scheduler.
    pub taker_ran: u64,
    /// Sleeps outside traced calls in `slept_in` that are in no sum yet, ns: those of one kind follow each other, and are
    /// added to the sums together.
    pub slept_ns: u64,
    /// What the call that ends returned, and what is worked out about it: see `aggregate.rs`.
    pub scratch: [u64; 6],
    /// Number of the open call.
    pub nr: u32,
    /// First argument of the open call.
    pub fd: i32,
    /// Traits of the open call: bits of [`crate::abi::traits`]; 0 before the first.
    pub traits: u32,
    /// Thread id in the pid namespace of iotrace.
    pub tid: u32,
    /// Process id in the pid namespace of iotrace.
    pub tgid: u32,
    /// 1: `sys_exit` has run for the call that ends now; used where the kernel may skip it (`PREEMPTIBLE`).
    pub ended: u32,
    /// Exact tier: the function that opened the copy (`By` in `probes/exact.rs`); meaningless while no copy is open.
    pub copying: u32,
    /// Of a call between two files: the end it last slept on (`ends.rs`); 0: it did not sleep.
    pub slept_on: u32,
    /// Which call last reported descriptors to this thread, `abi::ways::SELECT` or `POLL`; meaningless while
    /// [`Task::reported`] is 0.
    pub reported_by: u32,
    /// What the open call is beside its arguments: bits of [`crate::abi::call_flags`].
    pub flags: u32,
    /// The positive code with which `sys_exit` left the open call, which the kernel enters again or makes an `EINTR` of;
    /// 0: it did not.
    pub restarting: u32,
    /// Times that the open call was entered again.
    pub restarts: u32,
    /// Calls that handlers of signals interrupted, and that are entered again when these return.
    pub parked: u32,
    /// 1: a call of the thread was seen to begin or to end, so the end of a call whose beginning was not seen is of one
    /// that did not begin: it was denied.
    pub settled: u32,
    /// Whether the thread is in a call that began before it was observed: one of [`before`].
    pub before: u32,
    /// 1: its name was sent to user space, as it made a traced call.
    pub announced: u32,
    /// What it last slept in outside traced calls: a `LifeKey::what`.
    pub what: u32,
    /// The process, by its number in the initial pid namespace, that got the CPU when the thread lost it while runnable;
    /// 0: none did.
    pub taker: u32,
    /// Number of sleeps in `slept_ns`.
    pub slept_times: u32,
    /// What they were in: a `LifeKey::what`.
    pub slept_in: u32,
    /// Their `LifeKey::place`.
    pub slept_at: u32,
    /// How often such sleeps were added to the sums.
    pub slept_booked: u32,
    /// Number of its waits for a lock that `woken_by` ended and that are in no sum yet.
    pub woken_times: u32,
    /// What these were in: a `LifeKey::what`.
    pub woken_in: u32,
    /// The thread that ended them; 0: a timer.
    pub woken_by: u32,
    /// Thread id in the initial pid namespace, by which this is found.
    pub id: u32,
}

/// Values of [`Task::before`].
pub mod before {
    /// It is in none.
    pub const NOT: u32 = 0;
    /// It is in one that was interrupted since, and goes on.
    pub const INTERRUPTED: u32 = 1;
    /// It is in one that went on by `restart_syscall` when it was seen first: which call that is, its number does not
    /// tell.
    pub const RESUMED: u32 = 2;
}

/// Which call is parked: a thread is in at most one with each stack pointer.
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParkedKey {
    /// [`Task::stack`]
    pub stack: u64,
    /// Thread id.
    pub tid: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Task {
    /// The beginning of a record about this thread.
    #[inline(always)]
    pub fn head(&self, kind: Kind, at: u64) -> Head {
        Head { kind: kind as u32, tid: self.tid, tgid: self.tgid, reserved: 0, at }
    }

    /// The key of its open call, should that be parked.
    #[inline(always)]
    pub fn parked_key(&self, stack: u64) -> ParkedKey {
        ParkedKey { stack, tid: self.tid, reserved: 0 }
    }

    /// The key of `woken_times`.
    #[inline(always)]
    pub fn woken_key(&self) -> WakeKey {
        WakeKey { tgid: self.tgid, nr: self.woken_in | WAKE_OUTSIDE, waker: self.woken_by, by_socket: 0 }
    }

    /// The open call's number, or `u32::MAX`.
    #[inline(always)]
    pub fn open_nr(&self) -> u32 {
        if self.span.is_open() { self.nr } else { u32::MAX }
    }
}
