//! The whole time of a thread: what it does outside traced calls, from when it is observed first to its end.
//!
//! Only `sched_switch`, births and ends add here. A life is kept as its length; what a thread did on a CPU outside
//! traced calls is what all else leaves of that, so that all of it is in exactly one place.

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::kernel::{family, protocol};
use iotrace_ebpf::abi::{
    Field, LifeKey, LifeSum, PeerKey, Stat, TAKEN_FROM_NS, TakenKey, WAKE_OUTSIDE, WakeKey, context, is_held,
    per, place, sinks,
};
use iotrace_ebpf::arch::native;
use iotrace_ebpf::span::{Off, Parts, Rest};
use iotrace_ebpf::thread::Task;

use crate::ids;
use crate::maps::{COMPAT, LIVES, PEERS, PER, REGS, TAKEN, WAKES, count, sinks_to};
use crate::memory::{arg, field_of, peek, read};

/// `JOBCTL_TRAP_FREEZE` in `task_struct.jobctl` (`include/linux/sched/jobctl.h`): a thread that sleeps with it is frozen
/// with its cgroup (`do_freezer_trap`, `kernel/signal.c`).
const TRAP_FREEZE: u32 = 1 << 23;

/// Whether the whole time of threads is asked for.
#[inline(always)]
pub fn is_kept() -> bool {
    sinks_to(sinks::AGGREGATES)
}

/// Adds to a sum of a thread.
#[inline(always)]
fn book(task: &Task, what: u32, place: u32, ns: u64) {
    let tid = if PER.load() == per::THREAD { task.tid } else { 0 };
    let key = LifeKey { tgid: task.tgid, tid, what, place };
    match LIVES.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(sum) => unsafe {
            (*sum).ns += ns;
            (*sum).times += 1;
        },
        None if LIVES.insert(key, LifeSum { ns, times: 1 }, 0).is_err() => count(Stat::RowsFull),
        None => {}
    }
}

/// Whether the thread that leaves the CPU, argument 1 of `sched_switch`, sleeps because it is frozen.
#[inline(always)]
pub fn is_frozen(ctx: &BtfTracePointContext) -> bool {
    field_of(ctx, 1, Field::TaskJobctl) & TRAP_FREEZE != 0
}

/// Notes what a thread leaves the CPU for, outside traced calls.
#[inline(always)]
pub fn leaves(task: &mut Task, ctx: &BtfTracePointContext, why: Off) {
    if why == Off::Stopped {
        return; // what was interrupted goes on afterwards, perhaps by a number that does not tell
    }
    let nr = number(ctx);
    if nr != native::RESTART_NUMBER || task.what == 0 {
        task.what = nr;
    }
}

/// The number of the syscall that the thread is in, from the registers that it entered the kernel with; what other than
/// a syscall it is in they tell, too: see [`LifeKey::FAULT`].
#[inline(always)]
fn number(ctx: &BtfTracePointContext) -> u32 {
    let nr = register(ctx, native::NUMBER_OFFSET) as u32;
    if nr == LifeKey::FAULT {
        return nr;
    }
    if COMPAT.load() != 0 && field_of(ctx, 1, Field::TaskStatus) & native::COMPAT_STATUS != 0 {
        return nr | LifeKey::COMPAT;
    }
    if nr == native::FUTEX {
        let [_, operation, expected, _] = native::ARGUMENT_OFFSETS;
        if is_held(register(ctx, operation), register(ctx, expected) as u32) {
            return nr | LifeKey::HELD;
        }
    }
    nr
}

/// A register with which the thread that leaves the CPU entered the kernel.
#[inline(always)]
fn register(ctx: &BtfTracePointContext, offset: usize) -> u64 {
    if REGS.load() != 0 {
        let task: *const u8 = ctx.arg(1);
        // SAFETY: the verifier knows both pointers by their types, and checks the load against BTF.
        unsafe {
            let regs = bpf_task_pt_regs(task.cast_mut().cast()) as *const u8;
            regs.add(offset).cast::<u64>().read()
        }
    } else {
        let stack: u64 = read(arg(ctx, 1), Field::TaskStack);
        peek(stack + native::STACK_BYTES - native::REGISTERS_BYTES + offset as u64)
    }
}

/// Accounts for the time that a thread was off the CPU; `taker` is the process that had the CPU last.
#[inline(always)]
pub fn rested(task: &mut Task, rest: Rest, taker: u32) {
    if rest.waited >= TAKEN_FROM_NS {
        taken(task, rest, taker);
    }
    let stopped = rest.off == Off::Stopped as u32;
    if task.span.is_open() && !stopped {
        return;
    }
    if !task.span.is_open() {
        task.outside_runq += rest.waited;
    }
    if rest.slept != 0 {
        if stopped {
            book(task, LifeKey::NONE, place::STOPPED, rest.slept)
        } else {
            slept(task, rest)
        };
    }
}

