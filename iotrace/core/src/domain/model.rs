//! The names of what can be run: I/O models, transports, and what a free thread does meanwhile.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An I/O model: how a program waits for data and gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// `recv` that sleeps until data is there.
    Blocking,
    /// `recv` that returns `EAGAIN`, tried again and again.
    Nonblocking,
    /// `select(2)`, then `recv`.
    Select,
    /// `poll(2)`, then `recv`.
    Poll,
    /// Level-triggered `epoll(7)`, then one `recv` per event.
    Epoll,
    /// Edge-triggered `epoll(7)`, then `recv` until `EAGAIN`.
    EpollEt,
    /// `O_ASYNC` and `SIGIO`; the handler does the `recv`.
    Sigio,
    /// glibc's `aio_read(3)`, done by a helper thread.
    PosixAio,
    /// `io_submit(2)` with `IOCB_CMD_PREAD`.
    LinuxAio,
    /// `io_submit(2)` with `IOCB_CMD_POLL`, then `recv`.
    LinuxAioPoll,
    /// `io_uring(7)` receive, default set-up.
    IoUring,
    /// `io_uring(7)` receive, submitted and carried out by the kernel's SQ thread.
    IoUringSqpoll,
}

impl Model {
    /// Every model, in the order of the classic comparison.
    pub const ALL: [Model; 12] = [
        Model::Blocking,
        Model::Nonblocking,
        Model::Select,
        Model::Poll,
        Model::Epoll,
        Model::EpollEt,
        Model::Sigio,
        Model::PosixAio,
        Model::LinuxAio,
        Model::LinuxAioPoll,
        Model::IoUring,
        Model::IoUringSqpoll,
    ];

    /// The name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Model::Blocking => "blocking",
            Model::Nonblocking => "nonblocking",
            Model::Select => "select",
            Model::Poll => "poll",
            Model::Epoll => "epoll",
            Model::EpollEt => "epoll-et",
            Model::Sigio => "sigio",
            Model::PosixAio => "posix-aio",
            Model::LinuxAio => "linux-aio",
            Model::LinuxAioPoll => "linux-aio-poll",
            Model::IoUring => "io-uring",
            Model::IoUringSqpoll => "io-uring-sqpoll",
        }
    }

    /// Whether the thread can do something else while the kernel or a helper waits for the data.
    pub fn leaves_thread_free(self) -> bool {
        matches!(
            self,
            Model::Sigio | Model::PosixAio | Model::LinuxAioPoll | Model::IoUring | Model::IoUringSqpoll
        )
    }

    /// Whether the model is served by io_uring.
    pub fn is_io_uring(self) -> bool {
        matches!(self, Model::IoUring | Model::IoUringSqpoll)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What carries the messages of a built-in workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP over loopback.
    Tcp,
    /// UDP over loopback, connected sockets.
    Udp,
    /// `AF_UNIX` stream socket pair.
    Unix,
    /// `pipe(2)`.
    Pipe,
}

impl Transport {
    /// The name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Unix => "unix",
            Transport::Pipe => "pipe",
        }
    }

    /// Whether the transport is a socket (`recv` works) rather than a pipe (only `read` does).
    pub fn is_socket(self) -> bool {
        self != Transport::Pipe
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the thread does in a model that leaves it free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Meanwhile {
    /// Counted units of its own work, until the data is there.
    Compute,
    /// It sleeps in the model's completion call.
    Wait,
}
