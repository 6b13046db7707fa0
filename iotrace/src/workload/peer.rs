//! The sender: a process of its own, so that its calls and its CPU time are not the reader's.
//!
//! It sends on an open-loop schedule: the time of message k depends on k alone, never on how long
//! earlier ones took, so that a slow reader cannot hide its delays. Only when the reader falls too far
//! behind does the peer wait for it, so that nothing is ever dropped (udp) and an interval of 0 means
//! "as fast as the reader takes them". Both sides meet in a shared anonymous mapping, which needs no
//! system call in the reader's loop.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::reader::buffer;
use super::sys::{
    die_with_parent, errno, io_failure, nanosleep, now_ns, pin, set_name, sleep_until, two_cpus,
};
use iotrace_core::domain::model::Transport;
use iotrace_core::domain::spec::{Failure, Spec};

/// Time between two calibration messages.
const CALIBRATION_INTERVAL_NS: u64 = 200_000;
/// How long the peer sleeps before it looks again whether the reader has caught up.
const CATCH_UP_NS: u64 = 30_000;
/// Messages that may be under way at once.
const MESSAGES_AHEAD: u64 = 16;
/// Bytes of datagrams that may be under way at once. A datagram is accounted with up to about twice its
/// bytes (`truesize`), and the usual receive buffer is 212992 bytes (net.core.rmem_default).
const DATAGRAM_BYTES_AHEAD: u64 = 64 * 1024;
/// Bytes of a stream that may be under way at once; what does not fit makes the sender wait, not lose.
const STREAM_BYTES_AHEAD: u64 = 1024 * 1024;

/// What both processes see.
#[repr(C)]
struct Header {
    /// The reader is in its loop.
    go: AtomicU32,
    /// errno of the peer's failure, 0 while all is well.
    error: AtomicI32,
    /// Messages received, on a cache line that the peer only reads.
    received: Received,
}

#[repr(align(64))]
struct Received(AtomicU64);

/// When one message was sent: right before and right after the call.
#[repr(C)]
struct Sent {
    before_ns: AtomicU64,
    after_ns: AtomicU64,
}

/// The mapping that reader and peer share; both keep it until they end.
#[derive(Debug)]
pub struct Shared {
    base: NonNull<Header>,
    total: u64,
}

// SAFETY: everything in the mapping is atomic, and it is unmapped only when `Shared` is dropped.
unsafe impl Sync for Shared {}

impl Shared {
    /// A mapping with room for `total` messages.
    pub fn new(total: u64) -> Result<Shared, Failure> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new anonymous mapping at an address the kernel chooses.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), Self::length(total), protection, flags, -1, 0)
        };
        match NonNull::new(base) {
            Some(start) if base != libc::MAP_FAILED => Ok(Shared { base: start.cast(), total }),
            _ => Err(io_failure("mmap of the memory shared with the sender", &io::Error::last_os_error())),
        }
    }

    fn length(total: u64) -> usize {
        size_of::<Header>() + total as usize * size_of::<Sent>()
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping is live, zeroed at first, and all-zero is a valid header.
        unsafe { self.base.as_ref() }
    }

    fn slot(&self, index: u64) -> &Sent {
        assert!(index < self.total, "message {index} of {}", self.total);
        // SAFETY: the slots begin behind the header and `index` is in bounds, see `length`.
        unsafe { self.base.add(1).cast::<Sent>().add(index as usize).as_ref() }
    }

    /// Messages the reader has received.
    pub fn received(&self) -> u64 {
        self.header().received.0.load(Ordering::Acquire)
    }

    /// One more received.
    pub fn add_received(&self) {
        self.header().received.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Right before and right after message `index` was sent.
    pub fn sent(&self, index: u64) -> (u64, u64) {
        let slot = self.slot(index);
        (slot.before_ns.load(Ordering::Acquire), slot.after_ns.load(Ordering::Acquire))
    }

    /// Why the peer failed, if it did.
    pub fn error(&self) -> Option<io::Error> {
        let error = self.header().error.load(Ordering::Acquire);
        (error != 0).then(|| io::Error::from_raw_os_error(error))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::length(self.total)) };
    }
}

