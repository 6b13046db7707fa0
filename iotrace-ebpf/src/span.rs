//! One call of one thread, enter to exit: every nanosecond in exactly one place.
//!
//! A [`Span`] is a state machine without a clock: each method is told the time. All of its events (enter, exit,
//! switches, copies) happen on the thread's CPU. Only the wake-up happens on the waker's CPU:
//! [`crate::thread::Task::wake`] keeps its time, and [`Span::switch_in`] receives it.

use core::mem::offset_of;

pub use parts::{Parts, Rest, Window};

mod parts;

/// What a thread that is switched out waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Off {
    /// Nothing: it runs.
    Running = 0,
    /// Interruptible sleep: data, a timer, a completion.
    Wait = 1,
    /// Any other sleep: a lock of the kernel, a page fault.
    Lock = 2,
    /// It was runnable and lost the CPU.
    Preempted = 3,
    /// A sleep in the block layer or for a page of a file.
    Disk = 4,
    /// It is stopped, traced or frozen.
    Stopped = 5,
    /// Not known, it was there before it was observed: if it is seen to run next, it ran all the time.
    Unknown = 6,
}

/// `TASK_INTERRUPTIBLE`. Waits carry more bits (freezable, and so on), so test bits, never equality.
pub const TASK_INTERRUPTIBLE: u64 = 1;
/// `__TASK_STOPPED` and `__TASK_TRACED` (`include/linux/sched.h`).
pub const TASK_STOPPED_OR_TRACED: u64 = 0xc;

impl Off {
    /// What `sched_switch` says of the thread it switches out.
    ///
    /// `preempt` comes first: a thread preempted on its way to sleep still shows the sleeping state. `in_iowait` is
    /// `task_struct.in_iowait`, which `io_schedule_prepare` (`kernel/sched/core.c`) sets; `io_cqring_wait`
    /// (`io_uring/`) sets it too, and sleeps interruptibly, which no sleep for a disk does.
    #[inline(always)]
    pub fn of(preempt: bool, state: u64, in_iowait: impl FnOnce() -> bool) -> Self {
        if preempt || state == 0 {
            Off::Preempted
        } else if state & TASK_STOPPED_OR_TRACED != 0 {
            Off::Stopped
        } else if state & TASK_INTERRUPTIBLE != 0 {
            Off::Wait
        } else if in_iowait() {
            Off::Disk
        } else {
            Off::Lock
        }
    }
}

/// Sets a field to 0. Volatile, or the compiler gathers neighbours into a call of `memset`, which on BPF is
/// a loop over bytes.
#[inline(always)]
pub fn zero(field: &mut u64) {
    // SAFETY: a reference is a valid place.
    unsafe { core::ptr::from_mut(field).write_volatile(0) };
}

