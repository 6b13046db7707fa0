//! The edges of the copy out of a socket buffer.
//!
//! Start: `skb_copy_datagram_iovec`. End: `tcp_rcv_space_adjust` (TCP: `tcp_recvmsg_locked` calls it right after each
//! buffer was copied), `consume_skb` (AF_UNIX, and UDP up to 6.17: the copied buffer is freed; since commit
//! 6471658dc66c in 6.18 UDP buffers are freed elsewhere), or the end of the receive. Start marks read the clock last.
//! End marks read it as soon as the thread is known to be traced, so that other threads pay for no clock; the time that
//! finding the thread takes is part of the floor.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::traits::moves_in;
use iotrace_ebpf::abi::{CopyRecord, Kind, fault, sinks};
use iotrace_ebpf::span::Window;

use crate::maps::{FLOORS, sinks_to};
use crate::memory::arg;
use crate::sink;
use crate::task::{Task, current, current_known, mark, now};

/// `(const struct sk_buff *skb, int len)`
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn skb_copy_datagram_iovec(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = current() else { return 0 };
    task.skb = arg(&ctx, 0);
    let bytes = u64::from(arg(&ctx, 1) as u32);
    if task.span.open.begin != 0 {
        ended(task, now(), 0, Floor::Buffer);
    }
    task.span.copy_begin(mark(fault::COPY, now()), bytes);
    0
}

/// `(struct sock *sk)`
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = current_known() else { return 0 };
    let at = now();
    let sock = arg(&ctx, 0);
    task.sock = sock;
    ended(task, at, sock, Floor::Tcp);
    0
}

/// `(struct sk_buff *skb, ...)`: ends the copy of that very buffer; others are freed here too.
#[btf_tracepoint(function = "consume_skb")]
pub fn consume_skb(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = current_known() else { return 0 };
    if task.span.open.begin != 0 && task.skb == arg(&ctx, 0) {
        let at = now();
        ended(task, at, 0, Floor::Buffer);
    }
    0
}

/// What ended a copy. Each kind of mark costs a different time, which `FLOORS` holds by these indices.
#[derive(Clone, Copy)]
pub enum Floor {
    /// `tcp_rcv_space_adjust`
    Tcp = 0,
    /// `consume_skb`
    Buffer = 1,
    /// `sock_recv_length`
    Receive = 2,
    /// The return of `skb_copy_datagram_iter`
    HookedBuffer = 3,
    /// `skb_consume_udp`
    HookedDatagram = 4,
}

/// Closes the open copy, if there is one. A copy outside a data call becomes a record of its own.
#[inline(always)]
pub fn ended(task: &mut Task, at: u64, sock: u64, floor: Floor) {
    let Some(window) = task.span.copy_end(at) else { return };
    if sinks_to(sinks::AGGREGATES) {
        // SAFETY: one aligned word, which user space alone writes.
        task.floors += FLOORS.get_ptr(floor as u32).map_or(0, |floor| unsafe { *floor });
    }
    if sinks_to(sinks::RECORDS) && (!task.span.is_open() || !moves_in(task.traits)) {
        record(task, at, sock, window);
    }
}

#[inline(always)]
fn record(task: &Task, at: u64, sock: u64, window: Window) {
    let nr = task.open_nr();
    sink::emit(CopyRecord { head: task.head(Kind::Copy, at), window, sock, nr, reserved: 0 });
}
