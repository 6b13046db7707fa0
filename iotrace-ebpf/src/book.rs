//! The books: what a finished call adds to a row.
//!
//! The same lines run in the probes, where `trace` sums up, and in user space, where `run` sums up records. So the
//! window that a copy must lie in, the codes of a restart, and which calls copy nothing at all stand here once.

mod finished;

pub use self::finished::{Finished, Recorded};
use crate::abi::errno::{EAGAIN, ETIME, ETIMEDOUT, is_restart};
use crate::abi::traits::{
    COUNT, FLAGS_FOURTH, FLAGS_THIRD, IN, LEAST, MESSAGES, OUT, PAST, REQUESTS, SIGNAL, SOCKET, SUBMIT,
    SUBMIT_READS, SYNC, TIMER, message,
};
use crate::abi::{Wake, WakeKey, call_flags, context};
use crate::span::Parts;

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
    /// Calls that slept for data or for a disk.
    pub slept_calls: u64,
    /// Sleeps for a disk.
    pub disks: u64,
    /// Other sleeps.
    pub locks: u64,
    /// Times the CPU was lost while runnable.
    pub preempts: u64,
    /// Calls that returned `EAGAIN`.
    pub again: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// Calls that return a count, and returned 0 without having waited.
    pub empty: u64,
    /// Calls that waited until their time was up ([`timed_out`]), whatever they returned then.
    pub timeouts: u64,
    /// Times that the kernel entered a call again, unseen by the program.
    pub restarts: u64,
    /// Calls that read data whose time of readiness is known.
    pub pickups: u64,
    /// How long that data had been ready when those calls started, all together, ns.
    pub pickup_ns: u64,
    /// Events, messages, requests or signals that the calls returned ([`returned`]).
    pub returned: u64,
    /// Bytes that were copied and stayed in the socket (`MSG_PEEK`).
    pub peeked_bytes: u64,
    /// Calls that a filter answered before they began.
    pub denied: u64,
    /// Wait and run queue of each call, and disk where it is no output: that sleeps for a disk in the copy.
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
        number(&mut parts.disk, other.parts.disk);
        number(&mut parts.lock, other.parts.lock);
        number(&mut parts.runq, other.parts.runq);
        number(&mut parts.copy, other.parts.copy);
        number(&mut parts.work, other.parts.work);
        parts.total = parts.wait + parts.disk + parts.lock + parts.runq + parts.copy + parts.work;
        number(&mut self.calls, other.calls);
        number(&mut self.bytes, other.bytes);
        number(&mut self.marked, other.marked);
        number(&mut self.windows, other.windows);
        number(&mut self.bound_ns, other.bound_ns);
        number(&mut self.sleeps, other.sleeps);
        number(&mut self.slept_calls, other.slept_calls);
        number(&mut self.disks, other.disks);
        number(&mut self.locks, other.locks);
        number(&mut self.preempts, other.preempts);
        number(&mut self.again, other.again);
        number(&mut self.errors, other.errors);
        number(&mut self.empty, other.empty);
        number(&mut self.timeouts, other.timeouts);
        number(&mut self.restarts, other.restarts);
        number(&mut self.pickups, other.pickups);
        number(&mut self.pickup_ns, other.pickup_ns);
        number(&mut self.returned, other.returned);
        number(&mut self.peeked_bytes, other.peeked_bytes);
        number(&mut self.denied, other.denied);
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
    /// With a count of 0: its time was up, or nothing was there.
    Empty,
    /// `EAGAIN`
    Again,
    /// Not at all: a signal ended its thread.
    Unfinished,
    /// With this error, positive.
    Failed(i64),
}

/// How many events, messages, requests or signals a call returned: what a call that counts one of these returned, 1
/// for a signal that was taken, and 0 for every other call. A call that timed out or failed returned none.
#[inline(always)]
pub fn returned(call: &impl Finished) -> u64 {
    let (ret, traits) = (call.ret(), call.traits());
    if ret <= 0
        || call.flags() & call_flags::DENIED != 0
        || traits & (COUNT | MESSAGES | SUBMIT | REQUESTS | SIGNAL) == 0
    {
        return 0;
    }
    if traits & SIGNAL != 0 { 1 } else { ret as u64 }
}

/// The flags of a receive, by its traits and its third and fourth argument: bits of [`message`].
#[inline(always)]
pub fn message_flags(traits: u32, arg2: u64, arg3: u64) -> u64 {
    match traits & (FLAGS_THIRD | FLAGS_FOURTH) {
        FLAGS_FOURTH => arg3,
        FLAGS_THIRD => arg2,
        _ => 0,
    }
}

