//! How urgent iotrace itself is.

/// Lets this thread run only when nothing else wants its CPU (`SCHED_IDLE`, sched(7)), or as usual again: a thread that
/// wakes up takes the CPU from one that is idle in this sense at once. Returns whether the kernel agreed.
pub fn only_when_idle(yes: bool) -> bool {
    let policy = if yes { libc::SCHED_IDLE } else { libc::SCHED_OTHER };
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: thread 0 is this one; the parameter is valid.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) == 0 }
}
