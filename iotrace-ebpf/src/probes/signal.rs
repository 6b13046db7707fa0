//! `signal_generate` and `signal_deliver`: the chain of signal-driven I/O.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Kind, SIGNAL_DELIVERED, SIGNAL_GENERATED, SignalRecord};

use super::restart::delivered;
use crate::maps::SIGNALS;
use crate::memory::{arg, tid_of};
use crate::sink;
use crate::task::{current_known, find, just_ready, now};

#[inline(always)]
fn watched(signal: u32) -> bool {
    (1..=64).contains(&signal) && SIGNALS.load() >> (signal - 1) & 1 != 0
}

/// `(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`: emitted by
/// the sender, after it woke the thread. `task` is the receiver; `current` may be any thread.
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let signal = arg(&ctx, 0) as u32;
    if !watched(signal) {
        return 0;
    }
    let Some(task) = find(tid_of(&ctx, 2)) else { return 0 };
    let at = now();
    let (mut sock, mut ready) = (0, 0);
    if let Some(last) = just_ready(at) {
        sock = last.sock;
        ready = last.at;
    }
    sink::emit(SignalRecord {
        head: task.head(Kind::Signal, at),
        signal,
        event: SIGNAL_GENERATED,
        result: arg(&ctx, 4) as i32,
        group: arg(&ctx, 3) as i32,
        sock,
        ready,
    });
    0
}

/// `(int sig, struct kernel_siginfo *info, struct k_sigaction *ka)`: on the way to the handler, or to what a signal
/// without one does.
#[btf_tracepoint(function = "signal_deliver")]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = current_known() else { return 0 };
    delivered(task, &ctx);
    let signal = arg(&ctx, 0) as u32;
    if !watched(signal) {
        return 0;
    }
    sink::emit(SignalRecord {
        head: task.head(Kind::Signal, now()),
        signal,
        event: SIGNAL_DELIVERED,
        result: 0,
        group: 0,
        sock: 0,
        ready: 0,
    });
    0
}
