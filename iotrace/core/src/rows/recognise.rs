//! Which I/O models a process uses, by what it did, never by its name.
//!
//! The weight of a model is the number of transfers to the process that came by it:
//! - a read that slept is *blocking* I/O;
//! - a read that did not sleep belongs to the readiness call that told of its descriptor: to *epoll* or *epoll-et* by
//!   the registration of that descriptor, whichever thread waits, or to the *select* or *poll* of its own thread;
//! - a read of a regular file is *file*, whether the page was there or not;
//! - any other read found data that was there already, or polled for it: *nonblocking* if there are more `EAGAIN` than
//!   `POLLS_PER_READ` for each read, beyond one for each event, which ends the reading of what an event told of;
//! - requests count as they were submitted, however many a call hands over.
//!
//! Which of these a read is, the kernel part decides for a sample ([`iotrace_ebpf::abi::ways`]). The numbers of reads,
//! events and requests are exact.

use std::collections::BTreeMap;

use iotrace_ebpf::abi::ways;

use crate::domain::{Direction, Role, Triggers};
use crate::summary::{Call, ModelUse};

/// A process with more `EAGAIN` returns per read than this polls: it asks again and again.
const POLLS_PER_READ: f64 = 2.0;

/// Transfers to a process, by the name of the syscall that read and the way they came, one of [`ways`]. Requests have no
/// syscall, so any name stands there.
pub type Ways = BTreeMap<(String, u16), u64>;

/// What a family of readiness calls did, in calls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Waits {
    /// Calls.
    calls: f64,
    /// Calls that returned no event.
    empty: f64,
    /// Events that they returned.
    events: f64,
}

/// Reads of a process by the way they came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reads {
    slept: f64,
    select: f64,
    poll: f64,
    level: f64,
    edge: f64,
    file: f64,
    untold: f64,
}

/// Counts of a process's calls by their outcome, in calls.
struct Counts {
    reads: f64,
    again: f64,
    select: Waits,
    poll: Waits,
    epoll: Waits,
    by_enter: f64,
    by_thread: f64,
    aio: f64,
    signals: f64,
    seeks_refused: f64,
    by_way: Reads,
}

/// The models of a process, the most used first; empty when no data came in. `triggers` is used where the kernel part
/// looked at no read.
pub fn models(calls: &[Call], came: &Ways, triggers: Triggers) -> Vec<ModelUse> {
    let counts = Counts::of(calls, came, triggers);
    let Reads { slept, untold, file, .. } = counts.by_way;
    let mut models = Vec::new();
    let mut add = |model: &str, weight: f64, evidence: String| {
        // Less than half a read is what rounding leaves of none.
        if weight >= 0.5 {
            models.push((model.to_owned(), weight, evidence));
        }
    };
    let helped = if slept > 0.0 { counts.seeks_refused.min(slept) } else { 0.0 };
    add(
        "posix-aio",
        helped,
        format!(
            "{} that slept right after a pread64 refused with ESPIPE: glibc's helper threads",
            reads(helped)
        ),
    );
    add(
        "blocking",
        slept - helped,
        format!("{} of {} slept in the call", whole(slept - helped), reads(counts.reads)),
    );
    for (model, waits, read) in [
        ("select", counts.select, counts.by_way.select),
        ("poll", counts.poll, counts.by_way.poll),
        ("epoll", counts.epoll, counts.by_way.level),
        ("epoll-et", counts.epoll, counts.by_way.edge),
    ] {
        let told = if model.starts_with("epoll") { counts.by_way.level + counts.by_way.edge } else { read };
        add(model, read, counts.evidence(waits, told));
    }
    let events = counts.select.events + counts.poll.events + counts.epoll.events;
    let polls = (counts.again - events).max(0.0);
    let polling = polls > POLLS_PER_READ * (untold + slept).max(1.0);
    if polling {
        let evidence = format!("{} EAGAIN for {}", whole(counts.again), reads(counts.reads));
        add("nonblocking", untold.max(if events == 0.0 { 1.0 } else { 0.0 }), evidence);
    } else {
        add("ready", untold, format!("{} found data and did not sleep", reads(untold)));
    }
    add("file", file, format!("{} of files", reads(file)));
    add(
        "io-uring",
        counts.by_enter,
        format!("{} handed to io_uring_enter", some(counts.by_enter, "request")),
    );
    add(
        "io-uring-sqpoll",
        counts.by_thread,
        format!("{} submitted by the kernel's SQ thread", some(counts.by_thread, "request")),
    );
    add("linux-aio", counts.aio, format!("{} handed to io_submit", some(counts.aio, "request")));
    add("sigio", counts.signals, format!("{} taken with rt_sigtimedwait", some(counts.signals, "signal")));
    let total: f64 = models.iter().map(|(_, weight, _)| weight).sum();
    models.sort_by(|one, other| other.1.total_cmp(&one.1));
    models
        .into_iter()
        .map(|(model, weight, evidence)| ModelUse { model, share: weight / total, evidence })
        .collect()
}

/// A number of calls, without a fraction.
fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

