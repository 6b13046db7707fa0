//! The messages of a run: from data ready to delivery, and the chains of signals and requests.

use super::grid::{Column, grid};
use crate::domain::ReadySource;
use crate::domain::dist::Dist;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::units::{NONE, Unit, compact, count, plural, rate};
use crate::summary::{CopiedIn, Operations, Requests, Run, Signals};

const COLUMNS: [Column; 5] = [
    Column::text("per message", 51),
    Column::number("p50", 9),
    Column::number("p99", 9),
    Column::number("max", 9),
    Column::number("messages", 8),
];

type Interval<'a> = (&'a str, Option<&'a Dist>);

/// Writes the intervals of the messages, the cost per message, and the counts of signals and requests.
pub fn draw(run: &Run, unit: Unit, page: &mut Page) {
    let operations = &run.operations;
    let mut rows: Vec<Interval> = vec![
        ("pickup: data ready -> read call started", operations.pickup.as_ref()),
        ("latency: data ready -> delivered to the application", operations.latency.as_ref()),
    ];
    rows.extend(operations.signals.iter().flat_map(signal_chain));
    rows.extend(operations.requests.iter().flat_map(request_chain));
    let cells = rows.iter().map(|row| cells(row, unit)).collect();
    let lines = grid(&COLUMNS, 2, cells);
    for (index, line) in lines.iter().enumerate() {
        page.line(if index == 0 { Style::Dim } else { Style::Plain }, format!("   {line}"));
    }
    page.wrap(Style::Plain, "   ", &costs(run, unit));
    if let Some(signals) = &operations.signals {
        page.wrap(Style::Plain, "   signals: ", &signal_counts(signals));
    }
    if let Some(requests) = &operations.requests {
        page.wrap(Style::Plain, "   requests: ", &request_counts(requests));
    }
    page.wrap(Style::Dim, "   ", &seen(run, operations));
}

fn cells(&(name, dist): &Interval, unit: Unit) -> Vec<String> {
    let time = |value: fn(&Dist) -> u64| unit.cell_or_none(dist.map(value));
    vec![
        name.to_owned(),
        time(|dist| dist.p50_ns),
        time(|dist| dist.p99_ns),
        time(|dist| dist.max_ns),
        dist.map_or_else(|| NONE.to_owned(), |dist| compact(dist.count)),
    ]
}

fn signal_chain(signals: &Signals) -> [Interval<'_>; 3] {
    [
        ("  data ready -> signal generated", signals.ready_to_generated.as_ref()),
        ("  signal generated -> signal delivered", signals.generated_to_delivered.as_ref()),
        ("  signal delivered -> read call of the handler started", signals.delivered_to_read.as_ref()),
    ]
}

fn request_chain(requests: &Requests) -> [Interval<'_>; 4] {
    [
        ("  request submitted -> data ready", requests.submit_to_ready.as_ref()),
        ("  data ready -> copy begins", requests.ready_to_copy.as_ref()),
        ("  copy ends -> request completed", requests.copy_to_complete.as_ref()),
        ("  request completed -> seen by the application", requests.complete_to_seen.as_ref()),
    ]
}

fn costs(run: &Run, unit: Unit) -> String {
    let operations = &run.operations;
    let mut text = format!(
        "{} traced calls and {} of CPU per message",
        rate(operations.calls_per_message),
        unit.show(operations.cpu_ns_per_message)
    );
    if run.meanwhile.is_some() {
        let each = run.own_work_units as f64 / run.messages as f64;
        text += &format!(
            "; meanwhile {} of its own work, {} per message",
            plural(run.own_work_units, "unit"),
            rate(each)
        );
    }
    text
}

fn signal_counts(signals: &Signals) -> String {
    let known = |number: Option<u64>| number.map_or_else(|| NONE.to_owned(), count);
    format!(
        "{} generated, {} merged into a pending one, {} not queued; {} delivered; the handler ran {}, {} of them \
         without data",
        known(signals.generated),
        known(signals.coalesced),
        known(signals.not_queued),
        known(signals.delivered),
        plural(signals.handler_runs, "time"),
        count(signals.spurious),
    )
}

fn request_counts(requests: &Requests) -> String {
    let known = |number: Option<u64>| number.map_or_else(|| NONE.to_owned(), count);
    format!(
        "{} submitted, {} completed; at once {}, after a poll of the kernel {}, by a worker {}; copied {}",
        count(requests.submitted),
        count(requests.completed),
        known(requests.inline),
        known(requests.polled),
        known(requests.worker),
        places(&requests.copied_in),
    )
}

fn places(at: &CopiedIn) -> String {
    let places = [
        (at.own_call, "in the model's own call"),
        (at.task_work, "in task work of the app thread"),
        (at.data_call, "in a data call"),
        (at.helper, "on a helper thread"),
        (at.worker, "on an io-wq worker"),
        (at.sqpoll, "on the kernel's SQ thread"),
    ];
    let said: Vec<_> = places
        .iter()
        .filter(|place| place.0 > 0)
        .map(|place| format!("{} {}", count(place.0), place.1))
        .collect();
    if said.is_empty() { "nowhere that the probes could see".to_owned() } else { said.join(", ") }
}

fn seen(run: &Run, operations: &Operations) -> String {
    let source = match operations.ready_source {
        ReadySource::SkDataReady => "from the socket's sk_data_ready",
        ReadySource::WakeUp => "from the wake-up of the sleeping thread",
        ReadySource::Signal => "from the kernel generating the signal",
        ReadySource::TaskAdd => "from the wake-up of io_uring's poll",
        ReadySource::Peer => "from the return of the peer's send, which is an upper bound",
    };
    let mut text = format!(
        "{} of {} seen arriving; data ready is known {source}",
        count(operations.count),
        plural(run.messages, "message")
    );
    if let Some(latency) = &operations.latency {
        text += &format!("; percentiles to within {:.1} %", latency.error * 100.0);
    }
    if let Some(joined) = operations.joined_to_readiness {
        text += &format!("; {} joined to the readiness call that reported them", count(joined));
    }
    text
}
