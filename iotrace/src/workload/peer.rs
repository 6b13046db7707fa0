//! The sender. It is a process of its own, so that its calls and its CPU time are not counted as the reader's.
//!
//! It sends on an open-loop schedule: the time of message k depends on k alone, not on how long earlier messages
//! took, so that a slow reader cannot hide its delays. The peer waits only if the reader falls too far behind, so
//! that no datagram is dropped and an interval of 0 means "as fast as the reader reads".

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use super::shared::{Shared, buffer};
use super::sys::{
    die_with_parent, errno, io_failure, nanosleep, now_ns, pin, set_name, sleep_until, two_cpus,
};
use iotrace_core::domain::model::Transport;
use iotrace_core::domain::spec::{Failure, Spec};

/// Time between two calibration messages, ns.
const CALIBRATION_INTERVAL_NS: u64 = 200_000;
/// Time that the peer sleeps before it checks again whether the reader has caught up, ns.
const CATCH_UP_NS: u64 = 30_000;
/// Most messages that may be sent and not yet received.
const MESSAGES_AHEAD: u64 = 16;
/// Most bytes of datagrams that may be sent and not yet received. A datagram is accounted with up to about twice its
/// bytes (`truesize`), and the usual receive buffer is 212992 bytes (net.core.rmem_default).
const DATAGRAM_BYTES_AHEAD: u64 = 64 * 1024;
/// Most bytes of a stream that may be sent and not yet received. A full stream makes the sender wait; nothing is lost.
const STREAM_BYTES_AHEAD: u64 = 1024 * 1024;

/// The sending process, killed and reaped when dropped.
#[derive(Debug)]
pub struct Peer<'a> {
    pid: libc::pid_t,
    reaped: bool,
    shared: &'a Shared,
}

