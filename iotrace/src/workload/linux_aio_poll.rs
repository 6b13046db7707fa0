//! Linux native AIO for readiness: `io_submit` with `IOCB_CMD_POLL`, then `recv`.
//!
//! ```text
//! io_setup(n, &context)
//! io_submit(context, n, {POLL, fd, POLLIN} for each fd)
//! until all messages are there:
//!     meanwhile compute:  own work until the completion ring, which is in user space, has something
//!     n = io_getevents(context, 1, ...)                         meanwhile wait: phase 1
//!     for each event:  recv(fd, ...)                            phase 2
//!     io_submit(context, n, {POLL, fd, POLLIN} for each of them)
//! ```
//!
//! io_submit(2), io_getevents(2); since Linux 4.18. A request reports once: `aio_poll` in fs/aio.c waits on
//! the file's wait queue, `aio_poll_wake` completes the request in the context of the waker.

use super::Stage;
use super::linux_aio::{Context, Event, block};
use super::log::{Recorder, bump};
use super::reader::{Inbox, Reader, Took};
use super::sys::{Stop, own_work};
use iotrace_core::domain::model::Meanwhile;

/// `IOCB_CMD_POLL` of linux/aio_abi.h.
const IOCB_CMD_POLL: u16 = 5;
/// Most events that one `io_getevents` returns.
const EVENTS: usize = 64;

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let recorder = stage.recorder;
    let computes = stage.spec.meanwhile == Some(Meanwhile::Compute);
    let inboxes = &mut stage.inboxes;
    let mut blocks: Vec<libc::iocb> = inboxes
        .iter()
        .zip(0..)
        .map(|(inbox, index)| {
            let mut block = block(inbox.fd, IOCB_CMD_POLL, index);
            block.aio_buf = libc::POLLIN as u64;
            block
        })
        .collect();
    let mut reader = Reader::new(recorder);
    let mut arm: Vec<usize> = (0..inboxes.len()).collect();
    let mut pointers = Vec::with_capacity(inboxes.len());
    let mut events = [Event::default(); EVENTS];
    // Declared last, so destroyed first: no request outlives its block.
    let context = Context::new(inboxes.len() as u32)?;
    if computes && !context.has_ring() {
        return Err(Stop::Lacking(
            "looking at the completion ring (struct aio_ring) in user space",
            libc::ENOTSUP,
        ));
    }
    stage.peer.go();
    submit(recorder, &context, inboxes, &mut blocks, &mut pointers, &mut arm)
        .map_err(|stop| if let Stop::Call(_, libc::EINVAL) = stop { no_poll() } else { stop })?;
    while !recorder.done() {
        if computes {
            while !context.has_completion() {
                own_work(1);
                bump(&recorder.live.units);
            }
        }
        let taken = context.wait(&mut events)?;
        for event in events[..taken].iter().take_while(|_| !recorder.done()) {
            bump(&recorder.live.completed);
            if event.result < 0 {
                return Err(Stop::Call("IOCB_CMD_POLL", -event.result as i32));
            }
            let index = event.data as usize;
            let inbox = &mut inboxes[index];
            let want_ns = inbox.want_ns;
            let had = match reader.receive(inbox, want_ns)? {
                Took::Whole(have_ns) => Some(have_ns),
                Took::Part | Took::Nothing => None,
            };
            if inbox.wants_another(recorder, had) {
                arm.push(index);
            }
        }
        submit(recorder, &context, inboxes, &mut blocks, &mut pointers, &mut arm)?;
    }
    Ok(())
}

/// Submits the requests of the connections in `arm`, all in one call, and empties `arm`.
fn submit(
    recorder: &Recorder,
    context: &Context,
    inboxes: &mut [Inbox],
    blocks: &mut [libc::iocb],
    pointers: &mut Vec<*mut libc::iocb>,
    arm: &mut Vec<usize>,
) -> Result<(), Stop> {
    if arm.is_empty() {
        return Ok(());
    }
    let base = blocks.as_mut_ptr();
    pointers.clear();
    let now_ns = recorder.wants_now();
    for index in arm.drain(..) {
        inboxes[index].request(recorder, now_ns);
        // SAFETY: there is one block for each connection.
        pointers.push(unsafe { base.add(index) });
    }
    // SAFETY: the blocks outlive the context, see `run`; a poll request has no buffer.
    unsafe { context.submit(pointers) }
}

fn no_poll() -> Stop {
    Stop::Lacking("io_submit with IOCB_CMD_POLL (since Linux 4.18)", libc::EINVAL)
}
