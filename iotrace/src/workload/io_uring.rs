//! `io_uring(7)`: a receive request in the submission ring, its result in the completion ring.
//!
//! ```text
//! for each fd:  put RECV (sockets) or READ (pipes) into the submission ring
//! until all messages are there:
//!     meanwhile compute:  io_uring_enter(submit);  own work until the completion ring has something
//!     meanwhile wait:     io_uring_enter(submit, wait for 1)
//!     take the completions, put the next request for each
//! sqpoll: the kernel's thread takes the requests by itself; enter is called only to wake that thread after it
//! has gone to sleep, or to wait
//! ```
//!
//! io_uring_setup(2), io_uring_enter(2). With the default set-up the submitting thread makes the copy, in task work
//! (`io_poll_task_func`): inside enter, or when an interrupt stops its own work. With `IORING_SETUP_SQPOLL` the
//! kernel's SQ thread makes it. That thread does not sleep while there is work, so it gets a CPU of its own if there
//! are two (`IORING_SETUP_SQ_AFF`): on one CPU it and a reader that computes would wait for each other's time slices.

use std::fs;
use std::io;

use ::io_uring::{IoUring, opcode, squeue, types};

use super::Stage;
use super::log::{Recorder, bump};
use super::reader::{Inbox, buffers};
use super::sys::{self, Stop, failure, own_work};
use iotrace_core::domain::model::{Meanwhile, Model};
use iotrace_core::domain::spec::{Failure, Ring, Spec};

/// Time that the kernel's SQ thread polls for requests before it sleeps, ms: longer than usual intervals.
const SQ_IDLE_MS: u32 = 2_000;

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let recorder = stage.recorder;
    let inboxes = &mut stage.inboxes;
    let mut buffers = buffers(recorder, inboxes);
    let mut arm: Vec<usize> = (0..inboxes.len()).collect();
    // Declared after the buffers, so that the ring is closed before they are freed. A request that is still open then
    // belongs to a connection without traffic, where no byte arrives.
    let mut ring = ring(stage.spec, inboxes.len())?;
    stage.peer.go();
    put(recorder, &mut ring, inboxes, &mut buffers, &mut arm)?;
    while !recorder.done() {
        await_completion(stage.spec, recorder, &mut ring)?;
        for completion in ring.completion().take_while(|_| !recorder.done()) {
            bump(&recorder.live.completed);
            let index = completion.user_data() as usize;
            if inboxes[index].completed(recorder, completion.result().into(), "the io_uring request")? {
                arm.push(index);
            }
        }
        put(recorder, &mut ring, inboxes, &mut buffers, &mut arm)?;
    }
    Ok(())
}

/// Submits the requests in the submission ring, and waits or does own work until one has completed.
///
/// # Errors
/// `io_uring_enter` failed with another errno than `EINTR`.
pub(super) fn await_completion(spec: &Spec, recorder: &Recorder, ring: &mut IoUring) -> Result<(), Stop> {
    const GETEVENTS: u32 = 1;
    if spec.meanwhile == Some(Meanwhile::Wait) {
        return entered(ring.submit_and_wait(1));
    }
    if !ring.submission().is_empty() {
        entered(ring.submit())?;
    }
    // With these rings the kernel carries out task work, and moves completions that found the ring full, only in a call
    // of this thread.
    let asks = matches!(spec.tuning.ring, Ring::Coop | Ring::Defer | Ring::Multishot);
    while ring.completion().is_empty() {
        if asks && pending(ring) {
            // SAFETY: no signal mask is handed over.
            entered(unsafe { ring.submitter().enter::<libc::sigset_t>(0, 0, GETEVENTS, None) })?;
        } else {
            own_work(1);
            bump(&recorder.live.units);
        }
    }
    Ok(())
}

/// Whether the kernel has work for this thread that waits for a call (IORING_SQ_TASKRUN, IORING_SQ_CQ_OVERFLOW).
fn pending(ring: &mut IoUring) -> bool {
    let submission = ring.submission();
    submission.taskrun() || submission.cq_overflow()
}

/// Puts requests for the connections in `arm` into the submission ring, and empties `arm`.
fn put(
    recorder: &Recorder,
    ring: &mut IoUring,
    inboxes: &mut [Inbox],
    buffers: &mut [Vec<u8>],
    arm: &mut Vec<usize>,
) -> Result<(), Stop> {
    if arm.is_empty() {
        return Ok(());
    }
    // Read before the requests become visible, because the kernel's SQ thread may take them at once.
    let now_ns = recorder.wants_now();
    let mut submission = ring.submission();
    for index in arm.drain(..) {
        let inbox = &mut inboxes[index];
        let entry = receive(recorder, inbox, &mut buffers[index]).user_data(index as u64);
        inbox.request(recorder, now_ns);
        // SAFETY: the buffer is valid until the ring is closed, see `run`; one request at a time uses it.
        unsafe { submission.push(&entry) }.map_err(|_| Stop::Call("io_uring submission", libc::EBUSY))?;
    }
    Ok(())
}

