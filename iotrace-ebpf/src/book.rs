//! The books: what a finished call adds to a row.
//!
//! The same lines run in the probes, where `trace` sums up, and in user space, where `run` sums up records. So the
//! window that a copy must lie in, the codes of a restart, and which calls copy nothing at all stand here once.

use crate::abi::errno::{EAGAIN, is_restart};
use crate::abi::traits::{
    COUNT, IN, MESSAGES, OUT, PAST, READINESS, REQUESTS, SIGNAL, SOCKET, SUBMIT, SUBMIT_READS,
};
use crate::abi::{CallRecord, WakeKey};
use crate::span::Parts;

/// A finished call. In the kernel it lies in the state of its thread, in user space in a record; each field is read
/// only where it is needed.
pub trait Finished {
    /// What the syscall is: bits of [`crate::abi::traits`].
    fn traits(&self) -> u32;
    /// What it returned; negative: an error, or a restart code.
    fn ret(&self) -> i64;
    /// When it was entered, ns.
    fn enter(&self) -> u64;
    /// When it returned, ns.
    fn exit(&self) -> u64;
    /// When its thread was switched in last, in or before it, ns.
    fn last_in(&self) -> u64;
    /// Where its time went, floors not yet subtracted from the copy.
    fn parts(&self) -> &Parts;
    /// Sleeps for data.
    fn sleeps(&self) -> u32;
    /// Other sleeps.
    fn locks(&self) -> u32;
    /// Times it lost the CPU while runnable.
    fn preempts(&self) -> u32;
    /// Copies between marks.
    fn copies(&self) -> u32;
    /// Floors of those copies, ns.
    fn floors(&self) -> u64;
    /// The last `sock_recv_length` in it, ns; 0: none.
    fn recv_at(&self) -> u64;
    /// Bytes that `sock_recv_length` counted in it.
    fn recv_bytes(&self) -> u64;
    /// Its socket, where a mark named one; 0: none did.
    fn sock(&self) -> u64;
    /// How long data had been ready when the call started, ns, plus one; 0: not known.
    fn pickup(&self) -> u64;
}

/// Counts of values by bucket.
pub trait Distribution {
    /// Counts a value, ns.
    fn count(&mut self, value: u64);
}

/// Sums of a row. `D` is how distributions are kept: coarse in the kernel, where every bucket costs memory for every
/// row and CPU, fine in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::Immutable))]
#[repr(C)]
pub struct Sums<D> {
    /// Calls.
    pub calls: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Where their time went, ns, floors of marked copies subtracted.
    pub parts: Parts,
    /// Calls with marked copies.
    pub marked: u64,
    /// Calls that moved data without marks.
    pub windows: u64,
    /// Upper bound of all copies together, ns: marked copies without floors subtracted, and windows.
    pub bound_ns: u64,
    /// Sleeps for data.
    pub sleeps: u64,
    /// Other sleeps.
    pub locks: u64,
    /// Times the CPU was lost while runnable.
    pub preempts: u64,
    /// Calls that returned `EAGAIN`.
    pub again: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// Calls that return a count and returned 0.
    pub empty: u64,
    /// Calls that return a count, slept, and returned 0.
    pub empty_slept: u64,
    /// Calls the kernel will enter again.
    pub restarts: u64,
    /// Calls that read data whose time of readiness is known.
    pub pickups: u64,
    /// How long that data had been ready when those calls started, all together, ns.
    pub pickup_ns: u64,
    /// Events, messages, requests or signals that the calls returned ([`returned`]).
    pub returned: u64,
    /// Wait plus run queue of each call.
    pub phase1: D,
    /// Copy of each call that moved data.
    pub phase2: D,
    /// Enter to exit of each call.
    pub latency: D,
    /// From data ready to the start of the read call, of each pickup.
    pub pickup: D,
}

