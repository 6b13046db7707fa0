//! `sched_switch` and `sched_waking`, which tell why a thread does not run, and the life of threads: fork, exec, exit.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::kernel::{family, task_flag};
use iotrace_ebpf::abi::traits::{COMPLETION, DURABLE, NO_SOCKET, PAST, READINESS, REQUESTS, SYNC};
use iotrace_ebpf::abi::{self, Field, Stat, Wake, fault, mode, sinks};
use iotrace_ebpf::span::Off;

use super::close::close_rarely;
use super::fault::sleeping;
use super::ready::woke;
use crate::context;
use crate::ends;
use crate::ids;
use crate::life;
use crate::maps::{
    IOWAIT_MASK, LastReady, MODE, SOCKS, TARGET_TGID, TGIDS, TIDS, count, is_listed, list, sinks_to, waker,
};
use crate::memory::{again, arg, current_address, field_of, read, tid_of};
use crate::task::{
    Task, announce, born, comm, current, find, is_ours, is_wanted_name, just_ready, mark, name, now, wanted,
};
use crate::threads;
use crate::watch::watcher;

/// From 5.18: `(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)`
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let state = arg(&ctx, 3) as u32;
    let prev = outlived(tid_of(&ctx, 1), state);
    switch(&ctx, prev, tid_of(&ctx, 2), leaves_for(&ctx, state))
}

/// The thread that leaves the CPU in this state, unless that is its last switch (`do_task_dead`, `kernel/sched/core.c`):
/// its end was seen before, or it was taken over behind `sched_process_exit`, and is forgotten now. Then 0.
#[inline(always)]
fn outlived(tid: u32, state: u32) -> u32 {
    const TASK_DEAD: u32 = 0x80;
    if state & TASK_DEAD == 0 {
        return tid;
    }
    bury(u64::from(tid));
    0
}

/// Ends the life of a thread whose end no other program has seen.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn bury(tid: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    if life::is_kept() {
        life::ended(task, now());
    }
    if task.span.is_open() {
        count(Stat::EndedInCall);
    }
    threads::remove(tid as u32);
    1
}

/// Up to 5.17: `(bool preempt, struct task_struct *prev, struct task_struct *next)`; the state is read
/// from `prev`.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch_3(ctx: BtfTracePointContext) -> i32 {
    let prev = tid_of(&ctx, 1);
    if find(prev).is_none() {
        return switch(&ctx, 0, tid_of(&ctx, 2), Off::Preempted);
    }
    // The low 32 bits are enough: `state` was a long before 5.14, on a little-endian machine.
    let state: u32 = read(arg(&ctx, 1), Field::TaskState);
    let prev = outlived(prev, state);
    switch(&ctx, prev, tid_of(&ctx, 2), leaves_for(&ctx, state))
}

/// What the thread that leaves the CPU, in this state, leaves it for.
#[inline(always)]
fn leaves_for(ctx: &BtfTracePointContext, state: u32) -> Off {
    Off::of(arg(ctx, 0) as u8 != 0, u64::from(state), || {
        // A bit that only the thread itself writes (`include/linux/sched.h`), so it is settled here.
        field_of(ctx, 1, Field::TaskIowait) & IOWAIT_MASK.load() != 0
    })
}

/// A thread of the target that is switched; `None` for the idle threads, whose id 0 marks a free place.
#[inline(always)]
fn scheduled(tid: u32) -> Option<&'static mut Task> {
    if tid == 0 { None } else { find(tid) }
}

#[inline(always)]
fn switch(ctx: &BtfTracePointContext, prev: u32, next: u32, why: Off) -> i32 {
    // Both sides share one reading of the clock; without a thread of the target there is none.
    let mut at = 0;
    if let Some(task) = scheduled(prev) {
        at = now();
        if task.span.runs(at, task.wake.at) {
            count(Stat::SwitchUnseen);
        }
        task.span.switch_out(mark(fault::OUT, at), why);
        // From here on the reason is read from memory, see `memory::pass`.
        if task.fault != 0 {
            task.span.off = sleeping(ctx, task, why) as u32;
            task.fault = 0;
        }
        if life::is_kept() {
            left(ctx, task);
        }
        if task.traits & PAST != 0 && again(&task.span.off) == Off::Wait as u32 && task.span.is_open() {
            task.slept_on = ends::sleeping_on(task);
        }
    }
    if let Some(task) = scheduled(next) {
        if at == 0 {
            at = now();
        }
        let before = task.span.unwoken;
        let rest = task.span.switch_in(mark(fault::IN, at), task.wake.at);
        if life::is_kept() {
            life::rested(ctx, task, rest);
        }
        // A wake-up of before the call tells of other data: then the thread was only preempted.
        if task.wake.sock != 0 && task.came == 0 && task.wake.at >= task.span.enter {
            task.came = at;
        }
        if task.span.unwoken != before {
            count(Stat::Unwoken);
        }
    }
    0
}

