//! Each figure of iotrace beside its truth, with what they may differ by.

use super::numbers::{self, INPUT, OTHER, OUTPUT, READINESS};
use super::observe::Seen;

/// One figure.
pub struct Line {
    /// What it is.
    pub quantity: String,
    /// What iotrace shows.
    pub iotrace: String,
    /// What is so.
    pub truth: String,
    /// How that is known.
    pub source: &'static str,
    /// Whether the two are close enough.
    pub agrees: bool,
}

/// What is known of a scene beforehand.
pub struct Expect {
    /// The model; `epoll` stands for `epoll-et` where most descriptors are registered so.
    pub model: &'static str,
    /// Requests, where something counts them that iotrace shows, too.
    pub requests: Option<fn(&Seen) -> Line>,
}

/// Calls that a program makes on its own between the openings and closings of the two observations, which are up to
/// 20 ms apart.
const EDGES: u64 = 5;
/// What a ratio of counts may differ by.
const RATIO: f64 = 0.02;

const BPFTRACE: &str = "bpftrace, raw_syscalls";

/// All figures of a scene.
pub fn lines(seen: &Seen, expect: &Expect) -> Vec<Line> {
    let mut lines = vec![calls(seen)];
    lines.extend(bytes(seen, "bytes in", INPUT));
    lines.extend(bytes(seen, "bytes out", OUTPUT));
    lines.extend(again(seen));
    lines.extend(waits(seen, expect));
    if let Some(requests) = expect.requests {
        lines.push(requests(seen));
    }
    lines.push(model(seen, expect));
    lines.extend(pickup(seen));
    lines.extend(disk(seen));
    lines.push(warnings(seen));
    lines
}

/// A line of two counts.
pub fn counts(quantity: &str, iotrace: u64, truth: u64, source: &'static str, allowed: u64) -> Line {
    Line {
        quantity: quantity.to_owned(),
        iotrace: grouped(iotrace),
        truth: grouped(truth),
        source,
        agrees: iotrace.abs_diff(truth) <= allowed,
    }
}

/// Calls of every name that iotrace shows, or should.
fn calls(seen: &Seen) -> Line {
    let shown = seen.traced.names();
    // Syscalls of the other roles are compared where they are shown.
    let should = |name: &str| shown.contains(&name) || !numbers::has(OTHER, name);
    let (mut iotrace, mut truth, mut wrong) = (0, 0, Vec::new());
    for (name, nr) in numbers::all().filter(|(name, _)| should(name)) {
        let one = [(name, nr)];
        let (here, there) = (seen.traced.of("calls", &one), seen.truth.of("calls", &one));
        iotrace += here;
        truth += there;
        if here.abs_diff(there) > EDGES.max(there / 500) {
            wrong.push(format!("{name} {} / {}", grouped(here), grouped(there)));
        }
    }
    let mut line = counts("calls", iotrace, truth, BPFTRACE, u64::MAX);
    line.agrees = wrong.is_empty();
    if !wrong.is_empty() {
        line.iotrace += &format!(" ({})", wrong.join(", "));
    }
    line
}

fn bytes(seen: &Seen, quantity: &str, calls: &[(&str, libc::c_long)]) -> Option<Line> {
    let truth = seen.truth.of("returned", calls);
    let line = counts(quantity, seen.traced.of("bytes", calls), truth, BPFTRACE, (truth / 500).max(4096));
    (truth > 0).then_some(line)
}

fn again(seen: &Seen) -> Option<Line> {
    let keys = INPUT.iter().map(|(_, nr)| format!("{nr},{}", libc::EAGAIN));
    let truth: u64 = keys.map(|key| seen.truth.get("errors", &key)).sum();
    let iotrace = seen.traced.errors(INPUT, Some("EAGAIN"));
    (truth + iotrace > 0).then(|| counts("EAGAIN", iotrace, truth, BPFTRACE, EDGES.max(truth / 500)))
}

fn waits(seen: &Seen, expect: &Expect) -> Vec<Line> {
    // A program that waits in another way makes some such calls, but none that its reads belong to.
    if !["epoll", "poll", "select"].contains(&expect.model) {
        return Vec::new();
    }
    let (events, waits) = (seen.truth.of("returned", READINESS), seen.truth.of("positive", READINESS));
    let (seen_events, seen_waits) = seen.traced.events();
    // Of poll and select it is not known which descriptors they watch; programs that use these read no files here.
    let awake = seen.truth.of(if expect.model == "epoll" { "awake_watched" } else { "awake" }, INPUT);
    let timeouts = [seen.traced.of("timeouts", READINESS), seen.truth.of("timeouts", READINESS)];
    vec![
        ratio(
            "events per wait",
            over(seen_events, seen_waits),
            over(events, waits),
            "bpftrace, what waits returned",
        ),
        ratio(
            "reads per event",
            seen.traced.reads_per_event(),
            over(awake, events),
            "bpftrace, reads of watched fds",
        ),
        counts("timeouts", timeouts[0], timeouts[1], "bpftrace, waits that may last and returned 0", EDGES),
    ]
}

