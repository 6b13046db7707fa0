//! The reader's own account of its messages. All memory is allocated before the loop, so that the loop allocates
//! nothing and makes no system call for the account.
//!
//! All fields are relaxed atomics, so that the signal handler, the threads of the blocking model and the main loop
//! can share one recorder. On x86-64 a relaxed load or store is a plain `mov`.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::shared::Shared;
use super::sys::{cpu_ns, now_ns};
use iotrace_core::domain::model::Model;
use iotrace_core::domain::spec::{Counters, Log, Message, Spec};

/// The running values of [`Counters`], and of the units of own work.
#[derive(Debug, Default)]
pub struct Live {
    /// Read-like calls that returned data.
    pub reads: AtomicU64,
    /// Read-like calls that returned `EAGAIN`.
    pub again: AtomicU64,
    /// Readiness calls that returned at least one descriptor.
    pub readiness: AtomicU64,
    /// Readiness calls that returned no descriptor.
    pub readiness_empty: AtomicU64,
    /// Runs of the signal handler.
    pub handler_runs: AtomicU64,
    /// Runs of the signal handler that found no data.
    pub handler_spurious: AtomicU64,
    /// Requests that the loop submitted.
    pub submitted: AtomicU64,
    /// Completions that the loop took.
    pub completed: AtomicU64,
    /// Units of own work done.
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

/// Adds one to `counter`.
pub fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The values at one edge of the counted window.
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

/// Records when each message was requested and delivered.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// The workload whose messages are recorded.
    pub spec: &'a Spec,
    /// The running counters.
    pub live: Live,
    shared: &'a Shared,
    slots: Box<[Slot]>,
    /// Number of messages that are not counted: calibration and warm-up.
    uncounted: u64,
    /// Number of all messages.
    pub total: u64,
    /// Number of messages delivered so far.
    had: AtomicU64,
    /// Whether the model submits requests. Then the counted window opens with the first counted request, else with the
    /// delivery of the message before it.
    requests: bool,
    from: Edge,
    to: Edge,
}

impl<'a> Recorder<'a> {
    /// A recorder for `spec` that tells the sender through `shared` how many messages have been received.
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

    /// The reader requests its next message at `at_ns`. Opens the counted window once all messages that are not
    /// counted have been delivered.
    pub fn wants(&self, at_ns: u64) {
        if self.window_due() {
            self.from.take(at_ns, cpu_ns(), &self.live);
        }
    }

    /// The clock in ns, read right before requests are submitted. Opens the window like [`Self::wants`]; the system
    /// call that this takes comes before the clock is read, so that it is not part of the message's time.
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

    /// Message `index`, requested at `want_ns`, was delivered at `have_ns`. The last message closes the counted window.
    pub fn have(&self, index: u64, want_ns: u64, have_ns: u64, bytes: u64) {
        let slot = &self.slots[index as usize];
        slot.want_ns.store(want_ns, Relaxed);
        slot.have_ns.store(have_ns, Relaxed);
        slot.bytes.store(bytes, Relaxed);
        // The edges are taken before the peer learns of the message. Otherwise another thread could count the next
        // message before they are taken.
        let had = self.had.fetch_add(1, AcqRel) + 1;
        if had == self.uncounted && !self.requests {
            self.wants(have_ns);
        }
        if had == self.total {
            self.to.take(have_ns, cpu_ns(), &self.live);
        }
        self.shared.add_received();
    }

    /// Writes the messages, the counted window and the counters into `log`.
    pub fn write_to(&self, log: &mut Log) {
        log.messages = (0..self.total)
            .map(|index| {
                let slot = &self.slots[index as usize];
                let sent = self.shared.slot(index);
                Message {
                    connection: self.spec.connection_of(index),
                    sent_ns: sent.before_ns.load(Acquire),
                    sent_done_ns: sent.after_ns.load(Acquire),
                    want_ns: slot.want_ns.load(Relaxed),
                    have_ns: slot.have_ns.load(Relaxed),
                    bytes: slot.bytes.load(Relaxed),
                }
            })
            .collect();
        // With several threads the edge may have been taken by a thread that finished a moment before the last one.
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
