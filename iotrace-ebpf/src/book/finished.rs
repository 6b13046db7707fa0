//! A finished call, as the books read it.

use crate::abi::CallRecord;
use crate::abi::traits::{OUT, SYNC};
use crate::span::Parts;

/// A finished call. In the kernel it lies in the state of its thread, in user space in a record; each field is read
/// only where it is needed.
pub trait Finished {
    /// What the syscall is: bits of [`crate::abi::traits`].
    fn traits(&self) -> u32;
    /// What the program got; negative: an error, or a restart code where a signal ended the thread in it.
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
    /// Sleeps for a disk.
    fn disks(&self) -> u32;
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
    /// Its second argument.
    fn arg1(&self) -> u64;
    /// Its third argument.
    fn arg2(&self) -> u64;
    /// Its fourth argument.
    fn arg3(&self) -> u64;
    /// Times that the kernel entered it again, unseen by the program.
    fn restarts(&self) -> u32;
    /// What it was beside its arguments: bits of [`crate::abi::call_flags`].
    fn flags(&self) -> u32;
    /// How long data had been ready when the call started, ns, plus one; 0: not known.
    fn pickup(&self) -> u64;

    /// Sleeps for what the call is made to wait for: data, or, of one that waits for a lock, that lock.
    #[inline(always)]
    fn waits(&self) -> u32 {
        self.sleeps() + if self.traits() & SYNC != 0 { self.locks() } else { 0 }
    }

    /// Time until it had what it waited for, ns: of one that reads a disk that, too.
    #[inline(always)]
    fn phase1(&self) -> u64 {
        let (parts, traits) = (self.parts(), self.traits());
        let disk = if traits & OUT == 0 { parts.disk } else { 0 };
        let lock = if traits & SYNC != 0 { parts.lock } else { 0 };
        parts.wait + parts.runq + disk + lock
    }
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
    fn disks(&self) -> u32 {
        self.call.disks
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
    fn arg1(&self) -> u64 {
        self.call.arg1
    }
    fn arg2(&self) -> u64 {
        self.call.arg2
    }
    fn arg3(&self) -> u64 {
        self.call.arg3
    }
    fn restarts(&self) -> u32 {
        self.call.restarts
    }
    fn flags(&self) -> u32 {
        self.call.flags
    }
}
