//! What a trace keeps of a machine on which processes come and go, each under a name of its own.

use iotrace_core::domain::{Loss, Tier};
use iotrace_core::report::{Format, Options, render};
use iotrace_core::rows::batch::{Batch, Closes, Closing, Facts, ThreadName};
use iotrace_core::rows::ledger::{Ledger, Opening};
use iotrace_core::rows::open::Open;
use iotrace_core::rows::sums::{Row, Snapshot};
use iotrace_core::summary::{Document, Host};
use iotrace_ebpf::abi::AggKey;
use iotrace_ebpf::book::Distribution;

/// Most bytes of a result, whatever was traced.
const RESULT: usize = 5 << 20;

fn ledger() -> Ledger {
    let host = Host {
        kernel: "6.18".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 2,
        lockdown: "none".to_owned(),
        tier: Tier::Tracepoint,
    };
    Ledger::new(Opening {
        host,
        started: 1,
        exact: false,
        top: None,
        warnings: Vec::new(),
        initial: vec![1],
        with_command: true,
        selective: false,
        traced: Vec::new(),
        target: Default::default(),
        missing: Vec::new(),
        min_ns: 0,
        wall_clock: None,
    })
}

/// Rows of a process: `calls` calls of each of `rows` syscalls, with latencies of all lengths.
fn sums(pid: u32, rows: u32, calls: u64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for nr in 0..rows {
        let mut row = Row { calls, ..Row::default() };
        row.parts.work = 1000 * calls;
        row.parts.total = row.parts.work;
        (0..40).for_each(|bit| row.latency.count(1 << bit));
        snapshot.rows.insert(AggKey { tgid: pid, nr, fd: -1, ..AggKey::default() }, row);
    }
    snapshot
}

fn named(pid: u32) -> ThreadName {
    ThreadName { tid: pid, pid, name: format!("unique-{pid}") }
}

fn size(document: &Document) -> usize {
    let mut out = Vec::new();
    render(Format::Json, document, &Options::default(), &mut out).expect("memory takes it");
    out.len()
}

fn calls(document: &Document) -> u64 {
    document.processes.iter().flat_map(|process| &process.calls).map(|call| call.calls).sum()
}

fn closing(of: Closes) -> Closing {
    Closing { of, loss: Loss::NOTHING, ..Closing::default() }
}

#[test]
fn a_storm_of_births_gives_a_small_result_in_which_no_call_is_missing() {
    let mut ledger = ledger();
    let mut made = 0;
    let mut printed = 0;
    for round in 0..300u32 {
        let pids = round * 100 + 1..=round * 100 + 100;
        let mut batch = Batch { retired: Some(Snapshot::default()), ..Batch::default() };
        for pid in pids {
            batch.retired.as_mut().unwrap().add(&sums(pid, 2, 3));
            batch.facts.threads.push(named(pid));
            batch.facts.ended_processes.push(pid);
            made += 6;
        }
        batch.closing =
            (round % 100 == 0).then(|| closing(if round == 0 { Closes::Begin } else { Closes::Interval }));
        // All of them have ended, as the source finds out when it is asked.
        let checked = ledger.threads_to_check(&Default::default());
        batch.facts.ended_threads = checked.into_iter().map(|(tid, _)| tid).collect();
        let begun = round == 0;
        if let Some(document) = ledger.take(batch) {
            assert!(size(&document) < RESULT);
            printed += calls(&document);
        }
        printed += if begun { made } else { 0 };
        assert!(ledger.names().threads.len() < 20_000, "{} names", ledger.names().threads.len());
    }
    // Many more that still run when it ends.
    let mut alive = Snapshot::default();
    let mut facts = Facts::default();
    for pid in 100_000..103_000 {
        alive.add(&sums(pid, 2, 5));
        facts.threads.push(named(pid));
    }
    let last = |of, sums: Option<Snapshot>, facts| Batch {
        sums,
        facts,
        closing: Some(closing(of)),
        ..Batch::default()
    };
    let rest = ledger.take(last(Closes::Interval, Some(alive), facts)).unwrap();
    let whole = ledger.take(last(Closes::Whole, None, Facts::default())).unwrap();
    assert_eq!(printed + calls(&rest), made + 3_000 * 10);
    // The first round was before the first interval.
    assert_eq!(calls(&whole), made + 3_000 * 10 - 600);
    assert!(size(&whole) < RESULT, "{} bytes", size(&whole));
    let processes: u64 = whole.processes.iter().map(|process| process.processes).sum();
    assert!(whole.processes.len() <= 1024 && processes >= 32_900, "{processes}");
    assert_eq!(whole.processes.iter().filter(|process| process.others).count(), 1);
    assert!(whole.warnings.iter().any(|warning| warning.code == "processes_merged"));
    for call in whole.processes.iter().flat_map(|process| &process.calls) {
        assert_eq!(call.work_ns, call.calls * 1000, "sums stay exact: {}", call.syscall);
    }
}

#[test]
fn names_of_processes_without_a_traced_call_do_not_pile_up() {
    let mut ledger = ledger();
    for round in 0..3_000u32 {
        let mut facts =
            Facts { threads: (0..100).map(|n| named(round * 100 + n + 2)).collect(), ..Facts::default() };
        // All of them have ended by now, as the source finds out.
        let checked = ledger.threads_to_check(&Default::default());
        facts.ended_threads = checked.into_iter().map(|(tid, _)| tid).collect();
        ledger.take(Batch { facts, ..Batch::default() });
        assert!(ledger.names().threads.len() < 20_000);
    }
}

#[test]
fn calls_in_flight_are_listed_up_to_a_number_and_counted() {
    let mut ledger = ledger();
    let open = |tgid, tid| Open {
        tgid,
        tid,
        since: 5,
        key: AggKey { tgid, ..AggKey::default() },
        ..Open::default()
    };
    let mut end = closing(Closes::Whole);
    end.open = (0..30_000)
        .map(|tid| open(7, 10 + tid))
        .chain((0..5_000).map(|n| open(40_000 + n, 40_000 + n)))
        .collect();
    let document = ledger
        .take(Batch { at: 50, sums: Some(Snapshot::default()), closing: Some(end), ..Batch::default() })
        .unwrap();
    assert!(size(&document) < RESULT, "{} bytes", size(&document));
    let told: u64 =
        document.processes.iter().map(|one| one.in_flight.len() as u64 + one.in_flight_left_out).sum();
    assert_eq!((told, document.loss.in_flight_stop), (35_000, 35_000));
}
