//! The reader's own account: everything is allocated before the loop, so that the loop allocates
//! nothing and makes no call of its own.
//!
//! All fields are relaxed atomics. On x86-64 a relaxed load or store is a plain `mov`, and this way
//! the signal handler, the threads of the blocking model and the main loop can share one recorder.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::peer::Shared;
use super::spec::{Counters, Log, Message, Spec};
use super::sys::{Stop, cpu_ns, errno, now_ns};
use crate::model::Model;

/// The counters of [`Counters`] while they run, and the units of own work.
#[derive(Debug, Default)]
pub struct Live {
    /// Read-like calls that returned data.
    pub reads: AtomicU64,
    /// Read-like calls that returned `EAGAIN`.
    pub again: AtomicU64,
    /// Readiness calls that returned at least one descriptor.
    pub readiness: AtomicU64,
    /// Readiness calls that returned none.
    pub readiness_empty: AtomicU64,
    /// Runs of the signal handler.
    pub handler_runs: AtomicU64,
    /// Of those, without data.
    pub handler_spurious: AtomicU64,
    /// Requests handed over.
    pub submitted: AtomicU64,
    /// Completions taken.
    pub completed: AtomicU64,
    /// Units of own work.
    pub units: AtomicU64,
}

impl Live {
    fn snapshot(&self) -> [u64; 9] {
        [
            &self.reads,
            &self.again,
            &self.readiness,
            &self.readiness_empty,
            &self.handler_runs,
            &self.handler_spurious,
            &self.submitted,
            &self.completed,
            &self.units,
        ]
        .map(|counter| counter.load(Relaxed))
    }
}

/// Adds one.
pub fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One edge of the counted window.
#[derive(Debug, Default)]
struct Edge {
    taken: AtomicBool,
    at_ns: AtomicU64,
    cpu_ns: AtomicU64,
    live: [AtomicU64; 9],
}