impl<D> Sums<D> {
    /// Combines each sum with that of another row, and each distribution. The total is what the parts add up to: a row
    /// may be read while its CPU adds a call to it, and the total it shows then may be of one call more than its parts.
    pub fn combine<E>(
        &mut self,
        other: &Sums<E>,
        number: impl Fn(&mut u64, u64),
        distribution: impl Fn(&mut D, &E),
    ) {
        let Self { parts, .. } = self;
        number(&mut parts.wait, other.parts.wait);
        number(&mut parts.lock, other.parts.lock);
        number(&mut parts.runq, other.parts.runq);
        number(&mut parts.copy, other.parts.copy);
        number(&mut parts.work, other.parts.work);
        parts.total = parts.wait + parts.lock + parts.runq + parts.copy + parts.work;
        number(&mut self.calls, other.calls);
        number(&mut self.bytes, other.bytes);
        number(&mut self.marked, other.marked);
        number(&mut self.windows, other.windows);
        number(&mut self.bound_ns, other.bound_ns);
        number(&mut self.sleeps, other.sleeps);
        number(&mut self.locks, other.locks);
        number(&mut self.preempts, other.preempts);
        number(&mut self.again, other.again);
        number(&mut self.errors, other.errors);
        number(&mut self.empty, other.empty);
        number(&mut self.empty_slept, other.empty_slept);
        number(&mut self.restarts, other.restarts);
        number(&mut self.pickups, other.pickups);
        number(&mut self.pickup_ns, other.pickup_ns);
        number(&mut self.returned, other.returned);
        distribution(&mut self.phase1, &other.phase1);
        distribution(&mut self.phase2, &other.phase2);
        distribution(&mut self.latency, &other.latency);
        distribution(&mut self.pickup, &other.pickup);
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well, with this many bytes moved.
    Done(u64),
    /// With a count of 0: timed out, or nothing was there.
    Empty,
    /// `EAGAIN`
    Again,
    /// The kernel will enter it again, or make an `EINTR` of it behind `sys_exit`.
    Restart,
    /// With this error, positive.
    Failed(i64),
}

/// How many events, messages, requests or signals a call returned: what a call that counts one of these returned, 1
/// for a signal that was taken, and 0 for every other call. A call that timed out or failed returned none.
#[inline(always)]
pub fn returned(call: &impl Finished) -> u64 {
    let (ret, traits) = (call.ret(), call.traits());
    if ret <= 0 || traits & (COUNT | MESSAGES | SUBMIT | REQUESTS | SIGNAL) == 0 {
        return 0;
    }
    if traits & SIGNAL != 0 { 1 } else { ret as u64 }
}

/// How a call ended, by what it returned. `Done` has the bytes of a call that moves data, else 0.
#[inline(always)]
pub fn outcome(call: &impl Finished) -> Outcome {
    let (ret, traits) = (call.ret(), call.traits());
    match ret {
        _ if ret == -EAGAIN => Outcome::Again,
        _ if is_restart(ret) => Outcome::Restart,
        _ if ret < 0 => Outcome::Failed(-ret),
        0 if traits & COUNT != 0 => Outcome::Empty,
        _ if traits & (IN | OUT) == 0 => Outcome::Done(0),
        _ if traits & MESSAGES != 0 => Outcome::Done(call.recv_bytes()),
        _ => Outcome::Done(ret as u64),
    }
}

/// The stretch in which a call without marks must have copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Begin, ns: the thread was on the CPU for the call from here on.
    pub from: u64,
    /// End, ns: of the receive where a mark tells, else of the call.
    pub to: u64,
}

/// Where a call without marks must have copied: after its thread got the CPU for the last time.
#[inline(always)]
pub fn stretch(call: &impl Finished) -> Stretch {
    let from = if call.last_in() > call.enter() { call.last_in() } else { call.enter() };
    let to = if call.recv_at() > from { call.recv_at() } else { call.exit() };
    Stretch { from, to }
}

/// What a call shows of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It moved nothing to or from the process.
    Nothing,
    /// Marks at both edges of each copy.
    Marked {
        /// Time between the marks, all copies together, ns.
        raw: u64,
        /// Copies.
        copies: u32,
    },
    /// No marks: the copy took no longer than this.
    Window {
        /// Time on the CPU that it must lie in, ns.
        upper: u64,
        /// Bytes moved; 0: unknown.
        bytes: u64,
    },
}

/// What a call shows of its copy.
#[inline(always)]
pub fn moved(call: &impl Finished) -> Moved {
    let traits = call.traits();
    if traits & PAST != 0 {
        return Moved::Nothing;
    }
    if call.copies() > 0 {
        return Moved::Marked { raw: call.parts().copy, copies: call.copies() };
    }
    if call.ret() <= 0 || traits & (IN | OUT | SUBMIT_READS) == 0 {
        return Moved::Nothing;
    }
    let bytes = match call.recv_bytes() {
        // What returns messages or requests tells no bytes. One that slept waited for data and copied it; one that
        // did not may have handed over a poll request, which moves nothing.
        0 if traits & (MESSAGES | SUBMIT_READS) != 0 && call.sleeps() == 0 => return Moved::Nothing,
        0 if traits & (MESSAGES | SUBMIT_READS) != 0 => 0,
        0 => call.ret() as u64,
        counted => counted,
    };
    let parts = call.parts();
    let upper = if call.preempts() + call.locks() > 0 {
        // The CPU may have been lost in the copy: then all time on it is the bound.
        parts.copy + parts.work
    } else {
        let Stretch { from, to } = stretch(call);
        to.saturating_sub(from)
    };
    Moved::Window { upper, bytes }
}

