//! Begins to account for threads that were there before. Attached to nothing: user space runs it in its own thread by
//! `BPF_PROG_TEST_RUN`, once all probes are attached.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::RawTracePointContext;
use iotrace_ebpf::abi::adopt as asked;
use iotrace_ebpf::span::Off;

use crate::memory::arg;
use crate::task::now;
use crate::threads;

/// `(u64 what, u64 tid, u64, u64)`, see `abi::adopt`. aya's macro for such programs drops what they return, hence none here.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_enter")]
pub fn adopt(ctx: *mut c_void) -> u32 {
    let ctx = RawTracePointContext::new(ctx);
    let tid = arg(&ctx, 1) as u32;
    match arg(&ctx, 0) {
        asked::BEGIN => begin(&ctx, tid),
        asked::FORGET => {
            threads::remove(tid);
            1
        }
        _ => settle(&ctx, tid),
    }
}

/// Returns 1 where the thread is new.
#[inline(always)]
fn begin(ctx: &impl EbpfContext, tid: u32) -> u32 {
    if threads::find(tid).is_some() {
        return 0;
    }
    let Some(task) = threads::insert(tid) else { return 0 };
    task.id = tid;
    task.tid = arg(ctx, 2) as u32;
    task.tgid = arg(ctx, 3) as u32;
    let at = now();
    task.begun = at;
    task.span.out = at;
    task.span.off = Off::Unknown as u32;
    1
}

/// Returns 1 where nothing had happened to the thread since it was taken over.
#[inline(always)]
fn settle(ctx: &impl EbpfContext, tid: u32) -> u32 {
    let Some(task) = threads::find(tid) else { return 0 };
    if task.span.off != Off::Unknown as u32 || task.span.is_open() {
        return 0;
    }
    task.what = arg(ctx, 3) as u32;
    task.span.off = arg(ctx, 2) as u32;
    1
}
