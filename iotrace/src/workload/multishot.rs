//! `io_uring(7)` multishot receive: one request that completes again and again, into buffers that the kernel
//! picks from a ring of them (from 6.0).
//!
//! ```text
//! register a ring of buffers;  put RECV_MULTISHOT into the submission ring;  io_uring_enter(submit)
//! until all messages are there:
//!     own work until the completion ring has something, or io_uring_enter(wait for 1)
//!     take the completions, hand each buffer back with a store to the ring of buffers
//! a completion without IORING_CQE_F_MORE ended the request: submit it again
//! ```
//!
//! io_uring_register_buf_ring(3). The request is submitted once, so that a message takes no call at all. Used for
//! datagrams only: on a stream a completion may bring more than one message.

use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::{BufRingEntry, Fd};
use ::io_uring::{IoUring, cqueue, opcode};

use super::Stage;
use super::io_uring::{await_completion, ring};
use super::log::bump;
use super::shared::buffer;
use super::sys::{Stop, errno};

/// Number of buffers, a power of two: more than the messages that may be on their way, so that the kernel finds a free
/// one when it asks for the next message.
const BUFFERS: u16 = 32;
/// Bytes of the ring of buffers: one page.
const PAGE: usize = 4096;

/// Runs the loop, on the first connection.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let recorder = stage.recorder;
    let inbox = &mut stage.inboxes[0];
    // Declared before the ring, so unmapped after the ring is closed.
    let mut pool = Pool::new(stage.spec.size)?;
    let mut ring = ring(stage.spec, usize::from(BUFFERS))?;
    pool.register(&ring)?;
    stage.peer.go();
    inbox.want_ns = recorder.wants_now();
    let mut over = true;
    while !recorder.done() {
        if over {
            let request = opcode::RecvMulti::new(Fd(inbox.fd), 0).build();
            bump(&recorder.live.submitted);
            // SAFETY: the request names no memory; the buffers are valid until the ring is closed.
            unsafe { ring.submission().push(&request) }
                .map_err(|_| Stop::Call("io_uring submission", libc::EBUSY))?;
            over = false;
        }
        await_completion(stage.spec, recorder, &mut ring)?;
        for completion in ring.completion().take_while(|_| !recorder.done()) {
            let (result, flags) = (completion.result(), completion.flags());
            over |= !cqueue::more(flags);
            // All buffers were in use, which ends the request. No data is lost.
            if result == -libc::ENOBUFS {
                continue;
            }
            bump(&recorder.live.completed);
            let bytes = usize::try_from(result).map_err(|_| Stop::Call("the multishot receive", -result))?;
            let had = inbox.add(recorder, inbox.want_ns, bytes)?;
            if let Some(id) = cqueue::buffer_select(flags) {
                pool.give(id);
            }
            if had.is_some() {
                inbox.want_ns = recorder.wants_now();
            }
        }
    }
    Ok(())
}

/// The buffers, and the ring through which the kernel gets them.
struct Pool {
    ring: *mut BufRingEntry,
    buffers: Vec<Vec<u8>>,
    tail: u16,
}

impl Pool {
    fn new(size: u64) -> Result<Self, Stop> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address the kernel chooses.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Stop::Call("mmap of the ring of buffers", errno()));
        }
        let buffers = (0..BUFFERS).map(|_| buffer(size)).collect();
        let mut pool = Self { ring: page.cast(), buffers, tail: 0 };
        (0..BUFFERS).for_each(|id| pool.give(id));
        Ok(pool)
    }

    fn register(&self, ring: &IoUring) -> Result<(), Stop> {
        // SAFETY: a page with room for the entries, and it outlives the ring.
        let done = unsafe { ring.submitter().register_buf_ring_with_flags(self.ring as u64, BUFFERS, 0, 0) };
        done.map_err(|error| {
            Stop::Lacking("registering a ring of buffers", error.raw_os_error().unwrap_or(libc::EIO))
        })
    }

    /// Hands the buffer `id` to the kernel.
    fn give(&mut self, id: u16) {
        let Some(buffer) = self.buffers.get_mut(usize::from(id)) else { return };
        let place = usize::from(self.tail % BUFFERS);
        // SAFETY: the page has room for all entries, and the kernel reads only those before the tail.
        let entry = unsafe { &mut *self.ring.add(place) };
        entry.set_addr(buffer.as_mut_ptr() as u64);
        entry.set_len(buffer.len() as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the page, in bytes of the first entry that nothing else uses.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and the ring that knew of it is closed, see `run`.
        unsafe { libc::munmap(self.ring.cast(), PAGE) };
    }
}