impl Edge {
    fn take(&self, at_ns: u64, cpu_ns: u64, live: &Live) {
        self.at_ns.store(at_ns, Relaxed);
        self.cpu_ns.store(cpu_ns, Relaxed);
        for (to, from) in self.live.iter().zip(live.snapshot()) {
            to.store(from, Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    want_ns: AtomicU64,
    have_ns: AtomicU64,
    bytes: AtomicU64,
}

/// Records what the reader sees.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// What was asked for.
    pub spec: &'a Spec,
    /// The running counters.
    pub live: Live,
    shared: &'a Shared,
    slots: Box<[Slot]>,
    /// Messages that are not counted: calibration and warm-up.
    uncounted: u64,
    total: u64,
    /// Messages had so far.
    had: AtomicU64,
    /// Whether the model hands requests over: then the window opens with a request, not with the message before.
    requests: bool,
    from: Edge,
    to: Edge,
}

impl<'a> Recorder<'a> {
    /// A recorder for `spec`; tells the sender through `shared` how far the reader is.
    pub fn new(spec: &'a Spec, shared: &'a Shared) -> Self {
        let total = spec.total_messages();
        Recorder {
            spec,
            live: Live::default(),
            shared,
            slots: (0..total).map(|_| Slot::default()).collect(),
            uncounted: spec.calibration + spec.warmup,
            total,
            had: AtomicU64::new(0),
            requests: matches!(spec.model, Model::PosixAio | Model::LinuxAio | Model::LinuxAioPoll)
                || spec.model.is_io_uring(),
            from: Edge::default(),
            to: Edge::default(),
        }
    }

    /// Whether every message has been received.
    pub fn done(&self) -> bool {
        self.had.load(Acquire) == self.total
    }

    /// The reader wants the next message since `at_ns`. Opens the counted window if everything that is
    /// not counted has been had.
    pub fn wants(&self, at_ns: u64) {
        if self.window_due() {
            self.from.take(at_ns, cpu_ns(), &self.live);
        }
    }

    /// The clock, to be read right before requests are handed over. Opens the window like [`Self::wants`];
    /// the call this needs comes before the clock, so that it is not in the message's time.
    pub fn wants_now(&self) -> u64 {
        if !self.window_due() {
            return now_ns();
        }
        let cpu = cpu_ns();
        let now = now_ns();
        self.from.take(now, cpu, &self.live);
        now
    }

    fn window_due(&self) -> bool {
        self.had.load(Acquire) >= self.uncounted && !self.from.taken.swap(true, Relaxed)
    }

    /// Message `index` is complete at `have_ns`. The last one closes the counted window.
    fn have(&self, index: u64, want_ns: u64, have_ns: u64, bytes: u64) {
        let slot = &self.slots[index as usize];
        slot.want_ns.store(want_ns, Relaxed);
        slot.have_ns.store(have_ns, Relaxed);
        slot.bytes.store(bytes, Relaxed);
        // The edges are taken before the peer learns of the message: in another thread the next one
        // could otherwise be counted already.
        let had = self.had.fetch_add(1, AcqRel) + 1;
        if had == self.uncounted && !self.requests {
            self.wants(have_ns);
        }
        if had == self.total {
            self.to.take(have_ns, cpu_ns(), &self.live);
        }
        self.shared.add_received();
    }

    /// Fills in what the recorder knows of `log`.
    pub fn write_to(&self, log: &mut Log) {
        log.messages = (0..self.total)
            .map(|index| {
                let slot = &self.slots[index as usize];
                let (sent_ns, sent_done_ns) = self.shared.sent(index);
                Message {
                    connection: self.spec.connection_of(index),
                    sent_ns,
                    sent_done_ns,
                    want_ns: slot.want_ns.load(Relaxed),
                    have_ns: slot.have_ns.load(Relaxed),
                    bytes: slot.bytes.load(Relaxed),
                }
            })
            .collect();
        // With several threads the one that finished a moment earlier may be the one that took the edge.
        let (uncounted, counted) = log.messages.split_at(self.uncounted as usize);
        let last = |messages: &[Message]| messages.iter().map(|message| message.have_ns).max().unwrap_or(0);
        log.measure_from_ns = self.from.at_ns.load(Relaxed).max(last(uncounted));
        log.measure_to_ns = last(counted);
        log.cpu_ns = self.to.cpu_ns.load(Relaxed) - self.from.cpu_ns.load(Relaxed);
        let mut over = [0; 9];
        for ((over, to), from) in over.iter_mut().zip(&self.to.live).zip(&self.from.live) {
            *over = to.load(Relaxed) - from.load(Relaxed);
        }
        let [
            reads,
            again,
            readiness,
            readiness_empty,
            handler_runs,
            handler_spurious,
            submitted,
            completed,
            units,
        ] = over;
        log.own_work_units = units;
        log.counters = Counters {
            reads,
            again,
            readiness,
            readiness_empty,
            handler_runs,
            handler_spurious,
            submitted,
            completed,
        };
    }
}

/// The reading end of one connection, and how far its current message is.
#[derive(Debug)]
pub struct Inbox {
    /// The descriptor.
    pub fd: RawFd,
    /// Whether it is a socket (`recv`) or a pipe (`read`).
    pub socket: bool,
    /// Bytes received of the current message.
    pub got: u64,
    /// When the current message began to be wanted, for the models with requests.
    pub want_ns: u64,
    /// Index of the message that comes next here; past the last one if none comes.
    next: u64,
}

impl Inbox {
    /// Connection `index` of `spec`, read from `fd`.
    pub fn new(spec: &Spec, index: u32, fd: RawFd) -> Self {
        let next = if index < spec.active { u64::from(index) } else { u64::MAX };
        Inbox { fd, socket: spec.transport.is_socket(), got: 0, want_ns: 0, next }
    }

    /// Whether another message comes here.
    pub fn expects_more(&self, recorder: &Recorder) -> bool {
        self.next < recorder.total
    }

    /// How many bytes to ask for: the rest of the current message, never more, so that no call reads
    /// into the next message of a stream. One byte where nothing is expected.
    pub fn room(&self, recorder: &Recorder) -> usize {
        if self.expects_more(recorder) { (recorder.spec.size_of(self.next) - self.got) as usize } else { 1 }
    }

    /// Accounts for `bytes` more; `Some(have_ns)` if they complete the message.
    ///
    /// Allocates nothing and makes no call except at the edges of the counted window.
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

/// The request models: one request a connection, and after each completion another.
impl Inbox {
    /// A request for what is missing is about to be handed over; `now_ns` was just read.
    pub fn request(&mut self, recorder: &Recorder, now_ns: u64) {
        if self.got == 0 {
            self.want_ns = now_ns;
        }
        bump(&recorder.live.submitted);
    }

    /// A request brought `result` bytes, or failed with `-result`, as `call`. Whether another is needed.
    pub fn completed(&mut self, recorder: &Recorder, result: i64, call: &'static str) -> Result<bool, Stop> {
        let bytes = usize::try_from(result).map_err(|_| Stop::Call(call, -result as i32))?;
        let had = self.add(recorder, self.want_ns, bytes)?;
        Ok(self.wants_another(recorder, had))
    }

    /// Whether another request is needed after one that completed a message at `had`, if it did.
    pub fn wants_another(&self, recorder: &Recorder, had: Option<u64>) -> bool {
        let more = self.expects_more(recorder);
        if let (false, Some(have_ns)) = (more, had) {
            // No request follows here that could open the counted window.
            recorder.wants(have_ns);
        }
        more
    }
}

/// One buffer a connection: of a whole message where one comes, else of one byte.
pub fn buffers(recorder: &Recorder, inboxes: &[Inbox]) -> Vec<Vec<u8>> {
    let size = |inbox: &Inbox| if inbox.expects_more(recorder) { recorder.spec.size } else { 1 };
    inboxes.iter().map(|inbox| buffer(size(inbox))).collect()
}

/// What one read-like call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// `EAGAIN`.
    Nothing,
    /// A part of a message.
    Part,
    /// The end of a message, had at this time in ns.
    Whole(u64),
}

/// The reading side of one thread in the models that read by themselves (all but the request models).
#[derive(Debug)]
pub struct Reader<'a> {
    /// Where it is recorded.
    pub recorder: &'a Recorder<'a>,
    buffer: Vec<u8>,
    want_ns: u64,
}

impl<'a> Reader<'a> {
    /// A reader with a buffer for one message.
    pub fn new(recorder: &'a Recorder<'a>) -> Self {
        Reader { recorder, buffer: buffer(recorder.spec.size), want_ns: 0 }
    }

    /// The loop begins: from now on the first message is wanted.
    pub fn begin(&mut self) {
        self.want_ns = now_ns();
        self.recorder.wants(self.want_ns);
    }

    /// One read-like call, see [`Self::receive`]. The thread wants the next message, from whichever
    /// connection, since it had the one before.
    pub fn take(&mut self, inbox: &mut Inbox) -> Result<Took, Stop> {
        let took = self.receive(inbox, self.want_ns)?;
        if let Took::Whole(have_ns) = took {
            self.want_ns = have_ns;
        }
        Ok(took)
    }

    /// One `recv(2)` (sockets) or `read(2)` (pipes) for the rest of the current message, which is wanted
    /// since `want_ns`. It blocks or not as the descriptor does. Async-signal-safe.
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

/// A buffer of `size` bytes whose pages are there: a page fault inside the copy would be measured.
pub fn buffer(size: u64) -> Vec<u8> {
    vec![0xa5; size as usize]
}
