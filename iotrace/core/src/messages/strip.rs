//! The picture of one message: what its threads did, moment by moment.

use crate::domain::traffic::Traffic;
use crate::domain::{ReadySource, syscall};
use crate::messages::operation::{Operation, Threads};
use crate::records::journal::{Entry, Journal};
use crate::summary::{Lane, Mark, Segment, State, Strip};

/// The strip of the operation with the median latency.
pub fn strip(
    journal: &Journal,
    threads: &Threads<'_>,
    operations: &[Operation],
    traffic: &Traffic<'_>,
) -> Option<Strip> {
    let mut by_latency: Vec<&Operation> = operations.iter().collect();
    by_latency.sort_by_key(|operation| operation.latency());
    let operation = *by_latency.get(by_latency.len() / 2)?;
    let app = traffic.connections.get(operation.message.connection as usize)?.thread;
    let mut tids = vec![app];
    for transfer in &operation.transfers {
        if !tids.contains(&transfer.tid) {
            tids.push(transfer.tid);
        }
    }
    let lanes = tids.into_iter().map(|tid| lane(journal, threads, operation, traffic, tid)).collect();
    Some(Strip {
        message: operation.index,
        lanes,
        marks: marks(journal, threads, operation, app),
        end_ns: operation.message.have_ns - operation.message.want_ns,
    })
}

fn lane(
    journal: &Journal,
    threads: &Threads<'_>,
    operation: &Operation,
    traffic: &Traffic<'_>,
    tid: u32,
) -> Lane {
    let (from, to) = (operation.message.want_ns, operation.message.have_ns);
    let mut pieces = Vec::new();
    for entry in threads.between(tid, from, to) {
        pieces.extend(pieces_of(entry));
    }
    // Copies of requests run in no data call; they lie over whatever call they ran in.
    for transfer in operation.transfers.iter().filter(|transfer| transfer.tid == tid) {
        overlay(&mut pieces, (transfer.copy_from, transfer.copy_to, State::Copy, None));
    }
    let segments = pieces
        .into_iter()
        .map(|(begin, end, state, nr)| (begin.max(from), end.min(to), state, nr))
        .filter(|(begin, end, ..)| begin < end)
        .map(|(begin, end, state, nr)| Segment {
            from_ns: begin - from,
            to_ns: end - from,
            state,
            syscall: nr.map(syscall::name),
        })
        .collect();
    Lane { thread_role: journal.thread_role(tid, traffic.app_threads), tid, segments }
}

type Piece = (u64, u64, State, Option<u32>);

/// A call cut into what is known of its course: work, first sleep, wake-up, switch-in, copy, exit.
/// Of a call with several sleeps the first and the last moment are known; between them it is drawn as
/// one wait.
fn pieces_of(entry: &Entry) -> Vec<Piece> {
    let call = &entry.call;
    let nr = Some(call.nr);
    if entry.is_poll() {
        return vec![(entry.enter(), entry.exit(), State::Poll, nr)];
    }
    let mut pieces = Vec::new();
    let mut at = entry.enter();
    let mut until = |moment: u64, state: State| {
        if moment > at {
            pieces.push((at, moment, state, nr));
            at = moment;
        }
    };
    if call.sleeps > 0 {
        until(call.first_out, State::Work);
        until(call.wake.at, State::Wait);
        until(call.last_in, State::Runq);
    }
    if call.copies > 0 {
        until(call.copy_first, State::Work);
        until(call.copy_last, State::Copy);
    }
    until(entry.exit(), State::Work);
    pieces
}

/// Lays a piece over the others, cutting what it covers.
fn overlay(pieces: &mut Vec<Piece>, top: Piece) {
    if top.1 <= top.0 {
        return;
    }
    let mut cut = Vec::with_capacity(pieces.len() + 2);
    let mut nr = None;
    for (begin, end, state, call) in pieces.drain(..) {
        if end <= top.0 || begin >= top.1 {
            cut.push((begin, end, state, call));
            continue;
        }
        nr = call;
        if begin < top.0 {
            cut.push((begin, top.0, state, call));
        }
        if end > top.1 {
            cut.push((top.1, end, state, call));
        }
    }
    cut.push((top.0, top.1, top.2, nr));
    cut.sort_by_key(|piece| piece.0);
    *pieces = cut;
}

fn marks(journal: &Journal, threads: &Threads<'_>, operation: &Operation, app: u32) -> Vec<Mark> {
    let message = &operation.message;
    let (from, to) = (message.want_ns, message.have_ns);
    let mut moments = vec![(message.sent_ns, "sent")];
    if operation.ready_source != ReadySource::Peer {
        moments.push((operation.ready, "ready"));
    }
    let woken =
        threads.between(app, from, to).map(|entry| entry.call.wake.at).filter(|&at| at >= message.sent_ns);
    moments.extend(woken.take(1).map(|at| (at, "woken")));
    for signal in journal.signals.iter().filter(|signal| (from..=to).contains(&signal.head.at)) {
        let delivered = signal.event == iotrace_ebpf::abi::SIGNAL_DELIVERED;
        moments.push((signal.head.at, if delivered { "delivered" } else { "signal" }));
    }
    let mut requests = operation
        .transfers
        .iter()
        .filter(|transfer| !matches!(transfer.place, crate::messages::transfer::Place::DataCall));
    moments.extend(requests.next_back().map(|transfer| (transfer.end, "completed")));
    moments.push((to, "seen"));
    moments.sort_unstable();
    moments
        .into_iter()
        .filter(|(at, _)| (from..=to).contains(at))
        .map(|(at, name)| Mark { at_ns: at - from, name: name.to_owned() })
        .collect()
}
