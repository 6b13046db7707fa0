//! Records of io_uring requests.

use super::Head;

/// What happened to an io_uring request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum UringEvent {
    /// Taken from the SQ.
    Submit = 1,
    /// The kernel polls its file.
    PollArm = 2,
    /// The poll woke: task work is queued.
    TaskAdd = 3,
    /// Handed to an io-wq worker.
    QueueAsync = 4,
    /// The CQE was written.
    Complete = 5,
    /// The kernel begins to read for it, where functions can be hooked; again each time it tries.
    Issue = 6,
}

impl TryFrom<u32> for UringEvent {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        Ok(match value {
            1 => UringEvent::Submit,
            2 => UringEvent::PollArm,
            3 => UringEvent::TaskAdd,
            4 => UringEvent::QueueAsync,
            5 => UringEvent::Complete,
            6 => UringEvent::Issue,
            other => return Err(other),
        })
    }
}

/// One event of an io_uring request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct UringRecord {
    /// The thread in whose context it happened.
    pub head: Head,
    /// Address of the ring, `struct io_ring_ctx`.
    pub ctx: u64,
    /// Address of the request, `struct io_kiocb`; 0 where the tracepoint does not name it.
    pub req: u64,
    /// User data of the request.
    pub user_data: u64,
    /// Completion: the result. Task add: the poll mask. Otherwise 0.
    pub res: i64,
    /// When the thread was switched in last, ns.
    pub last_in: u64,
    /// [`UringEvent`] as a number.
    pub event: u32,
    /// Syscall number of the open call; `u32::MAX` where none is open.
    pub nr: u32,
}