/// The state of one thread inside a call, and of its copy inside or outside one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Span {
    /// When the open call was entered; 0: none is open.
    pub enter: u64,
    /// Asleep for data so far in the open call, ns.
    pub wait: u64,
    /// Asleep for a disk so far in the open call, ns.
    pub disk: u64,
    /// Asleep for anything else so far in the open call, ns.
    pub lock: u64,
    /// Runnable but not running so far in the open call, ns.
    pub runq: u64,
    /// In marked copies so far in the open call, ns.
    pub copy: u64,
    /// When the thread was switched out last.
    pub out: u64,
    /// When it was switched in last, in or out of a call.
    pub last_in: u64,
    /// The wake-up that ended its last sleep in this call; 0: it did not sleep.
    pub woken: u64,
    /// The first time it went to sleep in this call; 0: it did not.
    pub first_out: u64,
    /// Start of the first copy in this call; 0: none.
    pub copy_first: u64,
    /// End of the last copy in this call; 0: none.
    pub copy_last: u64,
    /// Bytes of the copies in this call.
    pub copy_bytes: u64,
    /// The copy that is open: its start (0: none), time switched out since, bytes.
    pub open: Window,
    /// Since the last call: runnable, not running.
    pub idle_runq: u64,
    /// Since the last call: asleep, in an untraced call or a fault.
    pub idle_sleep: u64,
    /// Between the last call and this one: runnable, not running.
    pub before_runq: u64,
    /// Between the last call and this one: asleep.
    pub before_sleep: u64,
    /// Why it is switched out ([`Off`] as a number).
    pub off: u32,
    /// Sleeps for data.
    pub sleeps: u32,
    /// Sleeps for anything else.
    pub locks: u32,
    /// Preemptions.
    pub preempts: u32,
    /// Copies.
    pub copies: u32,
    /// Sleeps for a disk.
    pub disks: u32,
    /// Of all calls: sleeps that ended without a wake-up between out and in: the thread had been woken on its way out.
    pub unwoken: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Span {
    /// Whether a call is open.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.enter != 0
    }

    /// A call begins. A call that was still open (its exit was missed) is forgotten.
    #[inline(always)]
    pub fn enter(&mut self, now: u64) {
        self.before_runq = self.idle_runq;
        self.before_sleep = self.idle_sleep;
        for field in [
            &mut self.wait,
            &mut self.disk,
            &mut self.lock,
            &mut self.runq,
            &mut self.copy,
            &mut self.woken,
            &mut self.first_out,
            &mut self.copy_first,
            &mut self.copy_last,
            &mut self.copy_bytes,
            &mut self.open.begin,
            &mut self.idle_runq,
            &mut self.idle_sleep,
        ] {
            zero(field);
        }
        self.zero_counts();
        self.enter = now;
    }

    /// Sets the six counts, which lie side by side, to 0: two at a time, since this is on the way into every call.
    #[inline(always)]
    fn zero_counts(&mut self) {
        const FIRST: usize = offset_of!(Span, off);
        const _: () = assert!(FIRST.is_multiple_of(8) && FIRST + 8 * 4 == size_of::<Span>());
        let span = core::ptr::from_mut(self).cast::<u8>();
        for pair in 0..3 {
            // SAFETY: the structure ends two numbers behind the counts, as asserted above, so three words from the
            // first lie in it, and zeros are values of them. Volatile: see `zero`.
            unsafe { span.add(FIRST + 8 * pair).cast::<u64>().write_volatile(0) };
        }
    }

    /// The thread is switched out.
    #[inline(always)]
    pub fn switch_out(&mut self, now: u64, why: Off) {
        self.out = now;
        self.off = why as u32;
    }

    /// The thread is seen to run. If its switch-in was not seen, it is assumed to be at `now`, the latest possible
    /// time: then the sleep is exact and the time on the run queue too long. Returns whether the switch-in was missed.
    #[inline(always)]
    pub fn runs(&mut self, now: u64, waking: u64) -> bool {
        let unseen = ![Off::Running as u32, Off::Unknown as u32].contains(&self.off);
        if unseen {
            self.switch_in(now, waking);
        }
        self.off = Off::Running as u32;
        unseen
    }

    /// The thread is switched in; `waking` is the moment of its last wake-up, whenever that was. Returns where it was
    /// since it left the CPU. The time for which it was stopped is not the open call's, which is as if it had begun so
    /// much later.
    #[inline(always)]
    pub fn switch_in(&mut self, now: u64, waking: u64) -> Rest {
        self.last_in = now;
        let off = self.off;
        self.off = Off::Running as u32;
        if off == Off::Running as u32 {
            return Rest::default(); // the switch-out was before the probes were attached
        }
        let out = self.out;
        let away = now.saturating_sub(out);
        if self.open.begin != 0 {
            self.open.off += away;
        }
        // try_to_wake_up may find the thread on its way out: then the wake-up lies before the switch,
        // and all of the time away was waiting for a CPU.
        let preempted = off == Off::Preempted as u32;
        let slept = if !preempted && waking > out && waking <= now { waking - out } else { 0 };
        let rest = Rest { slept, waited: away - slept, off, reserved: 0 };
        if self.enter == 0 {
            self.idle_runq += away - slept;
            self.idle_sleep += slept;
            return rest;
        }
        self.runq += away - slept;
        if preempted {
            self.preempts += 1;
            return rest;
        }
        if off == Off::Stopped as u32 {
            self.enter += slept;
            return rest;
        }
        if slept == 0 {
            self.unwoken += 1;
        } else {
            self.woken = waking;
        }
        if off == Off::Wait as u32 {
            self.sleeps += 1;
            self.wait += slept;
            if self.first_out == 0 {
                self.first_out = out;
            }
        } else if off == Off::Disk as u32 {
            self.disks += 1;
            self.disk += slept;
        } else {
            self.locks += 1;
            self.lock += slept;
        }
        rest
    }

    /// Time off the CPU in the open call, or since the last call ended, ns. It starts anew when a call begins.
    #[inline(always)]
    pub fn away(&self) -> u64 {
        self.wait + self.disk + self.lock + self.runq + self.idle_runq + self.idle_sleep
    }

    /// A copy of `bytes` begins. A copy that is still open ends now, and is returned.
    #[inline(always)]
    pub fn copy_begin(&mut self, now: u64, bytes: u64) -> Option<Window> {
        let before = self.copy_end(now);
        self.open = Window { begin: now, end: 0, off: 0, bytes };
        before
    }

    /// The open copy ends, if there is one.
    #[inline(always)]
    pub fn copy_end(&mut self, now: u64) -> Option<Window> {
        if self.open.begin == 0 {
            return None;
        }
        let closed = Window { end: now, ..self.open };
        self.open.begin = 0;
        if self.enter != 0 {
            self.copies += 1;
            self.copy += closed.length();
            self.copy_bytes += closed.bytes;
            self.copy_last = now;
            if self.copy_first == 0 {
                self.copy_first = closed.begin;
            }
        }
        Some(closed)
    }

    /// The call ends. `total` is exact; `work` is what no other part claims.
    #[inline(always)]
    pub fn exit(&mut self, now: u64) -> Parts {
        self.copy_end(now);
        let parts = self.parts(self.enter, now);
        self.enter = 0;
        parts
    }

    /// Where the time of a call went that began at `enter` and ended at `exit`, ns, and has no copy open.
    #[inline(always)]
    pub fn parts(&self, enter: u64, exit: u64) -> Parts {
        let claimed = self.wait + self.disk + self.lock + self.runq + self.copy;
        // Clocks of two CPUs may disagree by a few ns; the sum must not.
        let total = exit.saturating_sub(enter).max(claimed);
        Parts {
            total,
            wait: self.wait,
            disk: self.disk,
            lock: self.lock,
            runq: self.runq,
            copy: self.copy,
            work: total - claimed,
        }
    }

    /// No call, no copy, never switched.
    pub const ZERO: Span = Span {
        enter: 0,
        wait: 0,
        disk: 0,
        lock: 0,
        runq: 0,
        copy: 0,
        out: 0,
        last_in: 0,
        woken: 0,
        first_out: 0,
        copy_first: 0,
        copy_last: 0,
        copy_bytes: 0,
        open: Window { begin: 0, end: 0, off: 0, bytes: 0 },
        idle_runq: 0,
        idle_sleep: 0,
        before_runq: 0,
        before_sleep: 0,
        off: Off::Running as u32,
        sleeps: 0,
        locks: 0,
        preempts: 0,
        copies: 0,
        disks: 0,
        unwoken: 0,
        reserved: 0,
    };
}

#[cfg(test)]
mod tests;
