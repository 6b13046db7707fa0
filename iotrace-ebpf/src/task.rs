//! Which threads belong to the target, and how their state is found.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_ktime_get_ns,
    generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm, bpf_get_prandom_u32},
};
use iotrace_ebpf::abi::{Field, Head, Kind, TaskRecord, mode, sinks};
use iotrace_ebpf::span::Off;
pub use iotrace_ebpf::thread::Task;

use crate::ids;
use crate::life;
use crate::maps::{
    self, CGROUP_LEVEL, FAULT, FAULT_NS, LAST_READY, LastReady, MODE, SELF_TGID, TARGET_CGROUP, TARGET_COMM,
    TARGET_TGID, TGIDS, TIDS, sinks_to,
};
pub use crate::memory::{current_address, peek, read};
use crate::sink;
use crate::threads;
pub use crate::threads::find;

/// The time of every mark: `CLOCK_MONOTONIC` in ns.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The moment of a mark: `at`, unless a deliberate fault shifts that kind (`abi::fault`).
#[inline(always)]
pub fn mark(kind: u32, at: u64) -> u64 {
    if FAULT.load() == kind { at.wrapping_add(FAULT_NS.load()) } else { at }
}

/// True one time in eight, at random, for the fault `abi::fault::SKIP_EXIT`. Low bits of the clock are not random: its
/// resolution may be a multiple of eight.
#[inline(always)]
pub fn by_chance() -> bool {
    // SAFETY: no arguments, no preconditions.
    unsafe { bpf_get_prandom_u32() & 7 == 0 }
}

/// The state of the current thread, if it belongs to the target. A thread that is seen for the first time gets one.
#[inline(always)]
pub fn current() -> Option<&'static mut Task> {
    target()?.introduced()
}

/// The current thread, which belongs to the target.
pub struct Target {
    /// Its state, if it has one.
    pub task: Option<&'static mut Task>,
    pid_tgid: u64,
}

impl Target {
    /// Its state; a thread that is seen for the first time gets one.
    #[inline(always)]
    pub fn introduced(&mut self) -> Option<&'static mut Task> {
        let task = match self.task.take() {
            Some(task) => task,
            None => introduce(self.pid_tgid)?,
        };
        if task.announced == 0 {
            greet(task, self.pid_tgid);
        }
        Some(task)
    }
}

/// The current thread, if it belongs to the target.
#[inline(always)]
pub fn target() -> Option<Target> {
    let pid_tgid = bpf_get_current_pid_tgid();
    if excluded(pid_tgid) {
        return None;
    }
    let task = find(pid_tgid as u32);
    (task.is_some() || wanted(pid_tgid)).then_some(Target { task, pid_tgid })
}

/// The state of the current thread, if it has one; a thread that is seen for the first time gets none.
#[inline(always)]
pub fn current_known() -> Option<&'static mut Task> {
    let pid_tgid = bpf_get_current_pid_tgid();
    if excluded(pid_tgid) { None } else { find(pid_tgid as u32) }
}

/// Whether the current thread cannot belong to the target: with a single process observed, one comparison with a
/// constant tells, without a look-up.
#[inline(always)]
pub fn excluded(pid_tgid: u64) -> bool {
    MODE.load() == mode::ONE && (pid_tgid >> 32) as u32 != TARGET_TGID.load()
}

/// Whether an unknown thread belongs to the target; the current one.
#[inline(always)]
pub fn wanted(pid_tgid: u64) -> bool {
    let (tgid, mode) = ((pid_tgid >> 32) as u32, MODE.load());
    // The list tells whether the process has ended: its number may be another's by now.
    (mode & mode::ONE != 0 && tgid == TARGET_TGID.load() && TGIDS.get_ptr(tgid).is_some())
        || (mode & mode::ALL != 0 && tgid != SELF_TGID.load())
        || (mode & mode::TGIDS != 0 && maps::is_listed(tgid))
        || (mode & mode::TIDS != 0 && TIDS.get_ptr(pid_tgid as u32).is_some())
        || (mode & mode::COMM != 0 && tgid != SELF_TGID.load() && named())
        || (mode & mode::CGROUP != 0 && tgid != SELF_TGID.load() && in_cgroup())
}

#[inline(always)]
fn named() -> bool {
    is_wanted_name(comm())
}