/// Whether a call waited until its time was up: the timeout that it was given, or that of its socket (`SO_RCVTIMEO`,
/// `SO_SNDTIMEO`). One that did not sleep did not wait.
#[inline(always)]
pub fn timed_out(call: &impl Finished) -> bool {
    let (ret, traits) = (call.ret(), call.traits());
    if call.waits() == 0 {
        return false;
    }
    match ret {
        // A descriptor that does not block makes nobody sleep.
        _ if ret == -EAGAIN => true,
        _ if ret == -ETIME => traits & REQUESTS != 0,
        _ if ret == -ETIMEDOUT => traits & SYNC != 0,
        0 => traits & COUNT != 0,
        _ => ret > 0 && traits & LEAST != 0 && (ret as u64) < call.arg1(),
    }
}

/// How a call ended, by what the program got. `Done` has the bytes of a call that moves data, else 0.
#[inline(always)]
pub fn outcome(call: &impl Finished) -> Outcome {
    let (ret, traits) = (call.ret(), call.traits());
    match ret {
        _ if ret == -EAGAIN => Outcome::Again,
        _ if is_restart(ret) => Outcome::Unfinished,
        _ if ret < 0 => Outcome::Failed(-ret),
        0 if traits & COUNT != 0 => Outcome::Empty,
        _ if traits & (IN | OUT) == 0 || call.flags() & call_flags::DENIED != 0 => Outcome::Done(0),
        _ => Outcome::Done(bytes(call, ret as u64)),
    }
}

/// Bytes that a data call moved which returned `ret`.
#[inline(always)]
fn bytes(call: &impl Finished, ret: u64) -> u64 {
    let traits = call.traits();
    let flags = message_flags(traits, call.arg2(), call.arg3());
    if flags & message::ERRQUEUE != 0 {
        return 0;
    }
    // What a receive with `MSG_TRUNC` copied, the probes have found out.
    if traits & MESSAGES != 0 || flags & message::TRUNC != 0 { call.recv_bytes() } else { ret }
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
    if traits & PAST != 0 || call.flags() & (call_flags::DENIED | call_flags::DIRECT) != 0 {
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
        0 => match bytes(call, call.ret() as u64) {
            // Dropped, or no data.
            0 => return Moved::Nothing,
            bytes => bytes,
        },
        counted => counted,
    };
    let parts = call.parts();
    let upper = if call.preempts() + call.locks() + call.disks() > 0 {
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
    row.slept_calls += u64::from(call.waits() + call.disks() > 0);
    row.disks += u64::from(call.disks());
    row.locks += u64::from(call.locks());
    row.preempts += u64::from(call.preempts());
    row.returned += returned(call);
    row.restarts += u64::from(call.restarts());
    row.denied += u64::from(call.flags() & call_flags::DENIED);
    let (timed_out, outcome) = (timed_out(call), outcome(call));
    row.timeouts += u64::from(timed_out);
    match outcome {
        Outcome::Done(bytes)
            if message_flags(call.traits(), call.arg2(), call.arg3()) & message::PEEK != 0 =>
        {
            row.peeked_bytes += bytes;
        }
        Outcome::Done(bytes) => row.bytes += bytes,
        Outcome::Again => row.again += 1,
        Outcome::Failed(_) => row.errors += 1,
        Outcome::Empty => row.empty += u64::from(!timed_out),
        Outcome::Unfinished => {}
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
    row.parts.disk += parts.disk;
    row.parts.lock += parts.lock;
    row.parts.runq += parts.runq;
    row.parts.copy += copy_ns;
    row.parts.work += parts.work + parts.copy - copy_ns;
    row.phase1.count(call.phase1());
    row.latency.count(parts.total);
    if call.pickup() != 0 {
        row.pickups += 1;
        row.pickup_ns += call.pickup() - 1;
        row.pickup.count(call.pickup() - 1);
    }
    outcome
}

/// Whether data on a socket ended the last sleep of a call. `wake` names the socket of which the wake-up came; a call
/// that reads waited on the socket that it read from, and one that writes waits for room.
#[inline(always)]
pub fn by_socket(call: &impl Finished, wake: &Wake) -> bool {
    wake.sock != 0
        && !timed_out(call)
        && if call.traits() & (IN | OUT | SUBMIT_READS) != 0 {
            call.traits() & (OUT | PAST) != OUT && wake.sock == call.sock()
        } else {
            true
        }
}

/// Who ended the last sleep of a call, as [`WakeKey::waker`]: the call's own timer, an interrupt by what it brought, or
/// the thread that was current. `wake` is `None` where that is not known.
#[inline(always)]
pub fn waker(call: &impl Finished, wake: Option<&Wake>, by_socket: bool) -> u32 {
    if timed_out(call) || (call.traits() & TIMER != 0 && call.ret() == 0) {
        return WakeKey::TIMER;
    }
    let Some(wake) = wake else { return 0 };
    if !context::is_interrupt(wake.context) {
        wake.tid
    } else if by_socket {
        WakeKey::NETWORK
    } else if call.disks() > 0 && call.sleeps() == 0 {
        WakeKey::DISK
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