/// Prices of bytes that are copied without marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Out of or into a socket, ns per KiB.
    pub socket_per_kib: u64,
    /// Out of or into a file or pipe, ns per KiB.
    pub file_per_kib: u64,
}

/// The copy of a call in ns: marks less their floors, or bytes at their price within the bound.
#[inline(always)]
pub fn priced(call: &impl Finished, moved: &Moved, prices: impl FnOnce() -> Prices) -> u64 {
    match *moved {
        Moved::Nothing => 0,
        Moved::Marked { raw, .. } => raw - if call.floors() < raw { call.floors() } else { raw },
        Moved::Window { upper, bytes } => {
            let prices = prices();
            let of_socket = call.traits() & SOCKET != 0 || call.sock() != 0;
            let per_kib = if of_socket { prices.socket_per_kib } else { prices.file_per_kib };
            // Both bounds hold: the window is on the CPU, so it is part of what else would be work.
            (bytes.wrapping_mul(per_kib) >> 10).min(upper).min(call.parts().work)
        }
    }
}

/// Adds a finished call to its row: how it ended, where its time went, and its copy, `copy_ns`, which is time that
/// would otherwise be work.
#[inline(always)]
pub fn add<D: Distribution>(row: &mut Sums<D>, call: &impl Finished, moved: &Moved, copy_ns: u64) -> Outcome {
    row.calls += 1;
    row.sleeps += u64::from(call.sleeps());
    row.locks += u64::from(call.locks());
    row.preempts += u64::from(call.preempts());
    row.returned += returned(call);
    let outcome = outcome(call);
    match outcome {
        Outcome::Done(bytes) => row.bytes += bytes,
        Outcome::Again => row.again += 1,
        Outcome::Restart => row.restarts += 1,
        Outcome::Failed(_) => row.errors += 1,
        Outcome::Empty => {
            row.empty += 1;
            row.empty_slept += u64::from(call.sleeps() > 0);
        }
    }
    match *moved {
        Moved::Nothing => {}
        Moved::Marked { raw, .. } => {
            row.marked += 1;
            row.bound_ns += raw;
        }
        Moved::Window { upper, .. } => {
            row.windows += 1;
            row.bound_ns += upper;
        }
    }
    if !matches!(moved, Moved::Nothing) {
        row.phase2.count(copy_ns);
    }
    let parts = call.parts();
    row.parts.total += parts.total;
    row.parts.wait += parts.wait;
    row.parts.lock += parts.lock;
    row.parts.runq += parts.runq;
    row.parts.copy += copy_ns;
    row.parts.work += parts.work + parts.copy - copy_ns;
    row.phase1.count(parts.wait + parts.runq);
    row.latency.count(parts.total);
    if call.pickup() != 0 {
        row.pickups += 1;
        row.pickup_ns += call.pickup() - 1;
        row.pickup.count(call.pickup() - 1);
    }
    outcome
}

/// Who ended the last sleep of a call, as [`WakeKey::waker`]: `tid` if that is known, unless the call's own timer did.
#[inline(always)]
pub fn waker(call: &impl Finished, tid: Option<u32>, by_socket: bool) -> u32 {
    if call.ret() == 0 && call.traits() & READINESS != 0 && !by_socket {
        return WakeKey::TIMER;
    }
    tid.unwrap_or(0)
}

/// A record, with the traits of its syscall.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The record.
    pub call: &'a CallRecord,
    /// Traits of its syscall, as in [`Finished::traits`].
    pub traits: u32,
}

impl Finished for Recorded<'_> {
    fn traits(&self) -> u32 {
        self.traits
    }
    fn ret(&self) -> i64 {
        self.call.ret
    }
    fn enter(&self) -> u64 {
        self.call.enter
    }
    fn exit(&self) -> u64 {
        self.call.head.at
    }
    fn last_in(&self) -> u64 {
        self.call.last_in
    }
    fn parts(&self) -> &Parts {
        &self.call.parts
    }
    fn sleeps(&self) -> u32 {
        self.call.sleeps
    }
    fn locks(&self) -> u32 {
        self.call.locks
    }
    fn preempts(&self) -> u32 {
        self.call.preempts
    }
    fn copies(&self) -> u32 {
        self.call.copies
    }
    fn floors(&self) -> u64 {
        self.call.floors
    }
    fn recv_at(&self) -> u64 {
        self.call.recv_at
    }
    fn recv_bytes(&self) -> u64 {
        self.call.recv_bytes
    }
    fn sock(&self) -> u64 {
        self.call.sock
    }
    fn pickup(&self) -> u64 {
        self.call.pickup
    }
}

#[cfg(test)]
mod tests;
