//! What the probes keep of a thread of the target, from its first traced event to its end.

use crate::abi::{Head, Kind, Wake};
use crate::span::Span;

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
    /// Address of the `struct file` of the open call (`--per fd`).
    pub file: u64,
    /// What tells that file from every other that had its address or its number; 0: no file.
    pub file_id: u64,
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
    /// Always 0.
    pub reserved: u32,
}

impl Task {
    /// The beginning of a record about this thread.
    #[inline(always)]
    pub fn head(&self, kind: Kind, at: u64) -> Head {
        Head { kind: kind as u32, tid: self.tid, tgid: self.tgid, reserved: 0, at }
    }

    /// The open call's number, or `u32::MAX`.
    #[inline(always)]
    pub fn open_nr(&self) -> u32 {
        if self.span.is_open() { self.nr } else { u32::MAX }
    }
}
