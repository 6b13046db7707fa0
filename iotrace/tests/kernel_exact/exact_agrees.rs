//! On one and the same run tracepoints and hooks are compared: both see every copy, each with clocks of its
//! own. The figures go to stderr, so that `cargo xtask vm` shows them.

use std::ffi::OsStr;
use std::io::Write as _;

use iotrace::bpf::btf::Btf;
use iotrace::bpf::settings::Wish;
use iotrace::session::recorded::{Recorded, Recording, record};
use iotrace::session::tape::Items;
use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::{Log, Spec, Tuning};
use iotrace_core::domain::{Role, Tier};
use iotrace_core::records::copy::{Seen, seen_in};
use iotrace_core::records::journal::Journal;

use crate::program::binary;
use crate::{SKIPPED, attempts, has_hooks};

pub fn spec(transport: Transport, size: u64) -> Spec {
    Spec {
        model: Model::Blocking,
        transport,
        messages: 60,
        size,
        interval_ns: 2_000_000,
        connections: 1,
        active: 1,
        poll_interval_ns: 0,
        warmup: 5,
        calibration: 32,
        meanwhile: None,
        port: 0,
        tuning: Tuning::default(),
    }
}

/// A run with hooks beside the tracepoints.
fn both(spec: &Spec) -> (Journal, Log) {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    attempts::until(8, SKIPPED, |_| {
        let program = binary();
        let recording = Recording {
            tier: Wish::Both,
            program: OsStr::new(&program),
            btf: &btf,
            spec,
            ring_bytes: 16 << 20,
            without: &[],
        };
        let recorded = record(&recording, |_| {}, &mut Items::dropped());
        let recorded = recorded.unwrap_or_else(|failure| panic!("{spec:?}: {failure}"));
        let Recorded { mut journal, observer, log } = recorded.expect("nobody interrupts the tests");
        assert_eq!(observer.tier(), Tier::Tracepoint, "those are what is booked");
        match observer.recursion_misses().unwrap_or(0) {
            0 => {
                journal.sort();
                Ok((journal, log))
            }
            skipped => Err(format!("{skipped} probe runs skipped: {spec:?}")),
        }
    })
}

/// A call, as both saw it: what tracepoints saw, the time and the number of copies between hooks.
struct Pair {
    bytes: u64,
    seen: Seen,
    exact: u64,
    copies: u64,
}

/// Calls that moved data of the workload, each with the copies that hooks saw in it.
fn pairs((journal, log): &(Journal, Log)) -> Vec<Pair> {
    let began = log.messages.first().expect("it had messages").want_ns;
    let moved = journal.calls.iter().filter(|entry| {
        let mine = log.connections.iter().any(|one| one.fd == entry.call.fd) && entry.exit() > began;
        mine && entry.role() == Role::Data && entry.call.ret > 0
    });
    let pair = moved.map(|entry| {
        let (tid, from, to) = (entry.call.head.tid, entry.enter(), entry.exit());
        let mine = journal.beside.iter().filter(|copy| copy.head.tid == tid);
        let mine = mine.filter(|copy| copy.window.begin >= from && copy.window.end <= to);
        let (copies, exact) = mine.fold((0, 0), |(n, sum), copy| (n + 1, sum + copy.window.length()));
        Pair { bytes: entry.call.ret as u64, seen: seen_in(&entry.call).expect("it copied"), exact, copies }
    });
    pair.collect()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    *values.get(values.len() / 2).expect("there are some")
}

/// Time a copy of one byte takes, by tracepoints and by hooks: what both are measured against.
fn floors(pairs: &[Pair]) -> [u64; 2] {
    let small = || pairs.iter().filter(|pair| pair.bytes == 1);
    let marked = small().filter_map(|pair| match pair.seen {
        Seen::Marked { raw, copies } => raw.checked_div(copies),
        Seen::Window { .. } => None,
    });
    [median(marked.collect()), median(small().map(|pair| pair.exact).collect())]
}

/// How much longer tracepoints make the copies of one run than hooks do, in percent, each less the copy of one
/// byte: the median call. An interrupt in one window of many moves the sums, not the median.
fn compare(transport: Transport, size: u64) -> f64 {
    let pairs = pairs(&both(&spec(transport, size)));
    let [floor, exact_floor] = floors(&pairs);
    let (mut marked, mut exact, mut copies, mut ratios) = (0, 0, 0, Vec::new());
    for pair in pairs.iter().filter(|pair| pair.bytes > 1) {
        let Seen::Marked { raw, copies: marks } = pair.seen else {
            panic!("{transport}: a call of {} bytes has no marks", pair.bytes);
        };
        assert_eq!(marks, pair.copies, "{transport}: hooks see the copies that tracepoints see");
        let by_marks = raw.saturating_sub(floor * marks);
        let by_hooks = pair.exact.saturating_sub(exact_floor * marks);
        ratios.push(by_marks * 1000 / by_hooks.max(1));
        (marked, exact, copies) = (marked + by_marks, exact + by_hooks, copies + marks);
    }
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let (all, middle) = (percent(marked as f64 / exact as f64), percent(median(ratios) as f64 / 1000.0));
    writeln!(
        std::io::stderr(),
        "marked against exact: {transport} {size} B: {copies} copies, marked {marked} ns, exact {exact} ns: \
         {all:+.1} %, the median call {middle:+.1} % (one byte: {floor} ns and {exact_floor} ns, taken off)"
    )
    .expect("stderr is open");
    middle
}

/// A copy without marks is estimated, and bounded: no hook may see one longer than its bound.
#[test]
#[ignore = "needs root"]
fn no_bound_of_an_estimate_is_below_the_copy() {
    if !has_hooks() {
        return;
    }
    for size in [100, 1000, 8 << 10] {
        let run = both(&spec(Transport::Udp, size));
        let (mut bound, mut exact, mut copies) = (0, 0, 0);
        for pair in pairs(&run).iter().filter(|pair| pair.bytes == size) {
            let Seen::Window { upper, .. } = pair.seen else { panic!("{size}: a small datagram has marks") };
            assert_eq!(pair.copies, 1, "a datagram is copied once");
            assert!(upper >= pair.exact, "{size}: the bound is {upper} ns, the copy took {} ns", pair.exact);
            (bound, exact, copies) = (bound + upper, exact + pair.exact, copies + 1);
        }
        assert!(copies >= 60, "{size}: {copies} messages");
        writeln!(
            std::io::stderr(),
            "bound of estimates against exact: udp {size} B: {copies} copies, bound {bound} ns, exact {exact} ns"
        )
        .expect("stderr is open");
    }
}

#[test]
#[ignore = "needs root"]
fn marks_and_hooks_agree() {
    if !has_hooks() {
        return;
    }
    for transport in [Transport::Tcp, Transport::Unix] {
        for size in [16 << 10, 64 << 10, 256 << 10] {
            attempts::until(4, "a busy machine may spoil one run's floors", |_| {
                let off = compare(transport, size);
                let said = format!("{transport} {size}: marked against exact: {off:+.1} %");
                if off.abs() <= 15.0 { Ok(()) } else { Err(said) }
            });
        }
    }
}
