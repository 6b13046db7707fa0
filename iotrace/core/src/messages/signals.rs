//! The chain of signal-driven I/O: data ready → signal generated → delivered → the handler reads.

use iotrace_ebpf::abi::traits::SIGNAL;
use iotrace_ebpf::abi::{SIGNAL_DELIVERED, SIGNAL_GENERATED, SignalRecord};

use crate::domain::Role;
use crate::domain::dist::Histogram;
use crate::domain::spec::Counters;
use crate::domain::syscall;
use crate::domain::traffic::Window;
use crate::records::journal::Journal;
use crate::summary::Signals;

/// Number of `SIGIO`.
pub const SIGIO: u32 = 29;

/// Sums up the signals of the measured window. `counters` are the program's own.
pub fn signals(journal: &Journal, measured: Window, counters: &Counters) -> Signals {
    let inside = |at: u64| measured.holds(at);
    let of = |event: u32| move |signal: &&SignalRecord| signal.event == event && inside(signal.head.at);
    let generated: Vec<&SignalRecord> = journal.signals.iter().filter(of(SIGNAL_GENERATED)).collect();
    let with = |result: i32| generated.iter().filter(|signal| signal.result == result).count() as u64;
    let deliveries = deliveries(journal, &inside);
    let ready_to_generated: Histogram = generated
        .iter()
        .filter(|signal| signal.ready != 0)
        .map(|signal| signal.head.at.saturating_sub(signal.ready))
        .collect();
    Signals {
        generated: Some(with(0)),
        coalesced: Some(with(2)),
        not_queued: Some(generated.len() as u64 - with(0) - with(2)),
        delivered: Some(deliveries.len() as u64),
        handler_runs: counters.handler_runs,
        spurious: counters.handler_spurious,
        ready_to_generated: ready_to_generated.measured(),
        generated_to_delivered: generated_to_delivered(&generated, &deliveries).measured(),
        delivered_to_read: delivered_to_read(journal, &deliveries).measured(),
    }
}

/// Moments at which a signal reached the application: a handler (`signal_deliver`), or the return of
/// `rt_sigtimedwait`, which has no such tracepoint.
fn deliveries(journal: &Journal, inside: &impl Fn(u64) -> bool) -> Vec<(u64, u32)> {
    let handled = journal.signals.iter().filter(|signal| signal.event == SIGNAL_DELIVERED);
    let taken = journal
        .calls
        .iter()
        .filter(|entry| syscall::is(entry.call.nr, SIGNAL) && entry.call.ret == i64::from(SIGIO));
    let mut all: Vec<(u64, u32)> = handled
        .map(|signal| (signal.head.at, signal.head.tid))
        .chain(taken.map(|entry| (entry.exit(), entry.call.head.tid)))
        .filter(|(at, _)| inside(*at))
        .collect();
    all.sort_unstable();
    all
}

/// Each queued signal is delivered once, in order.
fn generated_to_delivered(generated: &[&SignalRecord], deliveries: &[(u64, u32)]) -> Histogram {
    let mut delivered = deliveries.iter().map(|(at, _)| *at).peekable();
    let mut times = Histogram::default();
    for signal in generated.iter().filter(|signal| signal.result == 0) {
        while delivered.next_if(|at| *at < signal.head.at).is_some() {}
        if let Some(at) = delivered.next() {
            times.add(at - signal.head.at);
        }
    }
    times
}

/// Times from each delivery to the enter of the next data call of its thread, ns.
fn delivered_to_read(journal: &Journal, deliveries: &[(u64, u32)]) -> Histogram {
    let mut reads: Vec<(u64, u32)> = journal
        .calls
        .iter()
        .filter(|entry| entry.role() == Role::Data)
        .map(|entry| (entry.enter(), entry.call.head.tid))
        .collect();
    reads.sort_unstable();
    let first_after = |(at, tid): &(u64, u32)| {
        let from = reads.partition_point(|read| read.0 < *at);
        reads[from..].iter().find(|read| read.1 == *tid).map(|read| read.0 - at)
    };
    deliveries.iter().filter_map(first_after).collect()
}
