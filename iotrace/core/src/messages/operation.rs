//! Operations: each counted message from its request to its delivery to the application.
//!
//! The reader says when it requested a message and had it, and the sender when it sent it; everything in
//! between comes from the kernel's records. A message counts only if those records show its bytes
//! arriving.

use std::collections::HashMap;

use iotrace_ebpf::abi::{SIGNAL_GENERATED, UringEvent};

use crate::domain::spec::Message;
use crate::domain::traffic::Traffic;
use crate::domain::{CopySource, Phase1, ReadySource, Role};
use crate::messages::transfer::{Place, Transfer};
use crate::records::copy::{Before, Copies, Seen, seen_in};
use crate::records::journal::{Entry, Journal, is_next_poll};

/// One counted message.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Index among the counted messages.
    pub index: u64,
    /// The account of its reader and of its sender.
    pub message: Message,
    /// When its first bytes were ready in the kernel, ns.
    pub ready: u64,
    /// The sign by which the moment of readiness is known.
    pub ready_source: ReadySource,
    /// When the read call started, ns: its enter, or its last switch-in where it slept until data was ready.
    pub come: u64,
    /// Phase 1, from the request to readiness.
    pub phase1: Phase1,
    /// Phase 2 in the application's own threads, ns.
    pub copy_blocked: u64,
    /// Phase 2 in helper threads and kernel threads, ns.
    pub copy_free: u64,
    /// How phase 2 is known: as the least certain of its copies.
    pub copy_source: CopySource,
    /// Upper bound of phase 2, ns.
    pub copy_upper: u64,
    /// Whether a readiness call announced it.
    pub joined: bool,
    /// The transfers that brought its bytes, in order of their end.
    pub transfers: Vec<Transfer>,
}

impl Operation {
    /// Data ready until the read call started, ns.
    pub fn pickup(&self) -> u64 {
        self.come.saturating_sub(self.ready)
    }

    /// Data ready until delivered to the application, ns.
    pub fn latency(&self) -> u64 {
        self.message.have_ns.saturating_sub(self.ready)
    }

    /// Number of bytes that the kernel's records show.
    pub fn bytes(&self) -> u64 {
        self.transfers.iter().map(|transfer| transfer.bytes.unwrap_or(self.message.bytes)).sum()
    }
}

/// Calls of each thread, in order.
pub struct Threads<'a>(HashMap<u32, Vec<&'a Entry>>);

impl<'a> Threads<'a> {
    /// Sorts the journal's calls by thread.
    pub fn of(journal: &'a Journal) -> Self {
        let mut threads: HashMap<u32, Vec<&Entry>> = HashMap::new();
        for entry in &journal.calls {
            threads.entry(entry.call.head.tid).or_default().push(entry);
        }
        Self(threads)
    }

    /// Calls of `tid` that overlap `from..to`.
    pub fn between(&self, tid: u32, from: u64, to: u64) -> impl Iterator<Item = &'a Entry> {
        let calls = self.0.get(&tid).map_or(&[][..], Vec::as_slice);
        let first = calls.partition_point(|entry| entry.exit() <= from);
        calls[first..].iter().copied().take_while(move |entry| entry.enter() < to)
    }

    /// Calls of `tid` that returned before `at`, the last one first.
    pub fn before(&self, tid: u32, at: u64) -> impl Iterator<Item = &'a Entry> {
        let calls = self.0.get(&tid).map_or(&[][..], Vec::as_slice);
        calls[..calls.partition_point(|entry| entry.exit() <= at)].iter().rev().copied()
    }
}

/// The operations of a program, and what they were measured against.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The counted messages that the records show, in order of sending.
    pub operations: Vec<Operation>,
    /// Floors and estimates of copies, from the calibration messages.
    pub copies: Copies,
}

/// Makes the operations of `traffic` from what was recorded.
pub fn operations(
    journal: &Journal,
    threads: &Threads<'_>,
    transfers: &[Transfer],
    traffic: &Traffic<'_>,
) -> Measured {
    let mine = by_message(transfers, traffic.messages);
    let first = traffic.uncounted();
    let seen = |messages: &[Vec<Transfer>]| -> Vec<Seen> {
        messages.iter().flatten().map(|transfer| transfer.seen).collect()
    };
    let calibration = seen(&mine[..traffic.calibration.min(mine.len())]);
    let reads = traffic.reference.iter().flat_map(|reference| {
        let calls = journal.calls.iter().filter(|entry| entry.role() == Role::Data);
        calls.filter(|entry| entry.call.fd == reference.fd && entry.exit() < traffic.measured.from_ns)
    });
    let reference = reads.filter_map(|entry| seen_in(&entry.call));
    let copies =
        Copies::of(calibration, seen(mine.get(first..).unwrap_or_default()), reference).exact(journal.exact);
    let signs = Signs::of(journal, transfers);
    let counted = traffic.messages.iter().zip(mine).skip(first).enumerate();
    let operations = counted
        .filter(|(_, (_, transfers))| !transfers.is_empty())
        .map(|(index, (message, transfers))| {
            operation(index as u64, *message, transfers, threads, &signs, &copies, traffic)
        })
        .collect();
    Measured { operations, copies }
}

