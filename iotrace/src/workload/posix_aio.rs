//! POSIX AIO as glibc does it: `aio_read` hands the request to a helper thread, which reads blockingly.
//!
//! ```text
//! for each fd:  aio_read(request)                               SIGEV_NONE: no notification
//! until all messages are there:
//!     meanwhile compute:  own work until aio_error(request) != EINPROGRESS      no system call
//!     meanwhile wait:     aio_suspend(requests, n, NULL)                        a futex wait
//!     n = aio_return(request);  aio_read(request) for what comes next
//! ```
//!
//! aio(7), aio_read(3), aio_suspend(3). The kernel has no part in this: the helper thread tries `pread64`, gets
//! `ESPIPE` from a socket or pipe, and calls `read`. So both phases block a thread, but the helper. A request on a
//! connection without traffic keeps its helper for ever, so `aio_init` makes room for one helper per connection.

use std::ptr;

use super::Stage;
use super::log::{Recorder, bump};
use super::reader::{Inbox, buffers};
use super::sys::{Stop, errno, own_work};
use iotrace_core::domain::model::Meanwhile;

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let recorder = stage.recorder;
    let waits = stage.spec.meanwhile == Some(Meanwhile::Wait);
    let inboxes = &mut stage.inboxes;
    // Leaked on purpose: a request on a connection without traffic never ends, and glibc cannot cancel it
    // (AIO_NOTCANCELED), so its control block and buffer must live as long as the process.
    let buffers = buffers(recorder, inboxes).leak();
    let blocks = (0..inboxes.len()).map(|_| new_block()).collect::<Vec<_>>().leak();
    // The requests that have not completed; null for a connection without one, which aio_suspend skips.
    let mut pending: Vec<*const libc::aiocb> = vec![ptr::null(); inboxes.len()];
    want_helpers(inboxes.len());
    stage.peer.go();
    for index in 0..inboxes.len() {
        pending[index] = start(recorder, &mut inboxes[index], &mut blocks[index], &mut buffers[index])?;
    }
    while !recorder.done() {
        if waits {
            suspend(&pending)?;
        }
        let mut nothing = true;
        for index in (0..inboxes.len()).take_while(|_| !recorder.done()) {
            let Some(result) = finished(pending[index]) else { continue };
            nothing = false;
            bump(&recorder.live.completed);
            pending[index] = ptr::null();
            if inboxes[index].completed(recorder, result, "aio_read")? {
                pending[index] =
                    start(recorder, &mut inboxes[index], &mut blocks[index], &mut buffers[index])?;
            }
        }
        if nothing && !waits {
            own_work(1);
            bump(&recorder.live.units);
        }
    }
    Ok(())
}

fn new_block() -> libc::aiocb {
    // SAFETY: all-zero is a valid aiocb that was never used.
    let mut block: libc::aiocb = unsafe { std::mem::zeroed() };
    block.aio_sigevent.sigev_notify = libc::SIGEV_NONE;
    block
}

/// `aio_read` for the rest of the connection's message.
fn start(
    recorder: &Recorder,
    inbox: &mut Inbox,
    block: &mut libc::aiocb,
    buffer: &mut [u8],
) -> Result<*const libc::aiocb, Stop> {
    block.aio_fildes = inbox.fd;
    block.aio_nbytes = inbox.room(recorder);
    block.aio_buf = buffer[inbox.got as usize..].as_mut_ptr().cast();
    let block = ptr::from_mut(block);
    let now_ns = recorder.wants_now();
    inbox.request(recorder, now_ns);
    // SAFETY: control block and buffer live as long as the process, and no other request uses them.
    if unsafe { libc::aio_read(block) } == 0 {
        return Ok(block);
    }
    Err(if errno() == libc::ENOSYS {
        Stop::Lacking("aio_read", libc::ENOSYS)
    } else {
        Stop::call("aio_read")
    })
}

/// Bytes or `-errno` of a request if it has finished. Makes no system call.
fn finished(block: *const libc::aiocb) -> Option<i64> {
    if block.is_null() {
        return None;
    }
    // SAFETY: the block belongs to a request that was handed over and whose result was not yet taken.
    unsafe {
        match libc::aio_error(block) {
            libc::EINPROGRESS => None,
            0 => Some(libc::aio_return(block.cast_mut()) as i64),
            error => {
                libc::aio_return(block.cast_mut());
                Some(-i64::from(error))
            }
        }
    }
}

/// Sleeps until one of the requests has finished.
fn suspend(pending: &[*const libc::aiocb]) -> Result<(), Stop> {
    // SAFETY: every entry is null or a request that was handed over; without a timeout.
    while unsafe { libc::aio_suspend(pending.as_ptr(), pending.len() as libc::c_int, ptr::null()) } != 0 {
        if errno() != libc::EINTR {
            return Err(Stop::call("aio_suspend"));
        }
    }
    Ok(())
}

/// Lets glibc make `number` helper threads instead of its usual 20, aio_init(3).
#[cfg(target_env = "gnu")]
fn want_helpers(number: usize) {
    /// `struct aioinit` of glibc's aio.h.
    #[repr(C)]
    struct AioInit {
        threads: libc::c_int,
        requests: libc::c_int,
        unused: [libc::c_int; 4],
        idle_seconds: libc::c_int,
        reserved: libc::c_int,
    }
    unsafe extern "C" {
        fn aio_init(init: *const AioInit);
    }
    if number > 1 {
        let number = number as libc::c_int;
        let init =
            AioInit { threads: number, requests: number, unused: [0; 4], idle_seconds: 0, reserved: 0 };
        // SAFETY: `init` is a valid aioinit, only read during the call.
        unsafe { aio_init(&raw const init) };
    }
}

/// Other C libraries start a thread for each request anyway.
#[cfg(not(target_env = "gnu"))]
fn want_helpers(_: usize) {}
