//! What the reading and the sending process share: a mapping of the memory, and how buffers are made.
//!
//! The mapping is anonymous and made before the fork. Both processes read and write it with atomic loads and
//! stores, so the reader's loop needs no system call to tell the sender how far it is.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::sys::io_failure;
use iotrace_core::domain::spec::Failure;

/// The head of the mapping, before one [`Sent`] for each message.
#[repr(C)]
struct Header {
    /// 1 when the reader enters its loop: the sender's schedule may begin. 0 before.
    go: AtomicU32,
    /// errno of the sender's failure, 0 while all is well.
    error: AtomicI32,
    /// Messages received so far. The reader writes it and the sender only reads it, so it has a cache line
    /// of its own.
    received: Received,
}

#[repr(align(64))]
struct Received(AtomicU64);

/// When one message was sent, in ns of CLOCK_MONOTONIC; 0 before the message is sent.
#[repr(C)]
pub struct Sent {
    /// Right before the call that sent it.
    pub before_ns: AtomicU64,
    /// Right after the call that sent it.
    pub after_ns: AtomicU64,
}

/// The mapping that the reader and the sender share; both processes keep it until they end.
#[derive(Debug)]
pub struct Shared {
    base: NonNull<Header>,
    total_messages: u64,
}

// SAFETY: everything in the mapping is atomic, and it is unmapped only when `Shared` is dropped.
unsafe impl Sync for Shared {}

impl Shared {
    /// A mapping with room for `total_messages` messages.
    ///
    /// # Errors
    /// mmap(2) refused the memory.
    pub fn new(total_messages: u64) -> Result<Shared, Failure> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new anonymous mapping at an address the kernel chooses.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), Self::length(total_messages), protection, flags, -1, 0)
        };
        match NonNull::new(base) {
            Some(start) if base != libc::MAP_FAILED => Ok(Shared { base: start.cast(), total_messages }),
            _ => Err(io_failure("mmap of the memory shared with the sender", &io::Error::last_os_error())),
        }
    }

    /// Bytes of the mapping.
    fn length(total_messages: u64) -> usize {
        size_of::<Header>() + total_messages as usize * size_of::<Sent>()
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping is live, zeroed at first, and all-zero is a valid header.
        unsafe { self.base.as_ref() }
    }

    /// The times at which message `index` was sent.
    ///
    /// # Panics
    /// If there is no message `index`.
    pub fn slot(&self, index: u64) -> &Sent {
        assert!(index < self.total_messages, "message {index} of {}", self.total_messages);
        // SAFETY: the slots begin behind the header and `index` is in bounds, see `length`.
        unsafe { self.base.add(1).cast::<Sent>().add(index as usize).as_ref() }
    }

    /// Lets the sender begin: the reader is about to enter its loop.
    pub fn begin(&self) {
        self.header().go.store(1, Ordering::Release);
    }

    /// Whether the reader has let the sender begin.
    pub fn has_begun(&self) -> bool {
        self.header().go.load(Ordering::Acquire) != 0
    }

    /// Messages that the reader has received.
    pub fn received(&self) -> u64 {
        self.header().received.0.load(Ordering::Acquire)
    }

    /// Counts one more message as received.
    pub fn add_received(&self) {
        self.header().received.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Says that the sender failed with `errno`, for the reader to report.
    pub fn fail(&self, errno: i32) {
        self.header().error.store(errno, Ordering::Release);
    }

    /// Why the sender failed, if it did.
    pub fn error(&self) -> Option<io::Error> {
        let error = self.header().error.load(Ordering::Acquire);
        (error != 0).then(|| io::Error::from_raw_os_error(error))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::length(self.total_messages)) };
    }
}

/// A buffer of `size_bytes` bytes that has been written to, so that all its pages are present: a page fault
/// inside the copy would be measured as part of it.
pub fn buffer(size_bytes: u64) -> Vec<u8> {
    vec![0xa5; size_bytes as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_begins_empty() {
        let shared = Shared::new(3).unwrap();
        let sent = shared.slot(2);
        let sent = (sent.before_ns.load(Ordering::Acquire), sent.after_ns.load(Ordering::Acquire));
        assert_eq!((shared.received(), sent), (0, (0, 0)));
        assert!(!shared.has_begun() && shared.error().is_none());
        shared.add_received();
        assert_eq!(shared.received(), 1);
    }
}