/// A sleep outside traced calls is over.
#[inline(always)]
fn slept(task: &Task, rest: Rest) {
    let at = match rest.off {
        off if off == Off::Disk as u32 => place::DISK,
        off if off == Off::Lock as u32 => place::LOCK,
        _ => place::WAIT,
    };
    book(task, task.what, at, rest.slept);
    let nr = task.what & !LifeKey::HELD;
    if native::LOCKS.contains(&nr) && task.wake.at != 0 {
        let waker = if context::is_interrupt(task.wake.context) { 0 } else { task.wake.tid };
        let key = WakeKey { tgid: task.tgid, nr: task.what | WAKE_OUTSIDE, waker, by_socket: 0 };
        match WAKES.get_ptr_mut(key) {
            // SAFETY: the value belongs to this CPU.
            Some(times) => unsafe { *times += 1 },
            // Full: the sleeps themselves are counted, only their sources stay unknown.
            None => drop(WAKES.insert(key, 1, 0)),
        }
    }
}

/// Notes who had the CPU while a thread was runnable: the process that got it when the thread lost it, and the one that
/// had it last, half of the time each where these are two. Nobody had it where the CPU was idle until then: it took that
/// long to get there, or the thread was not allowed to run.
#[inline(always)]
fn taken(task: &Task, rest: Rest, taker: u32) {
    if taker == 0 {
        return;
    }
    let lost_to = if rest.off == Off::Preempted as u32 { task.taker } else { 0 };
    if lost_to != 0 && lost_to != taker {
        took(task.tgid, lost_to, rest.waited / 2);
        took(task.tgid, taker, rest.waited - rest.waited / 2);
    } else {
        took(task.tgid, taker, rest.waited);
    }
}

#[inline(never)]
fn took(tgid: u32, taker: u32, waited: u64) -> i32 {
    let key = TakenKey { tgid, taker };
    match TAKEN.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(ns) => unsafe { *ns += waited },
        // Full: for how long nobody ran is known all the same.
        None => drop(TAKEN.insert(key, waited, 0)),
    }
    0
}

/// A call waited for data, which came to the socket of the thread's last wake-up.
#[inline(never)]
pub fn waited_for(task: &Task, ns: u64) -> i32 {
    let sock = task.wake.sock;
    let kind: u16 = read(sock, Field::SockFamily);
    let is_tcp = read::<u16>(sock, Field::SockProtocol) == protocol::TCP;
    if ns == 0 || !is_tcp || (kind != family::INET && kind != family::INET6) {
        return 0;
    }
    let address = if kind == family::INET6 {
        read(sock, Field::SockDaddr6)
    } else {
        [u64::from(read::<u32>(sock, Field::SockDaddr)), 0]
    };
    let net: u64 = read(sock, Field::SockNet);
    let key = PeerKey {
        // SAFETY: two words are sixteen bytes.
        address: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(address) },
        tgid: task.tgid,
        network: read(net, Field::NetInum),
        local: read(sock, Field::SockNum),
        remote: u16::from_be(read(sock, Field::SockDport)),
        family: u32::from(kind),
    };
    match PEERS.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(sum) => unsafe {
            (*sum).ns += ns;
            (*sum).times += 1;
        },
        // Full: for whom else it waited is not told.
        None => drop(PEERS.insert(key, LifeSum { ns, times: 1 }, 0)),
    }
    0
}

/// The process of argument `n` of `sched_switch`, as the pid namespace of iotrace has it; 0: the CPU is idle.
#[inline(always)]
pub fn process_of(ctx: &BtfTracePointContext, n: usize) -> u32 {
    match field_of(ctx, n, Field::TaskTgid) {
        0 => 0,
        tgid => ids::of_process(tgid, arg(ctx, n)),
    }
}

/// Adds the time of a call that is shorter than was asked for.
#[inline(never)]
pub fn short(task: &Task, parts: &Parts) -> i32 {
    let all = [
        (place::WAIT, parts.wait),
        (place::LOCK, parts.lock),
        (place::RUNQ, parts.runq),
        (place::DISK, parts.disk),
        (place::COPY, parts.copy),
        (place::WORK, parts.work),
    ];
    for (place, ns) in all {
        if ns != 0 {
            book(task, LifeKey::SHORT, place, ns);
        }
    }
    0
}

/// A thread ends at `now`.
#[inline(never)]
pub fn ended(task: &Task, now: u64) -> i32 {
    if task.begun == 0 {
        return 0;
    }
    book(task, LifeKey::NONE, place::OBSERVED, now.saturating_sub(task.begun));
    if task.outside_runq != 0 {
        book(task, LifeKey::NONE, place::RUNQ, task.outside_runq);
    }
    if task.span.is_open() {
        // No row has its time.
        for (place, ns) in
            [(place::WAIT, task.span.wait), (place::LOCK, task.span.lock), (place::DISK, task.span.disk)]
        {
            if ns != 0 {
                book(task, LifeKey::SHORT, place, ns);
            }
        }
    }
    0
}
