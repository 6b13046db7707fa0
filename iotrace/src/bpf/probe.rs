//! The types of the probe table.

use iotrace_core::domain::ProbeId;

use super::hook::{Hook, Shape};

/// What a probe is for; a run asks for the groups its question uses, and nothing else is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Calls and where their time goes: every question.
    Core,
    /// When data became ready on a socket, and which socket a receive read.
    Sockets,
    /// The copy out of socket buffers.
    Copy,
    /// The end of a copy on `AF_UNIX`, and on UDP where no other mark ends it.
    CopyUnix,
    /// Signal-driven I/O.
    Signals,
    /// Which io_uring requests were submitted, and by whom.
    Submissions,
    /// The life of io_uring requests, submissions included.
    Uring,
    /// Births: threads and children of the target.
    Follow,
    /// Programs that the target executes, and names that its threads take.
    Exec,
    /// Exact tier: the copy out of a socket buffer, from the entry to the return of what copies it.
    ExactSockets,
    /// Exact tier: the copy of a small UDP datagram.
    ExactDatagrams,
    /// Exact tier: when io_uring begins to carry out a request.
    ExactUring,
}

/// One tracepoint.
#[derive(Debug)]
pub struct Probe {
    /// Which it is; its name is the kernel's.
    pub id: ProbeId,
    /// The probe that it stands in for where the kernel skipped that one: see `probes/again.rs` of the eBPF part.
    pub again_of: Option<ProbeId>,
    /// What it is for.
    pub group: Group,
    /// Whether nothing can be measured without it.
    pub required: bool,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What it tells.
    pub feeds: &'static str,
    /// What is not measured, or measured less well, without it.
    pub lost: &'static str,
    /// Its variants, newest first.
    pub variants: &'static [Variant],
}

/// One program for one prototype.
#[derive(Debug)]
pub struct Variant {
    /// The program in the object.
    pub program: &'static str,
    /// The tracepoint, or the function, that it attaches to.
    pub tracepoint: &'static str,
    /// Which of these it is.
    pub hook: Hook,
    /// What the arguments must be.
    pub shape: Shape,
}

impl Probe {
    /// The name in the kernel, which is the one of its id.
    pub fn name(&self) -> &'static str {
        self.id.name()
    }
}
