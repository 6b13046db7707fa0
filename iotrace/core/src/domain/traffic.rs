//! Messages that a program received, and the connections they came over: what operations are made of.
//!
//! A built-in workload is one provider ([`Traffic::of`]). Anything else that knows when each message was sent,
//! requested and delivered can be another.

use crate::domain::model::Model;
use crate::domain::spec::{Connection, Log, Message, Reference, Spec};

/// A stretch of time, both ends included. Clock: CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// First moment, ns.
    pub from_ns: u64,
    /// Last moment, ns.
    pub to_ns: u64,
}

impl Window {
    /// Whether the moment `at_ns` lies in the window.
    pub fn holds(&self, at_ns: u64) -> bool {
        (self.from_ns..=self.to_ns).contains(&at_ns)
    }

    /// Length of the window, ns.
    pub fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

/// How a program receives by asynchronous requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A helper thread of the C library makes an ordinary data call (`aio_read(3)`).
    Helper,
    /// `io_submit` reads. Its arguments do not name a descriptor, so all its bytes belong to the first connection.
    SubmitRead,
    /// `io_submit` waits for readiness; an ordinary data call of the program then copies.
    SubmitPoll,
    /// io_uring. The user data of a request is the index of its connection.
    Uring,
}

/// Messages and connections of one program.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// The connections; messages name them by index.
    pub connections: &'a [Connection],
    /// All messages in order of sending: first those for calibration, then the warm-up, then the counted ones.
    pub messages: &'a [Message],
    /// Number of messages that calibrate the floor under a copy.
    pub calibration: usize,
    /// Number of messages after those that are not counted either.
    pub warmup: usize,
    /// Ordinary reads made for comparison, where the program's own copies have no start mark.
    pub reference: Option<Reference>,
    /// Threads that run the program's own code.
    pub app_threads: &'a [u32],
    /// When the counted messages were received.
    pub measured: Window,
    /// How the program uses asynchronous requests; `None`: it makes none.
    pub requests: Option<RequestKind>,
}

impl<'a> Traffic<'a> {
    /// The traffic of a built-in workload.
    pub fn of(spec: &Spec, log: &'a Log) -> Self {
        Self {
            connections: &log.connections,
            messages: &log.messages,
            calibration: spec.calibration as usize,
            warmup: spec.warmup as usize,
            reference: log.reference,
            app_threads: &log.app_threads,
            measured: Window { from_ns: log.measure_from_ns, to_ns: log.measure_to_ns },
            requests: request_kind(spec.model),
        }
    }

    /// Number of messages before the first counted one.
    pub fn uncounted(&self) -> usize {
        self.calibration + self.warmup
    }

    /// The thread that serves the connection with this index; 0: there is no such connection.
    pub fn thread_of(&self, connection: u32) -> u32 {
        self.connections.get(connection as usize).map_or(0, |connection| connection.thread)
    }
}

fn request_kind(model: Model) -> Option<RequestKind> {
    match model {
        Model::PosixAio => Some(RequestKind::Helper),
        Model::LinuxAio => Some(RequestKind::SubmitRead),
        Model::LinuxAioPoll => Some(RequestKind::SubmitPoll),
        Model::IoUring | Model::IoUringSqpoll => Some(RequestKind::Uring),
        Model::Blocking
        | Model::Nonblocking
        | Model::Select
        | Model::Poll
        | Model::Epoll
        | Model::EpollEt
        | Model::Sigio => None,
    }
}