/// Whether threads of this name are the target.
#[inline(always)]
pub fn is_wanted_name(words: [u64; 2]) -> bool {
    let wanted = TARGET_COMM.load();
    words[0] == wanted[0] && words[1] == wanted[1]
}

#[inline(always)]
fn in_cgroup() -> bool {
    // SAFETY: no preconditions; a level deeper than the thread's own yields 0.
    let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(CGROUP_LEVEL.load() as i32) };
    ancestor != 0 && ancestor == TARGET_CGROUP.load()
}

/// Makes a state for a thread of the target.
#[inline(never)]
fn introduce(pid_tgid: u64) -> Option<&'static mut Task> {
    let shown = ids::current(pid_tgid);
    if shown == 0 {
        return None;
    }
    let task = threads::insert(pid_tgid as u32)?;
    task.id = pid_tgid as u32;
    task.tid = shown as u32;
    task.tgid = (shown >> 32) as u32;
    task.begun = if life::is_kept() { now() } else { 0 };
    Some(task)
}

/// Sends user space the name of a thread that makes its first traced call.
#[inline(never)]
fn greet(task: &mut Task, pid_tgid: u64) -> i32 {
    task.announced = 1;
    announce(task);
    // A process is called by the name of its first thread, which need not make a traced call.
    let (leader, tgid) = (task.tgid, (pid_tgid >> 32) as u32);
    if sinks_to(sinks::AGGREGATES) && tgid != pid_tgid as u32 && find(tgid).is_none() {
        let address: u64 = read(current_address(), Field::TaskLeader);
        name(leader, leader, peek(address + maps::offset(Field::TaskComm)));
    }
    0
}

/// A thread of the target, the current one, has a child at `address`, which belongs to the target, too. It is runnable
/// from now on, and gets the CPU first by `sched_switch`.
#[inline(never)]
pub fn born(pid_tgid: u64, address: u64) -> i32 {
    let shown = ids::of_task(pid_tgid, address);
    if shown == 0 {
        return 0;
    }
    let Some(task) = threads::insert(pid_tgid as u32) else { return 0 };
    task.id = pid_tgid as u32;
    task.tid = shown as u32;
    task.tgid = (shown >> 32) as u32;
    let at = now();
    task.begun = at;
    task.span.out = at;
    task.span.off = Off::Preempted as u32;
    name(shown as u32, (shown >> 32) as u32, comm());
    0
}

/// Sends user space the name of a thread, by its ids in the pid namespace of iotrace.
#[inline(always)]
pub fn name(tid: u32, tgid: u32, comm: [u64; 2]) {
    tell(Head { kind: Kind::Name as u32, tid, tgid, reserved: 0, at: now() }, comm);
}

#[inline(always)]
fn tell(head: Head, comm: [u64; 2]) {
    // SAFETY: two words are sixteen bytes.
    let comm = unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(comm) };
    sink::emit(TaskRecord { head, comm });
}

/// Whether a process belongs to the target as a whole, now that one of its threads has another name.
#[inline(always)]
pub fn is_ours(tgid: u32) -> bool {
    let mode = MODE.load();
    (mode & mode::ONE != 0 && tgid == TARGET_TGID.load())
        || (mode & mode::ALL != 0 && tgid != SELF_TGID.load())
        || (mode & mode::TGIDS != 0 && maps::is_listed(tgid))
}

/// Sends the current thread's name to user space.
#[inline(always)]
pub fn announce(task: &Task) {
    tell(task.head(Kind::Task, now()), comm());
}

/// The current thread's name, as two words: the compiler would copy bytes in a loop.
#[inline(always)]
pub fn comm() -> [u64; 2] {
    let mut words = [0u64; 2];
    // SAFETY: sixteen bytes of our own. It fails for no thread; the words are zero then.
    unsafe { bpf_get_current_comm(words.as_mut_ptr().cast(), size_of_val(&words) as u32) };
    words
}

/// The `sk_data_ready` that came right before this moment on this CPU in the same context, if any.
///
/// `sock_def_readable` (`net/core/sock.c`, 6.3 and later) calls the tracepoint and then wakes the sleepers. Another
/// current thread, or 20 us in between, means that something else wakes.
#[inline(always)]
pub fn just_ready(now: u64) -> Option<LastReady> {
    // SAFETY: the slot belongs to this CPU.
    let last = LAST_READY.get_ptr(0).map(|last| unsafe { *last })?;
    (last.task == current_address() && now.saturating_sub(last.at) < 20_000 && last.sock != 0).then_some(last)
}
