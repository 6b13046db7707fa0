//! The exact tier: a copy lasts from the entry to the return of the function that copies.
//!
//! Loaded only on request, since not every kernel lets programs hook functions. The marks go into the same span as
//! those of tracepoints, or, where the two are compared ([`BESIDE`]), into records of their own. The start reads the
//! clock last, and the end reads it before it looks for its thread, so that little but the dispatch of the programs
//! lies in the window.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use iotrace_ebpf::abi::{CopyRecord, Kind, UringEvent, fault};
use iotrace_ebpf::span::{Window, zero};

use super::copy::{Floor, ended};
use super::io_uring::of_request;
use crate::maps::{BESIDE, BESIDES, Beside};
use crate::memory::arg;
use crate::sink;
use crate::task::{Task, current, excluded, find, mark, now};

/// The functions that copy. Where one calls the other, the inner one is the copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// UDP, between taking a datagram from its queue and giving its buffer back. Code of `lib/iov_iter.c`, which is
    /// built without hooks, copies a small datagram.
    Datagram = 1,
    /// `skb_copy_datagram_iter`: one socket buffer.
    Buffer = 2,
}

/// `(const struct sk_buff *skb, int offset, struct iov_iter *to, int len)`
#[fentry(function = "skb_copy_datagram_iter")]
pub fn skb_copy_entry(ctx: FEntryContext) -> i32 {
    begins(By::Buffer, u64::from(arg(&ctx, 3) as u32))
}

/// Return of `skb_copy_datagram_iter`.
#[fexit(function = "skb_copy_datagram_iter")]
pub fn skb_copy_return(_: FExitContext) -> i32 {
    ends(By::Buffer, 0)
}

/// Before 5.19: `struct sk_buff *(struct sock *sk, unsigned int flags, int noblock, int *off, int *err)`
#[fexit(function = "__skb_recv_udp")]
pub fn datagram_entry_noblock(ctx: FExitContext) -> i32 {
    dequeued(arg(&ctx, 5))
}

/// `struct sk_buff *(struct sock *sk, unsigned int flags, int *off, int *err)`
#[fexit(function = "__skb_recv_udp")]
pub fn datagram_entry(ctx: FExitContext) -> i32 {
    dequeued(arg(&ctx, 4))
}

/// Begins the copy of a datagram that was taken from its queue; a null pointer says that there was none.
#[inline(always)]
fn dequeued(skb: u64) -> i32 {
    if skb == 0 { 0 } else { begins(By::Datagram, 0) }
}

/// `(struct sock *sk, struct sk_buff *skb, int len)`: it was copied and is given back.
#[fentry(function = "skb_consume_udp")]
pub fn datagram_return(ctx: FEntryContext) -> i32 {
    ends(By::Datagram, u64::from(arg(&ctx, 2) as u32))
}

/// `(struct io_kiocb *req, unsigned int issue_flags)`: io_uring begins a receive. No tracepoint says so.
#[fentry(function = "io_recv")]
pub fn uring_recv_entry(ctx: FEntryContext) -> i32 {
    of_request(UringEvent::Issue, arg(&ctx, 0), 0)
}

/// `(struct io_kiocb *req, unsigned int issue_flags)`: io_uring begins a read. No tracepoint says so.
#[fentry(function = "io_read")]
pub fn uring_read_entry(ctx: FEntryContext) -> i32 {
    of_request(UringEvent::Issue, arg(&ctx, 0), 0)
}

#[inline(always)]
fn begins(by: By, bytes: u64) -> i32 {
    let Some(task) = current() else { return 0 };
    if BESIDE.load() != 0 {
        begins_beside(task, by, bytes);
        return 0;
    }
    // A copy that is still open is of the outer function, or its end was missed: it is dropped.
    zero(&mut task.span.open.begin);
    task.copying = by as u32;
    task.span.copy_begin(mark(fault::COPY, now()), bytes);
    0
}

#[inline(always)]
fn ends(by: By, bytes: u64) -> i32 {
    let pid_tgid = bpf_get_current_pid_tgid();
    if excluded(pid_tgid) {
        return 0;
    }
    let at = now();
    let Some(task) = find(pid_tgid as u32) else { return 0 };
    if BESIDE.load() != 0 {
        ends_beside(task, by, bytes, at);
    } else if task.copying == by as u32 {
        task.span.open.bytes += bytes;
        ended(
            task,
            at,
            0,
            if matches!(by, By::Buffer) { Floor::HookedBuffer } else { Floor::HookedDatagram },
        );
    }
    0
}

#[inline(always)]
fn begins_beside(task: &Task, by: By, bytes: u64) {
    let window = Window { begin: 0, end: 0, off: task.span.away(), bytes };
    let _ = BESIDES.insert(task.tid, Beside { window, by: by as u64 }, 0);
    if let Some(open) = BESIDES.get_ptr_mut(task.tid) {
        // SAFETY: only the thread itself reads and writes its entry.
        unsafe { (*open).window.begin = now() };
    }
}

#[inline(always)]
fn ends_beside(task: &Task, by: By, bytes: u64, at: u64) {
    // SAFETY: as in `begins_beside`.
    let Some(open) = BESIDES.get_ptr(task.tid).map(|open| unsafe { *open }) else { return };
    if open.by != by as u64 {
        return;
    }
    let _ = BESIDES.remove(task.tid);
    let bytes = open.window.bytes + bytes;
    let window =
        Window { end: at, bytes, off: task.span.away().saturating_sub(open.window.off), ..open.window };
    let (head, nr) = (task.head(Kind::Exact, at), task.open_nr());
    sink::emit(CopyRecord { head, window, sock: 0, nr, reserved: 0 });
}