fn ratio(quantity: &str, iotrace: Option<f64>, truth: Option<f64>, source: &'static str) -> Line {
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let near = |one: f64, other: f64| (one - other).abs() <= RATIO * other.max(1.0);
    let agrees = match (iotrace, truth) {
        (Some(one), Some(other)) => near(one, other),
        (None, truth) => truth.is_none_or(|truth| truth == 0.0),
        (Some(_), None) => false,
    };
    Line { quantity: quantity.to_owned(), iotrace: shown(iotrace), truth: shown(truth), source, agrees }
}

fn over(number: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| number as f64 / of as f64)
}

/// The truth of epoll is in how its descriptors were registered; all else is known of the program.
fn model(seen: &Seen, expect: &Expect) -> Line {
    let (edge, level) = (seen.truth.alone("edge"), seen.truth.alone("level"));
    let (truth, source) = match expect.model {
        "epoll" if edge > level => ("epoll-et", "bpftrace, EPOLLET of epoll_ctl"),
        "epoll" => ("epoll", "bpftrace, EPOLLET of epoll_ctl"),
        other => (other, "what the program was told to use"),
    };
    let (model, share) = seen.traced.model().unwrap_or(("-", 0.0));
    let iotrace = if model == truth { model.to_owned() } else { format!("{model} {:.0} %", share * 100.0) };
    Line { quantity: "model".to_owned(), agrees: model == truth, iotrace, truth: truth.to_owned(), source }
}

fn pickup(seen: &Seen) -> Vec<Line> {
    let (count, iotrace) = seen.traced.pickup();
    let truth = seen.truth.pickup_p50_ns();
    let mut lines = Vec::new();
    if truth.is_some() || iotrace.is_some() {
        let near = |(one, other): (u64, u64)| one.abs_diff(other) <= (other / 3).max(10_000);
        lines.push(Line {
            quantity: "pickup p50".to_owned(),
            iotrace: iotrace.map_or("-".to_owned(), time),
            truth: truth.map_or("-".to_owned(), time),
            source: "bpftrace, sk_data_ready to the read",
            agrees: iotrace.zip(truth).is_some_and(near),
        });
        let picked = seen.truth.total("pickup");
        lines.push(counts("messages with a pickup", count, picked, "bpftrace", (picked / 50).max(16)));
    }
    if let Some((iotrace, client)) = iotrace.zip(seen.client.p50_ns) {
        lines.push(Line {
            quantity: "pickup p50 within the client's".to_owned(),
            iotrace: time(iotrace),
            truth: time(client),
            source: seen.client.name,
            agrees: iotrace <= client,
        });
    }
    lines
}

/// Time asleep for the disk, of programs that are there for it.
fn disk(seen: &Seen) -> Option<Line> {
    let shown = seen.traced.names();
    let all: Vec<_> = numbers::all().filter(|(name, _)| shown.contains(name)).collect();
    let truth = seen.truth.of("disk_ns", &all);
    let iotrace = seen.traced.of("disk_ns", &all) + seen.traced.of("lock_ns", &all);
    (truth > 10_000_000).then(|| Line {
        quantity: "asleep for disk or locks".to_owned(),
        iotrace: time(iotrace),
        truth: time(truth),
        source: "bpftrace, state D until the wake-up",
        agrees: iotrace.abs_diff(truth) <= truth / 20,
    })
}

fn warnings(seen: &Seen) -> Line {
    let mut codes = seen.traced.warnings();
    if !seen.traced.complete() {
        codes.push("not complete");
    }
    Line {
        quantity: "warnings".to_owned(),
        iotrace: if codes.is_empty() { "none".to_owned() } else { codes.join(", ") },
        truth: "none".to_owned(),
        source: "nothing was lost",
        agrees: codes.is_empty(),
    }
}

/// Thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time with its unit.
fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_legible() {
        assert_eq!([grouped(7), grouped(1234), grouped(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([time(999), time(1500), time(2_500_000)], ["999 ns", "1.5 us", "2.5 ms"]);
    }

    #[test]
    fn what_is_near_agrees() {
        assert!(counts("calls", 100, 104, "x", 4).agrees && !counts("calls", 100, 105, "x", 4).agrees);
        assert!(
            ratio("x", Some(1.01), Some(1.0), "y").agrees && !ratio("x", Some(1.03), Some(1.0), "y").agrees
        );
        assert!(ratio("x", None, None, "y").agrees && ratio("x", None, Some(0.0), "y").agrees);
        assert!(!ratio("x", None, Some(1.0), "y").agrees);
    }
}
