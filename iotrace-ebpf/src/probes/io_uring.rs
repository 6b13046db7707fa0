//! The life of an io_uring request, from submission to completion.
//!
//! The prototypes changed often. Three generations are served, chosen in user space from BTF:
//! `_515` (5.15, also in Debian's 5.10: most arguments spelled out, often no request), `_req` (from
//! 6.0: the request alone, its fields read here), and for `complete` also `_cqe` (from 6.14).

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Field, Head, Kind, Stat, UringEvent, UringRecord, sinks};

use crate::ids;
use crate::maps::{RINGS, count, sinks_to};
use crate::memory::{arg, peek, read};
use crate::sink;
use crate::task::{current, current_known, now};
use crate::transfers;

/// `io_uring_submit_sqe(ctx, req, u8 opcode, u64 user_data, ...)`
#[btf_tracepoint(function = "io_uring_submit_sqe")]
pub fn io_uring_submit_515(ctx: BtfTracePointContext) -> i32 {
    submitted(arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 3))
}

/// `io_uring_submit_sqe(req, ...)`, from 6.4 `io_uring_submit_req(req)`
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn io_uring_submit_req(ctx: BtfTracePointContext) -> i32 {
    let req = arg(&ctx, 0);
    submitted(read(req, Field::ReqCtx), req, read(req, Field::ReqUserData))
}

/// `io_uring_poll_arm(ctx, req, u8 opcode, u64 user_data, ...)`
#[btf_tracepoint(function = "io_uring_poll_arm")]
pub fn io_uring_poll_arm_515(ctx: BtfTracePointContext) -> i32 {
    event(UringEvent::PollArm, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 3), 0)
}

/// `io_uring_poll_arm(req, int mask, int events)`
#[btf_tracepoint(function = "io_uring_poll_arm")]
pub fn io_uring_poll_arm_req(ctx: BtfTracePointContext) -> i32 {
    of_request(UringEvent::PollArm, arg(&ctx, 0), 0)
}

/// `io_uring_task_add(ctx, u8 opcode, u64 user_data, int mask)`
#[btf_tracepoint(function = "io_uring_task_add")]
pub fn io_uring_task_add_515(ctx: BtfTracePointContext) -> i32 {
    event(UringEvent::TaskAdd, arg(&ctx, 0), 0, arg(&ctx, 2), i64::from(arg(&ctx, 3) as i32))
}

/// `io_uring_task_add(req, int mask)`: in the waker's context
#[btf_tracepoint(function = "io_uring_task_add")]
pub fn io_uring_task_add_req(ctx: BtfTracePointContext) -> i32 {
    of_request(UringEvent::TaskAdd, arg(&ctx, 0), i64::from(arg(&ctx, 1) as i32))
}

/// `io_uring_queue_async_work(ctx, int rw, req, ...)`
#[btf_tracepoint(function = "io_uring_queue_async_work")]
pub fn io_uring_queue_async_515(ctx: BtfTracePointContext) -> i32 {
    event(UringEvent::QueueAsync, arg(&ctx, 0), arg(&ctx, 2), 0, 0)
}

/// `io_uring_queue_async_work(req, ...)`
#[btf_tracepoint(function = "io_uring_queue_async_work")]
pub fn io_uring_queue_async_req(ctx: BtfTracePointContext) -> i32 {
    of_request(UringEvent::QueueAsync, arg(&ctx, 0), 0)
}

/// `io_uring_complete(ctx, u64 user_data, int res, ...)`
#[btf_tracepoint(function = "io_uring_complete")]
pub fn io_uring_complete_515(ctx: BtfTracePointContext) -> i32 {
    event(UringEvent::Complete, arg(&ctx, 0), 0, arg(&ctx, 1), i64::from(arg(&ctx, 2) as i32))
}

/// `io_uring_complete(ctx, req, u64 user_data, int res, ...)`
#[btf_tracepoint(function = "io_uring_complete")]
pub fn io_uring_complete_req(ctx: BtfTracePointContext) -> i32 {
    event(UringEvent::Complete, arg(&ctx, 0), arg(&ctx, 1), arg(&ctx, 2), i64::from(arg(&ctx, 3) as i32))
}

/// `io_uring_complete(struct io_ring_ctx *ctx, void *req, struct io_uring_cqe *cqe)`; the layout of a
/// CQE is user ABI.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn io_uring_complete_cqe(ctx: BtfTracePointContext) -> i32 {
    let cqe = arg(&ctx, 2);
    let res: i32 = peek(cqe + 8);
    event(UringEvent::Complete, arg(&ctx, 0), arg(&ctx, 1), peek(cqe), i64::from(res))
}

#[inline(always)]
fn submitted(ring: u64, req: u64, user_data: u64) -> i32 {
    let Some(task) = current() else { return 0 };
    if sinks_to(sinks::AGGREGATES) {
        transfers::submitted(task);
    }
    if !sinks_to(sinks::RECORDS) {
        return 0;
    }
    if RINGS.get_ptr(ring).is_none() && RINGS.insert(ring, task.tgid, 0).is_err() {
        count(Stat::SocksFull);
    }
    event(UringEvent::Submit, ring, req, user_data, 0)
}

#[inline(always)]
pub(super) fn of_request(kind: UringEvent, req: u64, res: i64) -> i32 {
    event(kind, read(req, Field::ReqCtx), req, read(req, Field::ReqUserData), res)
}

/// Sends a record of an event of a ring that the target submits to. It may happen in the context of any thread.
#[inline(always)]
fn event(event: UringEvent, ring: u64, req: u64, user_data: u64, res: i64) -> i32 {
    if !sinks_to(sinks::RECORDS) {
        return 0;
    }
    let at = now();
    let Some(owner) = RINGS.get_ptr(ring) else { return 0 };
    // SAFETY: the value stays valid while the probe runs.
    let mut head = Head { kind: Kind::Uring as u32, tgid: unsafe { *owner }, at, ..Head::default() };
    let (mut last_in, mut nr) = (0, u32::MAX);
    head.tid = ids::current(aya_ebpf::helpers::bpf_get_current_pid_tgid()) as u32;
    if let Some(task) = current_known() {
        last_in = task.span.last_in;
        nr = task.open_nr();
    }
    sink::emit(UringRecord { head, ctx: ring, req, user_data, res, last_in, event: event as u32, nr });
    0
}