/// Notes what a thread leaves the CPU for, as far as its call and its registers tell more than its state.
#[inline(always)]
fn left(ctx: &BtfTracePointContext, task: &mut Task) {
    let why = again(&task.span.off);
    if why == Off::Preempted as u32 {
        life::lost(task, ctx);
    } else if why == Off::Stopped as u32 || (why == Off::Wait as u32 && life::is_frozen(ctx)) {
        // What was interrupted goes on afterwards, perhaps by a number that does not tell.
        task.span.off = Off::Stopped as u32;
    } else if !task.span.is_open() {
        life::leaves(task, ctx);
    } else if task.traits & SYNC != 0 {
        task.span.off = Off::Lock as u32;
    } else if task.traits & DURABLE != 0 {
        // The commit of a journal sleeps without `in_iowait` (`jbd2_log_wait_commit`, `fs/jbd2/journal.c`).
        task.span.off = Off::Disk as u32;
    }
}

/// `(struct task_struct *p)`: emitted once a sleep, in the waker's context.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = find(tid_of(&ctx, 0)) else { return 0 };
    let now = mark(fault::WAKING, now());
    // Read again below: the verifier would follow the walk of a wait queue once for each context.
    task.wake = Wake { at: now, tid: ids::waker(), context: context::now(), ..Wake::default() };
    if let Some(ready) = just_ready(now)
        && waited_on(task, arg(&ctx, 0), &ready)
    {
        task.wake.sock = ready.sock;
        task.wake.ready = ready.at;
        if again(&task.wake.context) == abi::context::SOFTIRQ && comes_from_here(ready.sock) {
            task.wake.context = abi::context::THREAD;
        }
    }
    0
}

/// Whether the thread at `sleeper` may have waited on the socket that data has just come to; then the socket is known
/// from here on. A call that reads is asked at its end, when its socket is known.
#[inline(always)]
fn waited_on(task: &mut Task, sleeper: u64, ready: &LastReady) -> bool {
    let state = SOCKS.get_ptr_mut(ready.sock);
    // SAFETY: the value lives as long as the map; what watches a socket hardly ever changes.
    let watch =
        state.map_or(0, |state| unsafe { if (*state).cookie == ready.cookie { (*state).watch } else { 0 } });
    if task.span.is_open() && task.traits & NO_SOCKET != 0 {
        return false;
    }
    if !task.span.is_open() || task.traits & (READINESS | REQUESTS | COMPLETION) == 0 {
        if state.is_none() && task.span.is_open() {
            woke(ready, sleeper);
        }
        return true;
    }
    if task.traits & READINESS == 0 {
        // Requests wait in the socket's queue in the thread's place. A worker that submits one to the socket and then
        // says that it is done is no sign of data.
        let worker =
            read::<u32>(current_address(), Field::TaskFlags) & (task_flag::IO_WORKER | task_flag::KTHREAD);
        return worker == 0;
    }
    if watch != 0 && (watch == task.epoll || watch == sleeper) {
        return true;
    }
    let watcher = watcher(task, sleeper, ready.sock);
    if watcher == 0 {
        return false;
    }
    match state {
        // SAFETY: as above.
        Some(state) if unsafe { (*state).cookie == ready.cookie } => unsafe { (*state).watch = watcher },
        _ => woke(ready, watcher),
    }
    true
}

/// Whether the peer of a socket is on this machine: then the softirq that brings its data runs in the call of the
/// thread that sends (`__local_bh_enable_ip`), which is the cause.
#[inline(always)]
fn comes_from_here(sock: u64) -> bool {
    if read::<u16>(sock, Field::SockFamily) == family::INET6 {
        let [peer, own] = [Field::SockDaddr6, Field::SockSaddr6].map(|field| read::<[u64; 2]>(sock, field));
        // ::1, 127.0.0.0/8 mapped into IPv6, or an address of one's own.
        let mapped = peer[0] == 0 && peer[1] as u32 == 0xffff_0000 && (peer[1] >> 32) as u8 == 127;
        return mapped || (peer[0] == 0 && peer[1] == 1 << 56) || (peer[0] == own[0] && peer[1] == own[1]);
    }
    let (peer, own) = (read::<u32>(sock, Field::SockDaddr), read::<u32>(sock, Field::SockSaddr));
    // Network order: the first byte is the lowest. A socket without a peer has only its own address.
    let address = if peer == 0 { own } else { peer };
    address as u8 == 127 || (peer == own && peer != 0)
}

/// `(struct task_struct *parent, struct task_struct *child)`
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: u32 = read(arg(&ctx, 0), Field::TaskTgid);
    let child: u32 = read(arg(&ctx, 1), Field::TaskTgid);
    let follows = MODE.load() & mode::FOLLOW != 0;
    if follows && parent != child && is_listed(parent) {
        list(child, ids::of_process(child, arg(&ctx, 1)));
    }
    if life::is_kept() && inherits(parent, child, follows) {
        let kernels: u32 = field_of(&ctx, 1, Field::TaskFlags) & task_flag::KTHREAD;
        if kernels == 0 {
            born(u64::from(child) << 32 | u64::from(tid_of(&ctx, 1)), arg(&ctx, 1));
        }
    }
    0
}

