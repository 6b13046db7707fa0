//! Linux native AIO on a socket or pipe: `io_submit` with `IOCB_CMD_PREAD`, `io_getevents` for the result.
//!
//! ```text
//! io_setup(1, &context)
//! for each message:
//!     io_submit(context, 1, {PREAD, fd, buf, rest of the message})
//!     io_getevents(context, 1, 1, &event)                       repeat until the message is whole
//! ```
//!
//! io_submit(2), io_getevents(2). The call is asynchronous by name only: `aio_read` in fs/aio.c calls the file's
//! `read_iter`, and that of a socket or pipe sleeps until data is there. So both phases are inside
//! `io_submit`, and a second connection would not be read before the first has data.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Stage;
use super::log::bump;
use super::shared::buffer;
use super::sys::{Stop, errno};

/// `IOCB_CMD_PREAD` of linux/aio_abi.h.
const IOCB_CMD_PREAD: u16 = 0;
/// `AIO_RING_MAGIC` of fs/aio.c.
const RING_MAGIC: u32 = 0xa10a_10a1;

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let recorder = stage.recorder;
    let mut buffer = buffer(stage.spec.size);
    let context = Context::new(1)?;
    let mut event = [Event::default()];
    stage.peer.go();
    for inbox in &mut stage.inboxes {
        let mut block = block(inbox.fd, IOCB_CMD_PREAD, 0);
        loop {
            block.aio_buf = buffer[inbox.got as usize..].as_mut_ptr() as u64;
            block.aio_nbytes = inbox.room(recorder) as u64;
            let now_ns = recorder.wants_now();
            inbox.request(recorder, now_ns);
            // SAFETY: block and buffer outlive the request, whose completion is waited for below.
            unsafe { context.submit(&mut [&raw mut block])? };
            context.wait(&mut event)?;
            bump(&recorder.live.completed);
            if !inbox.completed(recorder, event[0].result, "IOCB_CMD_PREAD")? {
                break;
            }
        }
    }
    Ok(())
}

/// A control block for `command` on `fd`; the completion returns `data`.
pub(super) fn block(fd: i32, command: u16, data: u64) -> libc::iocb {
    // SAFETY: all-zero is a valid iocb.
    let mut block: libc::iocb = unsafe { std::mem::zeroed() };
    block.aio_data = data;
    block.aio_lio_opcode = command;
    block.aio_fildes = fd as u32;
    block
}

/// `struct io_event` of linux/aio_abi.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event {
    /// `aio_data` of the request.
    pub data: u64,
    object: u64,
    /// Bytes (PREAD), ready events (POLL), or `-errno`.
    pub result: i64,
    result2: i64,
}

/// The head of `struct aio_ring` in fs/aio.c, which the kernel maps at the context's address.
#[repr(C)]
struct Ring {
    id: u32,
    nr: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compat_features: u32,
    incompat_features: u32,
    header_length: u32,
}

/// An AIO context. Dropping it destroys it, which cancels the requests that have not completed.
pub(super) struct Context(libc::c_ulong);

impl Context {
    /// `io_setup(2)` for `requests` requests at once.
    ///
    /// # Errors
    /// The kernel lacks native AIO or forbids it ([`Stop::Lacking`]), or the call failed.
    pub fn new(requests: u32) -> Result<Context, Stop> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: `context` is zero and writable, as io_setup wants it.
        if unsafe { libc::syscall(libc::SYS_io_setup, requests, &raw mut context) } == 0 {
            return Ok(Context(context));
        }
        // Kernels without CONFIG_AIO, and seccomp filters such as those of containers.
        Err(match errno() {
            error @ (libc::ENOSYS | libc::EPERM) => Stop::Lacking("io_setup", error),
            error => Stop::Call("io_setup", error),
        })
    }

    /// `io_submit(2)` of all `blocks`.
    ///
    /// # Errors
    /// The call failed with another errno than `EINTR`.
    ///
    /// # Safety
    /// Each block and its buffer must be valid until its completion was taken or the context dropped.
    pub unsafe fn submit(&self, blocks: &mut [*mut libc::iocb]) -> Result<(), Stop> {
        let mut rest = blocks;
        while !rest.is_empty() {
            // SAFETY: the caller vouches for the blocks; pointer and length are of one slice.
            let done = unsafe { libc::syscall(libc::SYS_io_submit, self.0, rest.len(), rest.as_mut_ptr()) };
            match done {
                1.. => rest = &mut rest[done as usize..],
                -1 if errno() == libc::EINTR => {}
                _ => return Err(Stop::call("io_submit")),
            }
        }
        Ok(())
    }

    /// `io_getevents(2)`: waits for at least one completion and returns how many it wrote to `events`.
    ///
    /// # Errors
    /// The call failed with another errno than `EINTR`.
    pub fn wait(&self, events: &mut [Event]) -> Result<usize, Stop> {
        loop {
            let no_timeout = ptr::null::<libc::timespec>();
            // SAFETY: pointer and length are of one slice of events.
            let done = unsafe {
                let (room, to) = (events.len(), events.as_mut_ptr());
                libc::syscall(libc::SYS_io_getevents, self.0, 1usize, room, to, no_timeout)
            };
            match done {
                1.. => return Ok(done as usize),
                -1 if errno() == libc::EINTR => {}
                _ => return Err(Stop::call("io_getevents")),
            }
        }
    }

    /// The completion ring in user space, if it has the layout that this code knows (`AIO_RING_MAGIC`).
    fn ring(&self) -> Option<&Ring> {
        // SAFETY: io_setup maps the ring, at least a page, readable at this address until io_destroy.
        let ring = unsafe { &*(self.0 as *const Ring) };
        (ring.magic == RING_MAGIC && ring.incompat_features == 0).then_some(ring)
    }

    /// Whether the completion ring can be read in user space.
    pub fn has_ring(&self) -> bool {
        self.ring().is_some()
    }

    /// Whether a completion is in the ring, without a system call. `true` if the ring cannot be read.
    pub fn has_completion(&self) -> bool {
        self.ring().is_none_or(|ring| ring.head.load(Ordering::Relaxed) != ring.tail.load(Ordering::Acquire))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context was made by io_setup and is destroyed once.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}
