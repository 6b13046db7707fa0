//! The whole time of a thread: what it does outside traced calls, from when it is observed first to its end.
//!
//! Only `sched_switch`, births and ends add here. A life is kept as its length; what a thread did on a CPU outside
//! traced calls is what all else leaves of that, so that all of it is in exactly one place.

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::kernel::{family, protocol};
use iotrace_ebpf::abi::{
    Field, LifeKey, LifeSum, PeerKey, Stat, TAKEN_FROM_NS, TakenKey, context, is_held, per, place, sinks,
};
use iotrace_ebpf::arch::native;
use iotrace_ebpf::span::{Off, Rest};
use iotrace_ebpf::thread::Task;

use crate::ids;
use crate::maps::{COMPAT, LIVES, PEERS, PER, REGS, TAKEN, WAKES, count, sinks_to};
use crate::memory::{again, arg, field_of, peek, read, word_of};
use crate::threads::find;

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
fn book(task: &Task, what: u32, place: u32, ns: u64, times: u64) {
    let tid = if PER.load() == per::THREAD { task.tid } else { 0 };
    let key = LifeKey { tgid: task.tgid, tid, what, place };
    match LIVES.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(sum) => unsafe {
            (*sum).ns += ns;
            (*sum).times += times;
        },
        None if LIVES.insert(key, LifeSum { ns, times }, 0).is_err() => count(Stat::RowsFull),
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
pub fn leaves(task: &mut Task, ctx: &BtfTracePointContext) {
    let nr = number(ctx);
    if nr != native::RESTART_NUMBER || task.what == 0 {
        task.what = nr;
    }
}

/// The number of the syscall that the thread is in, from the registers that it entered the kernel with; what other than
/// a syscall it is in they tell, too: see [`LifeKey::FAULT`].
#[inline(always)]
fn number(ctx: &BtfTracePointContext) -> u32 {
    if REGS.load() != 0 {
        let task: *const u8 = ctx.arg(1);
        // SAFETY: the verifier knows the argument by its type.
        let regs = unsafe { bpf_task_pt_regs(task.cast_mut().cast()) } as *const u8;
        // SAFETY: the verifier checks the load against BTF.
        told_by(ctx, |offset| unsafe { regs.add(offset).cast::<u64>().read() })
    } else {
        let stack: u64 = read(arg(ctx, 1), Field::TaskStack);
        let regs = stack + native::STACK_BYTES - native::REGISTERS_BYTES;
        told_by(ctx, |offset| peek(regs + offset as u64))
    }
}

/// The same, given the registers with which the thread entered the kernel.
#[inline(always)]
fn told_by(ctx: &BtfTracePointContext, register: impl Fn(usize) -> u64) -> u32 {
    let nr = register(native::NUMBER_OFFSET) as u32;
    if nr == LifeKey::FAULT {
        return nr;
    }
    if COMPAT.load() != 0 && field_of(ctx, 1, Field::TaskStatus) & native::COMPAT_STATUS != 0 {
        return nr | LifeKey::COMPAT;
    }
    if nr == native::FUTEX {
        let [_, operation, expected, _] = native::ARGUMENT_OFFSETS;
        if is_held(register(operation), register(expected) as u32) {
            return nr | LifeKey::HELD;
        }
    }
    nr
}

/// Accounts for the time that a thread was off the CPU, argument 2 of `sched_switch`. Of most switches in a call there is
/// nothing to note beyond the call.
#[inline(always)]
pub fn rested(ctx: &BtfTracePointContext, task: &mut Task, rest: Rest) {
    if task.span.is_open() && rest.waited < TAKEN_FROM_NS && rest.off != Off::Stopped as u32 {
        return;
    }
    // Through memory, as in `memory::pass`: the verifier knows more of it on each way here.
    task.rest = rest;
    settled(ctx, task);
}

#[inline(never)]
fn settled(ctx: &BtfTracePointContext, task: &mut Task) -> i32 {
    let (waited, off) = (again(&task.rest.waited), again(&task.rest.off));
    let (open, stopped) = (task.span.is_open(), off == Off::Stopped as u32);
    if waited >= TAKEN_FROM_NS {
        taken(ctx, task, waited, off);
    }
    if !open {
        task.outside_runq += again(&task.rest.waited);
    }
    let slept = again(&task.rest.slept);
    if slept != 0 && (stopped || !open) {
        let (what, at) = match off {
            off if off == Off::Stopped as u32 => (LifeKey::NONE, place::STOPPED),
            off if off == Off::Disk as u32 => (task.what, place::DISK),
            off if off == Off::Lock as u32 => (task.what, place::LOCK),
            _ => (task.what, place::WAIT),
        };
        if what != task.slept_in || at != task.slept_at {
            sum_up(task);
            hand_on(task);
            (task.slept_in, task.slept_at) = (what, at);
        }
        task.slept_ns += slept;
        task.slept_times += 1;
        if !stopped && native::LOCKS.contains(&(task.what & !LifeKey::HELD)) && task.wake.at != 0 {
            let waker = if context::is_interrupt(task.wake.context) { 0 } else { task.wake.tid };
            if waker != task.woken_by || what != task.woken_in {
                hand_on(task);
                (task.woken_by, task.woken_in) = (waker, what);
            }
            task.woken_times += 1;
        }
    }
    0
}

/// Adds the last sleeps outside traced calls to the sums.
#[inline(never)]
fn sum_up(task: &mut Task) -> i32 {
    if task.slept_times != 0 {
        task.slept_booked += 1;
        book(task, task.slept_in, task.slept_at, task.slept_ns, u64::from(task.slept_times));
        task.slept_ns = 0;
        task.slept_times = 0;
    }
    0
}

/// Adds the last ends of waits for a lock, which one thread brought about, to the wake-ups.
#[inline(never)]
fn hand_on(task: &mut Task) -> i32 {
    let times = u64::from(task.woken_times);
    if times != 0 {
        let key = task.woken_key();
        match WAKES.get_ptr_mut(key) {
            // SAFETY: the value belongs to this CPU.
            Some(sum) => unsafe { *sum += times },
            // Full: the sleeps themselves are counted, only their sources stay unknown.
            None => drop(WAKES.insert(key, times, 0)),
        }
        task.woken_times = 0;
    }
    0
}

/// Notes who takes the CPU from a thread that is runnable, argument 2 of `sched_switch`.
#[inline(always)]
pub fn lost(task: &mut Task, ctx: &BtfTracePointContext) {
    task.taker = field_of(ctx, 2, Field::TaskTgid);
    task.taker_task = arg(ctx, 2);
    task.taker_ran = word_of(ctx, 2, Field::TaskRan);
}

/// Notes who had the CPU while a thread was runnable, as far as two threads tell: the one that had it last, argument 1 of
/// `sched_switch`, since that one got it (`set_next_entity`, `kernel/sched/fair.c`); and the one that took it from the
/// thread, all that it has run since. Whoever ran between these two is not known, nor is one of them charged with it.
#[inline(always)]
fn taken(ctx: &BtfTracePointContext, task: &Task, waited: u64, off: u32) {
    let (last, ran) = (arg(ctx, 1), word_of(ctx, 1, Field::TaskRan));
    let first = if off == Off::Preempted as u32 { task.taker_task } else { 0 };
    let mut left = waited;
    let by = process_of(ctx, 1);
    if by != 0 {
        // Each by a load of its own: the verifier refuses one load through either of two kinds of pointers.
        let (own, its) = (again(&task.taker_ran), word_of(ctx, 1, Field::TaskRanBefore));
        let since = if first == last { own } else { its };
        let ns = ran.wrapping_sub(since).min(left);
        left -= ns;
        took(task.tgid.into(), by.into(), ns);
    }
    if first != 0 && first != last && task.taker != 0 && read::<u32>(first, Field::TaskTgid) == task.taker {
        let ns = read::<u64>(first, Field::TaskRan).wrapping_sub(task.taker_ran).min(left);
        took(task.tgid.into(), ids::of_process(task.taker, first).into(), ns);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn took(tgid: u64, taker: u64, waited: u64) -> u64 {
    if waited == 0 {
        return 0;
    }
    let key = TakenKey { tgid: tgid as u32, taker: taker as u32 };
    match TAKEN.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(ns) => unsafe { *ns += waited },
        // Full: for how long nobody ran is known all the same.
        None => drop(TAKEN.insert(key, waited, 0)),
    }
    0
}

/// A call waited for data, which came to the socket of the thread's last wake-up.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn waited_for(tid: u64, ns: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
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
fn process_of(ctx: &BtfTracePointContext, n: usize) -> u32 {
    match field_of(ctx, n, Field::TaskTgid) {
        0 => 0,
        tgid => ids::of_process(tgid, arg(ctx, n)),
    }
}

/// Adds the time of a call that is shorter than was asked for, by [`Task::id`], and how much of it is work, ns.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn short(tid: u64, work: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    let add = |place, ns| {
        if ns != 0 {
            book(task, LifeKey::SHORT, place, ns, 1);
        }
    };
    add(place::WAIT, task.span.wait);
    add(place::LOCK, task.span.lock);
    add(place::RUNQ, task.span.runq);
    add(place::DISK, task.span.disk);
    add(place::COPY, task.span.copy);
    add(place::WORK, work);
    0
}

/// A thread ends at `now`.
#[inline(never)]
pub fn ended(task: &mut Task, now: u64) -> i32 {
    if task.begun == 0 {
        return 0;
    }
    book(task, LifeKey::NONE, place::OBSERVED, now.saturating_sub(task.begun), 1);
    sum_up(task);
    hand_on(task);
    if task.outside_runq != 0 {
        book(task, LifeKey::NONE, place::RUNQ, task.outside_runq, 1);
    }
    if task.span.is_open() && task.restarting == 0 {
        // No row has its time.
        for (place, ns) in
            [(place::WAIT, task.span.wait), (place::LOCK, task.span.lock), (place::DISK, task.span.disk)]
        {
            if ns != 0 {
                book(task, LifeKey::SHORT, place, ns, 1);
            }
        }
    }
    0
}