/// Whether a child of the current thread belongs to the target. A thread that was named by its number has no children
/// there, and other processes have them where they are followed; who has the name, or is in the cgroup, hands that on.
#[inline(always)]
fn inherits(parent: u32, child: u32, follows: bool) -> bool {
    let by_list = MODE.load() & (mode::ONE | mode::TGIDS) != 0;
    let by_what_it_is = MODE.load() & (mode::ALL | mode::COMM | mode::CGROUP) != 0;
    (by_list && (parent == child || follows) && listed(parent))
        || (by_what_it_is && wanted(bpf_get_current_pid_tgid()))
}

/// Whether a process is in the list of the target.
#[inline(always)]
fn listed(tgid: u32) -> bool {
    if MODE.load() == mode::ONE { tgid == TARGET_TGID.load() } else { is_listed(tgid) }
}

/// `(struct task_struct *p, pid_t old_pid, ...)`: the thread has another name now, and its process another
/// program. A thread other than the leader takes over the id of the leader (`de_thread`, `fs/exec.c`).
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let (before, after) = (arg(&ctx, 1) as u32, tid_of(&ctx, 0));
    if before != after {
        if let Some(task) = find(before) {
            life::ended(task, now());
        }
        threads::remove(before);
        if MODE.load() & mode::TIDS != 0 && TIDS.get_ptr(before).is_some() {
            // It is the thread that was asked for, under the number that it has now. That of the leader, which ended in
            // `de_thread`, was removed then.
            let _ = TIDS.remove(before);
            let _ = TIDS.insert(after, ids::current(u64::from(after)) as u32, 0);
        }
    }
    if let Some(task) = current() {
        // It is in no traced call but this one, `execve`.
        task.settled = 1;
        announce(task);
    }
    0
}

/// `(struct task_struct *task, const char *comm)`: the thread will have that name (`__set_task_comm`, `fs/exec.c`),
/// which it gave itself, or another thread of its process did.
#[btf_tracepoint(function = "task_rename")]
pub fn task_rename(ctx: BtfTracePointContext) -> i32 {
    let (tid, tgid) = (tid_of(&ctx, 0), field_of(&ctx, 0, Field::TaskTgid));
    let known = find(tid);
    // A thread that is not known sends its name with its first call, but a first thread may make none, and nor may a
    // thread that wakes those of the target.
    let first = tid == tgid && is_ours(tgid);
    if known.is_none() && !first && waker(tid).is_none_or(|byte| *byte == 0) {
        return 0;
    }
    let mut comm = [0u64; 2];
    // SAFETY: sixteen bytes of our own; the kernel's string is cut to fit, and what it does not fill stays zero.
    unsafe {
        bpf_probe_read_kernel_str(
            comm.as_mut_ptr().cast(),
            size_of_val(&comm) as u32,
            arg(&ctx, 1) as *const _,
        )
    };
    let shown = ids::of_task(u64::from(tgid) << 32 | u64::from(tid), arg(&ctx, 0));
    name(shown as u32, (shown >> 32) as u32, comm);
    // The threads of a name are those that have it.
    if MODE.load() & !mode::FOLLOW == mode::COMM && !is_wanted_name(comm) {
        forget(tid);
    }
    0
}

/// `(struct task_struct *p, ...)`: the kernel may give the id to another thread from here on, and the id of the process
/// once its last thread has ended.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    ended(arg(&ctx, 0), tid_of(&ctx, 0));
    0
}

/// Removes the state of a thread, if it has one.
#[inline(always)]
fn forget(tid: u32) {
    if let Some(task) = find(tid) {
        let at = now();
        // First, as after the end of a call the verifier would follow it once for each way to get there.
        if life::is_kept() {
            life::ended(task, at);
        }
        if task.span.is_open() {
            if task.restarting != 0 {
                // A signal ends the thread in the call, whose end was seen.
                close_rarely(task, -i64::from(task.restarting), at);
            } else {
                count(Stat::EndedInCall);
            }
        }
        threads::remove(tid);
    }
}

/// Removes the state of a thread, and its process from the target with the last thread.
#[inline(always)]
pub fn ended(address: u64, tid: u32) {
    forget(tid);
    if sinks_to(sinks::AGGREGATES)
        && let Some(byte) = waker(tid)
        && *byte != 0
    {
        *byte = 0;
        let shown = ids::current(bpf_get_current_pid_tgid());
        if shown != 0 {
            name(shown as u32, (shown >> 32) as u32, comm());
        }
    }
    if MODE.load() & mode::TIDS != 0 {
        // It fails for a thread that was not asked for.
        let _ = TIDS.remove(tid);
    }
    if MODE.load() & (mode::TGIDS | mode::ONE) != 0 {
        let tgid: u32 = read(address, Field::TaskTgid);
        let mine = if MODE.load() == mode::ONE { tgid == TARGET_TGID.load() } else { is_listed(tgid) };
        // `do_exit` (`kernel/exit.c`) has subtracted this thread from `signal->live` already.
        if mine && read::<u32>(read(address, Field::TaskSignal), Field::SignalLive) == 0 {
            let _ = TGIDS.remove(tgid);
        }
    }
}