/// The request for the rest of the message of a connection.
fn receive(recorder: &Recorder, inbox: &Inbox, buffer: &mut [u8]) -> squeue::Entry {
    let to = buffer[inbox.got as usize..].as_mut_ptr();
    let (fd, room) = (types::Fd(inbox.fd), inbox.room(recorder) as u32);
    let entry = if inbox.socket {
        opcode::Recv::new(fd, to, room).build()
    } else {
        // -1: at the current position, the only one a pipe has.
        opcode::Read::new(fd, to, room).offset(u64::MAX).build()
    };
    if recorder.spec.tuning.ring == Ring::Async { entry.flags(squeue::Flags::ASYNC) } else { entry }
}

fn entered(result: io::Result<usize>) -> Result<(), Stop> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(Stop::Call("io_uring_enter", error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// A ring with room for one request for each connection.
///
/// # Errors
/// The kernel refused the ring, or the CPU of the reader.
pub(super) fn ring(spec: &Spec, connections: usize) -> Result<IoUring, Stop> {
    let mut builder = IoUring::builder();
    if spec.model == Model::IoUringSqpoll {
        builder.setup_sqpoll(SQ_IDLE_MS);
        if let Some((own, other)) = sys::two_cpus(spec.tuning.cpu.map(|cpu| cpu as usize)) {
            sys::pin(own).map_err(|errno| Stop::Call("sched_setaffinity", errno))?;
            builder.setup_sqpoll_cpu(other);
        }
    }
    match spec.tuning.ring {
        Ring::Plain | Ring::Async | Ring::Multishot => {}
        Ring::Coop => {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }
        Ring::Defer => {
            builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        }
    }
    let entries = (connections as u32).next_power_of_two().max(8);
    builder.build(entries).map_err(|error| Stop::NoRing(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// The failure for a ring that the kernel refused: the sysctl, a seccomp filter, a kernel without io_uring, or a limit.
pub(super) fn no_ring(spec: &Spec, errno: i32) -> Failure {
    let sysctl = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    no_ring_text(spec.model, errno, sysctl.as_deref().map(str::trim))
}

fn no_ring_text(model: Model, errno: i32, sysctl: Option<&str>) -> Failure {
    let reason = io::Error::from_raw_os_error(errno);
    match (errno, sysctl) {
        (libc::EPERM, Some(value @ ("1" | "2"))) => failure(
            "io_uring_disabled",
            format_args!(
                "{model} is not available here: io_uring_setup failed: {reason}, because sysctl \
                 kernel.io_uring_disabled is {value} ({}); set it to 0 (`sysctl kernel.io_uring_disabled=0` as root), \
                 the other models still work",
                if value == "1" {
                    "allowed only with CAP_SYS_ADMIN or in kernel.io_uring_group"
                } else {
                    "allowed for no process"
                }
            ),
        ),
        (libc::EPERM | libc::ENOSYS, _) => failure(
            "io_uring_disabled",
            format_args!(
                "{model} is not available here: io_uring_setup failed: {reason}; kernel.io_uring_disabled is {}, so \
                 either a seccomp filter forbids it (containers do), or the kernel lacks it (CONFIG_IO_URING, Linux \
                 5.6; sqpoll without privileges 5.11); the other models still work",
                sysctl.unwrap_or("absent")
            ),
        ),
        (libc::ENOMEM, _) => failure(
            "io",
            format_args!(
                "io_uring_setup failed: {reason}; before Linux 5.12 rings count against the limit on locked memory: \
                 raise it (`ulimit -l`), or use fewer connections"
            ),
        ),
        _ => failure("io", format_args!("io_uring_setup of the {model} workload failed: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sysctl_is_named_with_its_value() {
        let failure = no_ring_text(Model::IoUring, libc::EPERM, Some("2"));
        assert_eq!(failure.code, "io_uring_disabled");
        assert!(failure.text.contains("kernel.io_uring_disabled is 2"), "{}", failure.text);
    }

    #[test]
    fn a_seccomp_filter_is_suspected_where_the_sysctl_allows_it() {
        for (errno, sysctl) in [(libc::EPERM, Some("0")), (libc::ENOSYS, None)] {
            let failure = no_ring_text(Model::IoUringSqpoll, errno, sysctl);
            assert_eq!(failure.code, "io_uring_disabled");
            assert!(failure.text.contains("seccomp"), "{}", failure.text);
        }
        assert_eq!(no_ring_text(Model::IoUring, libc::EINVAL, Some("0")).code, "io");
    }
}
