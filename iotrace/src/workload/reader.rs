//! The reading side: the current message of each connection, and the read-like call that most models share.
//!
//! A call never asks for more than the rest of the current message, so that a stream (tcp, unix, pipe) delivers
//! messages as datagrams do, and each message has two phases of its own.

use std::os::fd::RawFd;

use super::log::{Recorder, bump};
use super::shared::buffer;
use super::sys::{Stop, errno, now_ns};
use iotrace_core::domain::spec::Spec;

/// The reading end of one connection, and the progress of its current message.
#[derive(Debug)]
pub struct Inbox {
    /// The descriptor to read from.
    pub fd: RawFd,
    /// Whether the connection is a socket, read by `recv`, or a pipe, read by `read`.
    pub socket: bool,
    /// Bytes received of the current message.
    pub got: u64,
    /// When the current message was requested, CLOCK_MONOTONIC in ns; for models that submit requests.
    pub want_ns: u64,
    /// Index of the next message on this connection; beyond the last index if none comes.
    next: u64,
}

impl Inbox {
    /// The inbox of connection `index` of `spec`, read from `fd`.
    pub fn new(spec: &Spec, index: u32, fd: RawFd) -> Self {
        let next = if index < spec.active { u64::from(index) } else { u64::MAX };
        Inbox { fd, socket: spec.transport.is_socket(), got: 0, want_ns: 0, next }
    }

    /// Whether another message comes on this connection.
    pub fn expects_more(&self, recorder: &Recorder) -> bool {
        self.next < recorder.total
    }

    /// Number of bytes to ask for: the rest of the current message and no more, so that no call reads into the next
    /// message of a stream. One byte if no message is expected.
    pub fn room(&self, recorder: &Recorder) -> usize {
        if self.expects_more(recorder) { (recorder.spec.size_of(self.next) - self.got) as usize } else { 1 }
    }

    /// Accounts for `bytes` more bytes of the message requested at `want_ns`. Returns the
    /// time in ns if they complete it.
    ///
    /// Allocates nothing, and makes a system call only at the edges of the counted window.
    ///
    /// # Errors
    /// The connection ended (0 bytes), or brought bytes that the sender should not have sent.
    pub fn add(&mut self, recorder: &Recorder, want_ns: u64, bytes: usize) -> Result<Option<u64>, Stop> {
        if bytes == 0 {
            return Err(Stop::Closed);
        }
        if !self.expects_more(recorder) || bytes > self.room(recorder) {
            return Err(Stop::Surplus);
        }
        self.got += bytes as u64;
        if self.got < recorder.spec.size_of(self.next) {
            return Ok(None);
        }
        let have_ns = now_ns();
        recorder.have(self.next, want_ns, have_ns, self.got);
        self.next += u64::from(recorder.spec.active);
        self.got = 0;
        Ok(Some(have_ns))
    }
}

/// For the models that submit requests: one request for each connection, and another after each completion.
impl Inbox {
    /// Notes that a request for the rest of the message is about to be submitted; `now_ns` is the clock now.
    pub fn request(&mut self, recorder: &Recorder, now_ns: u64) {
        if self.got == 0 {
            self.want_ns = now_ns;
        }
        bump(&recorder.live.submitted);
    }

    /// Accounts for a request that brought `result` bytes, or failed with errno `-result`. Returns whether another
    /// request is needed.
    ///
    /// # Errors
    /// The request failed, which the error calls `call`; or as [`Self::add`].
    pub fn completed(&mut self, recorder: &Recorder, result: i64, call: &'static str) -> Result<bool, Stop> {
        let bytes = usize::try_from(result).map_err(|_| Stop::Call(call, -result as i32))?;
        let had = self.add(recorder, self.want_ns, bytes)?;
        Ok(self.wants_another(recorder, had))
    }

    /// Whether another request is needed. `had` is the time in ns at which the last request completed a message, if it
    /// did.
    pub fn wants_another(&self, recorder: &Recorder, had: Option<u64>) -> bool {
        let more = self.expects_more(recorder);
        if let (false, Some(have_ns)) = (more, had) {
            // Without another request on this connection the counted window must be opened here.
            recorder.wants(have_ns);
        }
        more
    }
}

/// One buffer for each connection: as large as a message if one comes, else of one byte.
pub fn buffers(recorder: &Recorder, inboxes: &[Inbox]) -> Vec<Vec<u8>> {
    let size = |inbox: &Inbox| if inbox.expects_more(recorder) { recorder.spec.size } else { 1 };
    inboxes.iter().map(|inbox| buffer(size(inbox))).collect()
}

/// The result of one read-like call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Nothing: the call returned `EAGAIN`.
    Nothing,
    /// A part of the message, not its end.
    Part,
    /// The end of the message, which was complete at this time in ns.
    Whole(u64),
}