/// The sending process, killed and reaped when dropped.
#[derive(Debug)]
pub struct Peer<'a> {
    pid: libc::pid_t,
    reaped: bool,
    shared: &'a Shared,
}

impl<'a> Peer<'a> {
    /// Forks the peer, which sends over `senders`; `not_its_own` are descriptors it must close, so
    /// that an end of file means what it should on either side.
    ///
    /// To be called before the process has any other thread: the child goes on running Rust code.
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// The reader is about to enter its loop: the schedule may begin.
    pub fn go(&self) {
        self.shared.header().go.store(1, Ordering::Release);
    }

    /// Ends the peer early, which closes its ends of the connections.
    pub fn kill(&self) {
        if !self.reaped {
            // SAFETY: the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }

    /// Waits for the peer to end. It does once the reader has everything, or is killed.
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

/// The life of the peer.
fn send_all(spec: &Spec, shared: &Shared, senders: &[OwnedFd]) {
    set_name(c"iotrace-peer");
    // The default slack of 50 us would make every send late, PR_SET_TIMERSLACK in prctl(2).
    // SAFETY: takes its argument by value.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    if let Some((_, other)) = spec.tuning.cpu.and_then(|cpu| two_cpus(Some(cpu as usize))) {
        // If it cannot keep off the reader's CPU, it is merely slower.
        let _ = pin(other as usize);
    }
    let message = buffer(spec.size);
    let header = shared.header();
    while header.go.load(Ordering::Acquire) == 0 {
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
            // What was late before counting must not squeeze what is counted.
            start_ns += now_ns().saturating_sub(due_ns);
        }
        let slot = shared.slot(index);
        let fd = senders[spec.connection_of(index) as usize].as_raw_fd();
        slot.before_ns.store(now_ns(), Ordering::Release);
        let sent = send(spec.transport, fd, &message[..spec.size_of(index) as usize]);
        slot.after_ns.store(now_ns(), Ordering::Release);
        if let Err(error) = sent {
            // Ending closes the connections, so a reader of a stream or pipe sees the end of file.
            header.error.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Release);
            return;
        }
    }
    // Stays until the reader has everything: its end would make every connection readable.
    while shared.received() < total {
        nanosleep(CATCH_UP_NS);
    }
}

/// When message `index` is due, in ns after the schedule began.
fn due_after_ns(spec: &Spec, index: u64) -> u64 {
    let calibration = index.min(spec.calibration) * CALIBRATION_INTERVAL_NS;
    calibration.saturating_add((index - index.min(spec.calibration)).saturating_mul(spec.interval_ns))
}

/// How many messages the reader must have before message `index` may be sent.
///
/// The first counted message waits for all before it: what is counted then begins with nothing under way.
fn received_before(spec: &Spec, index: u64) -> u64 {
    let uncounted = spec.calibration + spec.warmup;
    let ahead = match spec.transport {
        Transport::Udp => (DATAGRAM_BYTES_AHEAD / spec.size).clamp(1, MESSAGES_AHEAD),
        _ => (STREAM_BYTES_AHEAD / spec.size).clamp(2, MESSAGES_AHEAD),
    };
    let window = (index + 1).saturating_sub(ahead);
    if index >= uncounted { window.max(uncounted) } else { window }
}

/// Sends all of `bytes`: one call where the transport takes them at once.
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

    #[test]
    fn shared_memory_begins_empty() {
        let shared = Shared::new(3).unwrap();
        assert_eq!((shared.received(), shared.sent(2)), (0, (0, 0)));
        assert!(shared.error().is_none());
        shared.add_received();
        assert_eq!(shared.received(), 1);
    }
}