/// Gives every transfer to the message during which it ended, per connection.
fn by_message(transfers: &[Transfer], messages: &[Message]) -> Vec<Vec<Transfer>> {
    let mut lanes: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        lanes.entry(message.connection).or_default().push(index);
    }
    let mut mine = vec![Vec::new(); messages.len()];
    for transfer in transfers {
        let Some(lane) = lanes.get(&transfer.connection) else { continue };
        let position = lane.partition_point(|&index| messages[index].have_ns < transfer.end);
        // A multishot request may be ahead of the application: what is whole gets nothing more.
        if let Some(&index) =
            lane[position..].iter().find(|&&index| !is_whole(&mine[index], &messages[index]))
        {
            mine[index].push(*transfer);
        }
    }
    mine
}

/// Whether `transfers` bring all bytes of the message, as far as the records tell.
fn is_whole(transfers: &[Transfer], message: &Message) -> bool {
    let bytes: u64 = transfers.iter().filter_map(|transfer| transfer.bytes).sum();
    bytes > 0 && bytes >= message.bytes
}

fn operation(
    index: u64,
    message: Message,
    transfers: Vec<Transfer>,
    threads: &Threads<'_>,
    signs: &Signs,
    copies: &Copies,
    traffic: &Traffic<'_>,
) -> Operation {
    let first = transfers[0];
    let thread = traffic.thread_of(message.connection);
    let (ready, ready_source) = signs.ready(&message, &first, thread);
    let come = came(&first, ready, copies);
    let mut phase1 = phase1(threads, thread, message.want_ns, ready);
    // A message that arrives in pieces is waited for again after its first piece. A wait between ready and
    // that piece does not count: the reading thread is late, or this thread waits for another one.
    let again =
        threads.between(thread, first.end, message.have_ns).filter(|entry| entry.enter() >= first.end);
    phase1.blocked_ns += again.map(|entry| entry.call.parts.wait).sum::<u64>();
    let (mut copy_blocked, mut copy_free, mut copy_upper) = (0, 0, 0);
    let mut copy_source = CopySource::Exact;
    for transfer in &transfers {
        let copied = copies.copied(transfer.seen);
        *if transfer.place.is_app() { &mut copy_blocked } else { &mut copy_free } += copied.ns;
        copy_upper += copied.upper;
        copy_source = copy_source.max(copied.source);
    }
    let joined = threads
        .before(thread, first.enter)
        .find(|entry| entry.role() == Role::Readiness)
        .is_some_and(|entry| entry.call.ret > 0);
    Operation {
        index,
        message,
        ready,
        ready_source,
        come,
        phase1,
        copy_blocked,
        copy_free,
        copy_source,
        copy_upper,
        joined,
        transfers,
    }
}

/// When the read call started, ns: its thread entered it, or was switched in inside it after data was ready. A request is
/// carried out at a moment without a mark; the start of its copy is the first that is known.
fn came(first: &Transfer, ready: u64, copies: &Copies) -> u64 {
    let at = match (first.place, first.seen) {
        (Place::DataCall | Place::Helper, _) if first.enter >= ready => first.enter,
        (Place::DataCall | Place::Helper, _) => first.on_cpu,
        (_, Seen::Marked { .. }) => first.copy_from,
        (_, Seen::Window { before: Before::Kicked, .. }) => first.copy_to - copies.copied(first.seen).ns,
        _ => first.on_cpu,
    };
    at.min(first.end).max(ready)
}