/// The reading side of one thread, for the models in which the thread itself calls `recv` or `read`.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Records the messages.
    pub recorder: &'a Recorder<'a>,
    buffer: Vec<u8>,
    want_ns: u64,
}

impl<'a> Reader<'a> {
    /// A reader with a buffer for one message.
    pub fn new(recorder: &'a Recorder<'a>) -> Self {
        Reader { recorder, buffer: buffer(recorder.spec.size), want_ns: 0 }
    }

    /// Requests the first message now: the loop begins.
    pub fn begin(&mut self) {
        self.want_ns = now_ns();
        self.recorder.wants(self.want_ns);
    }

    /// Makes one read-like call, see [`Self::receive`]. The message counts as requested when the thread's message
    /// before it was delivered, on whichever connection.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn take(&mut self, inbox: &mut Inbox) -> Result<Took, Stop> {
        let took = self.receive(inbox, self.want_ns)?;
        if let Took::Whole(have_ns) = took {
            self.want_ns = have_ns;
        }
        Ok(took)
    }

    /// Makes one `recv(2)` (sockets) or `read(2)` (pipes) for the rest of the current message, which was requested at
    /// `want_ns`. It blocks unless the descriptor is `O_NONBLOCK`. Async-signal-safe.
    ///
    /// # Errors
    /// The call failed with another errno than `EAGAIN` and `EINTR`; or as [`Inbox::add`].
    pub fn receive(&mut self, inbox: &mut Inbox, want_ns: u64) -> Result<Took, Stop> {
        let from = inbox.got as usize;
        let room = inbox.room(self.recorder).min(self.buffer.len() - from);
        let to = self.buffer[from..from + room].as_mut_ptr().cast();
        let got = loop {
            // SAFETY: `to` is valid for `room` bytes, and the descriptor is open.
            let got = unsafe {
                if inbox.socket { libc::recv(inbox.fd, to, room, 0) } else { libc::read(inbox.fd, to, room) }
            };
            if got >= 0 || errno() != libc::EINTR {
                break got;
            }
        };
        if got < 0 {
            if errno() == libc::EAGAIN {
                bump(&self.recorder.live.again);
                return Ok(Took::Nothing);
            }
            return Err(Stop::call(if inbox.socket { "recv" } else { "read" }));
        }
        if got > 0 {
            bump(&self.recorder.live.reads);
        }
        Ok(inbox.add(self.recorder, want_ns, got as usize)?.map_or(Took::Part, Took::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::super::refuse::tests::spec;
    use super::super::shared::Shared;
    use super::*;
    use iotrace_core::domain::model::{Model, Transport};

    fn two_active(model: Model) -> Spec {
        let spec = Spec { model, transport: Transport::Unix, connections: 3, active: 2, ..spec() };
        Spec { calibration: 2, warmup: 0, messages: 2, size: 100, ..spec }
    }

    #[test]
    fn a_message_is_asked_for_to_its_end_and_not_beyond() {
        let spec = two_active(Model::Blocking);
        let shared = Shared::new(spec.total_messages()).unwrap();
        let recorder = Recorder::new(&spec, &shared);
        let mut inbox = Inbox::new(&spec, 1, 0);
        assert_eq!(inbox.room(&recorder), 1, "calibration");
        assert!(inbox.add(&recorder, 0, 1).unwrap().is_some());
        assert_eq!(inbox.room(&recorder), 100);
        assert_eq!(inbox.add(&recorder, 0, 30), Ok(None));
        assert_eq!(inbox.room(&recorder), 70);
        assert_eq!(inbox.add(&recorder, 0, 71), Err(Stop::Surplus));
        assert!(inbox.add(&recorder, 0, 70).unwrap().is_some());
        assert!(!inbox.expects_more(&recorder));
        assert_eq!(inbox.add(&recorder, 0, 1), Err(Stop::Surplus));
    }

    #[test]
    fn a_connection_without_traffic_expects_nothing() {
        let spec = two_active(Model::Blocking);
        let shared = Shared::new(spec.total_messages()).unwrap();
        let recorder = Recorder::new(&spec, &shared);
        let mut inbox = Inbox::new(&spec, 2, 0);
        assert!(!inbox.expects_more(&recorder));
        assert_eq!(inbox.add(&recorder, 0, 0), Err(Stop::Closed));
    }

    #[test]
    fn a_failed_request_names_its_errno() {
        let spec = two_active(Model::IoUring);
        let shared = Shared::new(spec.total_messages()).unwrap();
        let recorder = Recorder::new(&spec, &shared);
        let failed = Inbox::new(&spec, 0, 0).completed(&recorder, -i64::from(libc::ECONNRESET), "recv");
        assert_eq!(failed, Err(Stop::Call("recv", libc::ECONNRESET)));
    }
}