/// A number of calls with its noun: `1 read`, `2 reads`.
fn some(number: f64, noun: &str) -> String {
    let number = whole(number);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn reads(number: f64) -> String {
    some(number, "read")
}

impl Waits {
    /// The calls of these names.
    fn of(calls: &[Call], names: &[&str]) -> Self {
        let mine = calls.iter().filter(|call| names.contains(&call.syscall.as_str()));
        mine.fold(Self::default(), |sum, call| Self {
            calls: sum.calls + call.calls as f64,
            empty: sum.empty + (call.timeouts + call.empty) as f64,
            events: sum.events + call.returned as f64,
        })
    }
}

impl Reads {
    /// Reads as the kernel part found them: all that slept are counted, the others of each syscall in proportion to
    /// those of it that were looked at. `None` where it looked at none.
    fn as_told(calls: &[Call], came: &Ways) -> Option<Self> {
        let mut reads = Self::default();
        let mut names: Vec<&str> = came.keys().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        for name in names {
            let way = |way: u16| came.get(&(name.to_owned(), way)).copied().unwrap_or(0) as f64;
            let awake = [ways::UNTOLD, ways::FILE, ways::LEVEL, ways::EDGE, ways::SELECT, ways::POLL];
            let looked_at: f64 = awake.into_iter().map(way).sum();
            let done: u64 = calls.iter().filter(|call| call.syscall == name).map(succeeded).sum();
            let slept = way(ways::SLEPT).min(done as f64);
            let each = if looked_at > 0.0 { (done as f64 - slept) / looked_at } else { 0.0 };
            reads.slept += slept;
            for (sum, from) in [
                (&mut reads.untold, ways::UNTOLD),
                (&mut reads.file, ways::FILE),
                (&mut reads.level, ways::LEVEL),
                (&mut reads.edge, ways::EDGE),
                (&mut reads.select, ways::SELECT),
                (&mut reads.poll, ways::POLL),
            ] {
                *sum += way(from) * each;
            }
        }
        (reads != Self::default()).then_some(reads)
    }
}

/// Calls of a row that did not fail.
fn succeeded(call: &Call) -> u64 {
    call.calls - call.errors.values().sum::<u64>().min(call.calls)
}

impl Counts {
    fn of(calls: &[Call], came: &Ways, triggers: Triggers) -> Self {
        let sum = |wanted: &dyn Fn(&&Call) -> bool, value: &dyn Fn(&Call) -> u64| {
            calls.iter().filter(wanted).map(value).sum::<u64>() as f64
        };
        let input = |call: &&Call| call.direction == Some(Direction::In);
        let named = |name: &'static str| move |call: &&Call| call.syscall == name;
        let requests = |wanted: u16| {
            came.iter().filter(|((_, way), _)| *way == wanted).map(|(_, times)| times).sum::<u64>() as f64
        };
        // Without the tracepoint of a submission there are the numbers that the calls returned.
        let submitted = [requests(ways::SUBMITTED), requests(ways::SQPOLL)];
        let handed_over = sum(&named("io_uring_enter"), &|call| call.returned);
        let by_enter = if submitted == [0.0; 2] { handed_over } else { submitted[0] };
        let mut counts = Self {
            reads: sum(&input, &succeeded),
            again: sum(&input, &Call::not_yet),
            select: Waits::of(calls, &["select", "pselect6"]),
            poll: Waits::of(calls, &["poll", "ppoll"]),
            epoll: Waits::of(calls, &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
            by_enter,
            by_thread: submitted[1],
            aio: sum(&named("io_submit"), &|call| call.returned),
            signals: sum(
                &|call| call.syscall == "rt_sigtimedwait" && call.role == Role::Completion,
                &|call| call.returned,
            ),
            seeks_refused: sum(&named("pread64"), &|call| call.errors.get("ESPIPE").copied().unwrap_or(0)),
            by_way: Reads::default(),
        };
        counts.by_way = Reads::as_told(calls, came).unwrap_or_else(|| {
            // A read that slept and failed had its time up, or was interrupted: no data came by it.
            let slept =
                sum(&input, &|call| call.slept_calls.saturating_sub(call.timeouts).min(succeeded(call)));
            let files = |call: &&Call| input(call) && call.fd.as_ref().is_some_and(|fd| fd.kind == "file");
            counts.as_waited(slept, sum(&files, &|call| call.calls), triggers)
        });
        if counts.epoll.calls == 0.0 {
            // Nobody of this process was told by epoll, whatever is registered.
            counts.by_way.untold += counts.by_way.level + counts.by_way.edge;
            (counts.by_way.level, counts.by_way.edge) = (0.0, 0.0);
        }
        counts
    }

    /// Reads where none was looked at: those that did not sleep are shared by the events that each family returned.
    fn as_waited(&self, slept: f64, files: f64, triggers: Triggers) -> Reads {
        let awake = (self.reads - slept).max(0.0);
        let events = self.select.events + self.poll.events + self.epoll.events;
        if events == 0.0 {
            let file = files.min(awake);
            return Reads { slept, file, untold: awake - file, ..Reads::default() };
        }
        let of = |waits: Waits| awake * waits.events / events;
        let (level, edge) = match (of(self.epoll), triggers.edge > triggers.level) {
            (reads, true) => (0.0, reads),
            (reads, false) => (reads, 0.0),
        };
        Reads { slept, select: of(self.select), poll: of(self.poll), level, edge, ..Reads::default() }
    }

    /// What a family of readiness calls returned, and how many reads that led to.
    fn evidence(&self, waits: Waits, reads: f64) -> String {
        let per_event = if waits.events > 0.0 { reads / waits.events } else { 0.0 };
        let mut evidence = format!(
            "{} from {}, {per_event:.2} reads per event",
            some(waits.events, "event"),
            some(waits.calls, "wait")
        );
        if self.reads + self.again > 0.0 {
            evidence += &format!(", {:.0} % EAGAIN", 100.0 * self.again / (self.reads + self.again));
        }
        evidence + &format!(", {:.0} % of waits empty", 100.0 * waits.empty / waits.calls.max(1.0))
    }
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