/// What a thread did between the request and readiness.
///
/// Losing the CPU between two polls is blocked: the thread was about to ask again. Losing it while it runs
/// its own code is waiting for something else, so it stays free.
fn phase1(threads: &Threads<'_>, tid: u32, want: u64, ready: u64) -> Phase1 {
    let mut phase = Phase1::default();
    if ready <= want {
        return phase;
    }
    // The poll before, after which the thread may have lost the CPU on its way to the next call.
    let mut poll: Option<&Entry> = None;
    let lost_after = |poll: Option<&Entry>, next: &Entry, until: u64| match poll {
        Some(poll) if is_next_poll(poll, &next.call) => {
            next.call.before_runq.min(until.saturating_sub(poll.exit().max(want)))
        }
        _ => 0,
    };
    for entry in threads.between(tid, want, ready) {
        let (enter, exit) = (entry.enter().max(want), entry.exit().min(ready));
        let inside = exit.saturating_sub(enter);
        let lost = if entry.is_poll() { entry.lost_cpu.min(inside) } else { inside };
        phase.blocked_ns += lost + lost_after(poll, entry, enter);
        phase.polling_ns += inside - lost;
        poll = entry.is_poll().then_some(entry);
    }
    // The call that finds the data comes after it was ready.
    let next = threads.between(tid, ready, u64::MAX).find(|entry| entry.enter() >= ready);
    phase.blocked_ns += next.map_or(0, |next| lost_after(poll, next, ready));
    phase.free_ns = (ready - want).saturating_sub(phase.blocked_ns + phase.polling_ns);
    phase
}

/// The signs in the records that tell when data was ready.
struct Signs {
    sockets: HashMap<u64, Vec<u64>>,
    /// The socket of each connection, learned from its transfers.
    of_connection: HashMap<u32, u64>,
    task_adds: HashMap<u64, Vec<u64>>,
    signals: Vec<u64>,
    /// Moments of the wake-ups of each thread, ns.
    wakes: HashMap<u32, Vec<u64>>,
}

impl Signs {
    fn of(journal: &Journal, transfers: &[Transfer]) -> Self {
        let mut sockets: HashMap<u64, Vec<u64>> = HashMap::new();
        for ready in &journal.ready {
            sockets.entry(ready.sock).or_default().push(ready.head.at);
        }
        for wake in journal.calls.iter().map(|entry| entry.call.wake).filter(|wake| wake.sock != 0) {
            sockets.entry(wake.sock).or_default().push(wake.ready);
        }
        let generated = journal.signals.iter().filter(|signal| signal.event == SIGNAL_GENERATED);
        for signal in generated.clone().filter(|signal| signal.sock != 0) {
            sockets.entry(signal.sock).or_default().push(signal.ready);
        }
        for moments in sockets.values_mut() {
            moments.sort_unstable();
        }
        let mut task_adds: HashMap<u64, Vec<u64>> = HashMap::new();
        for event in journal.uring.iter().filter(|event| event.event == UringEvent::TaskAdd as u32) {
            task_adds.entry(event.user_data).or_default().push(event.head.at);
        }
        let mut wakes: HashMap<u32, Vec<u64>> = HashMap::new();
        for call in journal.calls.iter().map(|entry| &entry.call).filter(|call| call.wake.at != 0) {
            wakes.entry(call.head.tid).or_default().push(call.wake.at);
        }
        wakes.values_mut().for_each(|moments| moments.sort_unstable());
        let with_socket = transfers.iter().filter(|transfer| transfer.sock != 0);
        let of_connection = with_socket.map(|transfer| (transfer.connection, transfer.sock)).collect();
        let signals = generated.map(|signal| signal.head.at).collect();
        Self { sockets, of_connection, task_adds, signals, wakes }
    }

    /// When a message was ready: the first sign after it was sent and before it had arrived.
    ///
    /// A reader on another CPU may take a message between its queueing and `sk_data_ready`
    /// (`__udp_enqueue_schedule_skb`, `unix_stream_sendmsg`), so the sign may come after the copy began, or
    /// after the read returned should the sender lose the CPU there. It comes before the sender's call
    /// returns in any case, and the message was ready when its copy began.
    fn ready(&self, message: &Message, first: &Transfer, thread: u32) -> (u64, ReadySource) {
        let latest = if first.copy_from > message.sent_ns { first.copy_from } else { first.end };
        let until = |moments: &[u64], end: u64| {
            let position = moments.partition_point(|&at| at < message.sent_ns);
            moments.get(position).filter(|&&at| at <= end).map(|&at| at.min(latest))
        };
        let after = |moments: &[u64]| until(moments, first.end);
        let sock = self.of_connection.get(&message.connection).copied().unwrap_or(first.sock);
        self.sockets
            .get(&sock)
            .and_then(|moments| until(moments, first.end.max(message.sent_done_ns)))
            .map(|at| (at, ReadySource::SkDataReady))
            .or_else(|| {
                let added = self.task_adds.get(&message.connection.into())?;
                after(added).map(|at| (at, ReadySource::TaskAdd))
            })
            .or_else(|| {
                let woken = [first.tid, thread].into_iter().filter_map(|tid| after(self.wakes.get(&tid)?));
                woken.min().map(|at| (at, ReadySource::WakeUp))
            })
            .or_else(|| after(&self.signals).map(|at| (at, ReadySource::Signal)))
            .unwrap_or((message.sent_done_ns.min(latest).max(message.sent_ns), ReadySource::Peer))
    }
}
