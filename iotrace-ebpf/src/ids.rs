//! Ids as the pid namespace of iotrace has them. The probes find threads by their ids in the initial namespace, which
//! are plain fields of `task_struct`; what they tell user space is what `/proc` shows there.
//!
//! In the initial namespace both are the same and `NS_LEVEL` is the constant 0, so that nothing here is left in a
//! program. A thread outside of iotrace's namespace has no id in it: 0.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use iotrace_ebpf::abi::{Field, UPID_BYTES, WakeKey, sinks};

use crate::kernel::{current_address, peek, read};
use crate::maps::{self, NS, NS_LEVEL, offset, sinks_to};

/// Process id in the high and thread id in the low half of the current thread, whose ids in the initial namespace
/// are known; 0: it has none here.
#[inline(always)]
pub fn current(pid_tgid: u64) -> u64 {
    if NS_LEVEL.load() == 0 { pid_tgid } else { of_task(pid_tgid, current_address()) }
}

/// The same of the thread at an address.
#[inline(always)]
pub fn of_task(pid_tgid: u64, task: u64) -> u64 {
    if NS_LEVEL.load() == 0 {
        return pid_tgid;
    }
    let (tid, tgid) = (of_thread(task), of_thread(read(task, Field::TaskLeader)));
    if tid == 0 { 0 } else { u64::from(tgid) << 32 | u64::from(tid) }
}

/// Id of a process, given that in the initial namespace and the address of one of its threads.
#[inline(always)]
pub fn of_process(tgid: u32, task: u64) -> u32 {
    if NS_LEVEL.load() == 0 { tgid } else { of_thread(read(task, Field::TaskLeader)) }
}

/// Id of the current thread as a waker: 0 for an idle thread, which only an interrupt can be.
#[inline(always)]
pub fn waker() -> u32 {
    let tid = bpf_get_current_pid_tgid() as u32;
    // Only `trace` shows wakers by name.
    if sinks_to(sinks::AGGREGATES)
        && let Some(byte) = maps::waker(tid)
    {
        *byte = 1;
    }
    if NS_LEVEL.load() == 0 || tid == 0 {
        return tid;
    }
    match of_thread(current_address()) {
        0 => WakeKey::OUTSIDE,
        shown => shown,
    }
}

/// `pid_nr_ns` (`kernel/pid.c`) of the thread at an address.
#[inline(always)]
fn of_thread(task: u64) -> u32 {
    let pid: u64 = read(task, Field::TaskThreadPid);
    let level = NS_LEVEL.load();
    if pid == 0 || read::<u32>(pid, Field::PidLevel) < level {
        return 0;
    }
    let number = pid + offset(Field::PidNumbers) + u64::from(level) * UPID_BYTES;
    if peek::<u64>(number + offset(Field::UpidNs)) == NS.load() {
        peek(number + offset(Field::UpidNr))
    } else {
        0
    }
}
