//! Calls that a signal interrupts: those that go on unseen by the program, and those that end with `EINTR`.
//!
//! Behind `sys_exit` with a restart code, `arch_do_signal_or_restart` (`arch/x86/kernel/signal.c`) decides. Without a
//! handler (the thread was stopped and goes on, task work ran, a tracer attached) the program's instruction runs again,
//! by its own number or as `restart_syscall`: the span stays open until then, and the time in between is the call's.
//! With a handler, `signal_deliver` tells which: the call ends with `EINTR`, or it is parked while the handler runs,
//! whose calls are calls of their own, and goes on when the handler returns.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::errno::{EINTR, ERESTARTNOINTR, ERESTARTSYS};
use iotrace_ebpf::abi::{Field, Stat};
use iotrace_ebpf::arch::native;
use iotrace_ebpf::span::{Span, zero};
use iotrace_ebpf::thread::before;

use super::close::close_now;
use super::decode::Called;
use crate::maps::{PARKED, RESUMED, STARTED, add, count};
use crate::memory::{current_address, read, word_of};
use crate::task::{Task, now};

/// `SA_RESTART` (`include/uapi/asm-generic/signal-defs.h`).
const SA_RESTART: u64 = 0x1000_0000;
/// The greatest `sa_handler` that runs nothing: `SIG_IGN`.
const SIG_IGN: u64 = 1;

/// A signal is delivered to the current thread, argument 2 of the tracepoint says how: decides what becomes of the call
/// that it interrupted.
#[inline(always)]
pub fn delivered(task: &mut Task, ctx: &BtfTracePointContext) {
    if task.restarting == 0 || word_of(ctx, 2, Field::ActionHandler) <= SIG_IGN {
        return;
    }
    let code = i64::from(task.restarting);
    let restarts = word_of(ctx, 2, Field::ActionFlags) & SA_RESTART != 0;
    let goes_on = code == ERESTARTNOINTR || code == ERESTARTSYS && restarts;
    task.restarting = 0;
    if !task.span.is_open() {
        if !goes_on {
            in_flight_ended(task);
        }
    } else if goes_on {
        park(task);
    } else {
        close_now(task, -EINTR);
    }
}

/// Counts a call that was open when observing began, and has ended now.
#[inline(always)]
pub fn in_flight_ended(task: &mut Task) {
    if task.before == before::RESUMED {
        resumed_ended();
    } else {
        count(Stat::InFlightStart);
    }
    task.before = before::NOT;
    add(Stat::InFlightStartNs, now().saturating_sub(STARTED.load()));
}

/// Counts a call that went on by `restart_syscall` when it was observed first, under the function that it went on in.
/// User space knows which call that is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn resumed_ended() -> u64 {
    let function: u64 = read(current_address(), Field::TaskRestart);
    match RESUMED.get_ptr_mut(function) {
        // SAFETY: the value stays valid while the probe runs; two threads at one moment may count as one.
        Some(times) => unsafe { *times += 1 },
        None if RESUMED.insert(function, 1, 0).is_err() => count(Stat::InFlightStart),
        None => {}
    }
    0
}

/// Keeps the open call for the time in which a handler runs.
#[inline(never)]
fn park(task: &mut Task) -> i32 {
    task.parked_at = now();
    if PARKED.insert(task.parked_key(task.stack), &*task, 0).is_err() {
        count(Stat::TasksFull);
    }
    task.parked += 1;
    for field in [
        &mut task.span.enter,
        &mut task.span.open.begin,
        &mut task.span.wait,
        &mut task.span.lock,
        &mut task.span.runq,
        &mut task.span.idle_runq,
        &mut task.span.idle_sleep,
    ] {
        zero(field);
    }
    0
}

/// What entering the kernel again by the instruction that entered it before means.
#[inline(always)]
pub fn goes_on(task: &mut Task, called: &Called, stack: u64) -> bool {
    let same = called.nr == native::RESTART_NUMBER || called.nr == task.nr;
    if same && stack == task.stack && (task.before != before::NOT || task.restarting != 0) {
        task.restarting = 0;
        task.restarts += 1;
        return true;
    }
    task.parked != 0 && unpark(task, called.nr, stack) != 0
}

/// Goes on with the parked call that was made with this stack pointer, if there is one of that number. The time in
/// between is the handler's: the call's own is as if it had begun so much later.
#[inline(never)]
fn unpark(task: &mut Task, nr: u32, stack: u64) -> i32 {
    let key = task.parked_key(stack);
    // SAFETY: the thread itself is the only one that writes its entry.
    let Some(parked) = PARKED.get_ptr(key).map(|parked| unsafe { &*parked }) else { return 0 };
    if parked.nr != nr && nr != native::RESTART_NUMBER {
        return 0;
    }
    let gap = now().saturating_sub(parked.parked_at);
    let (out, last_in, off) = (task.span.out, task.span.last_in, task.span.off);
    // SAFETY: both are whole spans in values of maps. By a helper, as the compiler copies in a loop over bytes.
    unsafe {
        bpf_probe_read_kernel(
            core::ptr::from_mut(&mut task.span).cast(),
            size_of::<Span>() as u32,
            core::ptr::from_ref(&parked.span).cast(),
        );
    }
    let span = &mut task.span;
    (span.out, span.last_in, span.off) = (out, last_in, off);
    span.enter += gap;
    for mark in [&mut span.first_out, &mut span.copy_first, &mut span.copy_last] {
        if *mark != 0 {
            *mark += gap;
        }
    }
    task.arg1 = parked.arg1;
    task.arg2 = parked.arg2;
    task.arg3 = parked.arg3;
    task.recv_bytes = parked.recv_bytes;
    task.recv_at = 0;
    task.sock = parked.sock;
    task.floors = parked.floors;
    task.pickup = parked.pickup;
    task.file = parked.file;
    task.file_id = parked.file_id;
    task.nr = parked.nr;
    task.fd = parked.fd;
    task.traits = parked.traits;
    task.flags = parked.flags;
    task.restarts = parked.restarts + 1;
    task.restarting = 0;
    task.parked -= 1;
    // It cannot fail: the entry was there.
    let _ = PARKED.remove(key);
    1
}