impl<'a> Peer<'a> {
    /// Forks the peer, which sends over `senders`. It closes the descriptors `not_its_own`, because a connection ends
    /// only when the last descriptor of its other end is closed.
    ///
    /// Call it before the process has another thread: the child goes on running Rust code.
    ///
    /// # Errors
    /// `fork(2)` failed.
    pub fn start(
        spec: &Spec,
        shared: &'a Shared,
        senders: Vec<OwnedFd>,
        not_its_own: &[RawFd],
    ) -> Result<Peer<'a>, Failure> {
        // SAFETY: getpid(2) cannot fail.
        let reader = unsafe { libc::getpid() };
        // SAFETY: the process has one thread, so the child finds every lock free.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io_failure("fork of the sender", &io::Error::last_os_error())),
            0 => {
                if die_with_parent(reader) {
                    for &fd in not_its_own {
                        // SAFETY: the child ends in `_exit`, so no owner closes these a second time.
                        unsafe { libc::close(fd) };
                    }
                    send_all(spec, shared, &senders);
                }
                // SAFETY: `_exit` runs nothing of the reader's (destructors, buffers) in the child.
                unsafe { libc::_exit(0) }
            }
            _ => Ok(Peer { pid, reaped: false, shared }),
        }
    }

    /// The process id of the peer.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Lets the schedule begin: the reader is about to enter its loop.
    pub fn go(&self) {
        self.shared.begin();
    }

    /// Kills the peer, which closes its ends of the connections.
    pub fn kill(&self) {
        if !self.reaped {
            // SAFETY: the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }

    /// Waits for the peer to end: it ends when the reader has received all messages, or when it was killed.
    pub fn reap(&mut self) {
        while !self.reaped {
            // SAFETY: waits for a child of this process; the status is not asked for.
            let pid = unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
            self.reaped = pid == self.pid || errno() != libc::EINTR;
        }
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

/// The life of the peer: sends every message on its schedule, then waits until all have been received.
fn send_all(spec: &Spec, shared: &Shared, senders: &[OwnedFd]) {
    set_name(c"iotrace-peer");
    // The default slack of 50 us would make every send late, PR_SET_TIMERSLACK in prctl(2).
    // SAFETY: takes its argument by value.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    if let Some((_, other)) = spec.tuning.cpu.and_then(|cpu| two_cpus(Some(cpu as usize))) {
        // A failure is ignored: a peer on the CPU of the reader is slower, but works.
        let _ = pin(other as usize);
    }
    let message = buffer(spec.size);
    while !shared.has_begun() {
        nanosleep(CATCH_UP_NS);
    }
    let mut start_ns = now_ns() + 1_000_000;
    let total = spec.total_messages();
    for index in 0..total {
        let due_ns = start_ns + due_after_ns(spec, index);
        if now_ns() < due_ns {
            sleep_until(due_ns);
        }
        let allowed = received_before(spec, index);
        while shared.received() < allowed {
            nanosleep(CATCH_UP_NS);
        }
        if index == spec.calibration + spec.warmup {
            // A delay of the uncounted messages moves the schedule, or the first counted messages would follow each
            // other too quickly.
            start_ns += now_ns().saturating_sub(due_ns);
        }
        let slot = shared.slot(index);
        let fd = senders[spec.connection_of(index) as usize].as_raw_fd();
        slot.before_ns.store(now_ns(), Ordering::Release);
        let sent = send(spec.transport, fd, &message[..spec.size_of(index) as usize]);
        slot.after_ns.store(now_ns(), Ordering::Release);
        if let Err(error) = sent {
            // The end of this process closes the connections, so the reader of a stream or pipe sees the end of file.
            shared.fail(error.raw_os_error().unwrap_or(libc::EIO));
            return;
        }
    }
    // The end of this process makes every connection readable, so it waits until the reader has received all.
    while shared.received() < total {
        nanosleep(CATCH_UP_NS);
    }
}

/// The time at which message `index` is due, in ns after the schedule began.
fn due_after_ns(spec: &Spec, index: u64) -> u64 {
    let calibration = index.min(spec.calibration) * CALIBRATION_INTERVAL_NS;
    calibration.saturating_add((index - index.min(spec.calibration)).saturating_mul(spec.interval_ns))
}

/// Number of messages that the reader must have received before message `index` may be sent.
///
/// The first counted message waits for all messages before it, so that no uncounted message is still on its way.
fn received_before(spec: &Spec, index: u64) -> u64 {
    let uncounted = spec.calibration + spec.warmup;
    let ahead = match spec.transport {
        Transport::Udp => (DATAGRAM_BYTES_AHEAD / spec.size).clamp(1, MESSAGES_AHEAD),
        _ => (STREAM_BYTES_AHEAD / spec.size).clamp(2, MESSAGES_AHEAD),
    };
    let window = (index + 1).saturating_sub(ahead);
    if index >= uncounted { window.max(uncounted) } else { window }
}

/// Sends all of `bytes`, in one call if the transport takes them at once.
fn send(transport: Transport, fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: `rest` is valid to read for its length, and the descriptor is open.
        let sent = unsafe {
            if transport.is_socket() {
                libc::send(fd, rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL)
            } else {
                libc::write(fd, rest.as_ptr().cast(), rest.len())
            }
        };
        match sent {
            0.. => rest = &rest[sent as usize..],
            _ if errno() == libc::EINTR => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::refuse::tests::spec;
    use super::*;

    #[test]
    fn the_schedule_is_open_loop_and_calibration_has_its_own_pace() {
        let spec = Spec { calibration: 2, warmup: 1, interval_ns: 7, ..spec() };
        let due: Vec<_> = (0..5).map(|index| due_after_ns(&spec, index)).collect();
        assert_eq!(due, [0, 200_000, 400_000, 400_007, 400_014]);
    }

    #[test]
    fn never_more_under_way_than_a_receive_buffer_holds() {
        let small = Spec { calibration: 0, warmup: 0, size: 1, ..spec() };
        assert_eq!(received_before(&small, 0), 0);
        assert_eq!(received_before(&small, 15), 0);
        assert_eq!(received_before(&small, 16), 1);
        let large = Spec { size: 65_000, ..small.clone() };
        assert_eq!(received_before(&large, 1), 1);
        let stream = Spec { size: 64 << 20, transport: Transport::Tcp, ..small };
        assert_eq!((received_before(&stream, 1), received_before(&stream, 2)), (0, 1));
    }

    #[test]
    fn the_first_counted_message_waits_for_all_before_it() {
        let spec = Spec { calibration: 2, warmup: 3, ..spec() };
        assert_eq!(received_before(&spec, 4), 0);
        assert_eq!(received_before(&spec, 5), 5);
        assert_eq!(received_before(&spec, 6), 5);
    }
}
