//! Results made by hand, for tests: their numbers are realistic, and the same on every machine.

mod checks;
mod extreme;
mod study;

use std::collections::BTreeMap;

use crate::domain::dist::{Dist, Histogram};
use crate::domain::model::{Meanwhile, Model, Transport};
use crate::domain::*;
use crate::summary::*;
pub use checks::selftest;
pub use extreme::extreme;
pub use study::{pictured, study};

/// The distribution of `count` times with these percentiles, about, in ns: nine of ten lie near `p50_ns`.
pub fn dist(count: u64, p50_ns: u64, p99_ns: u64) -> Dist {
    let value = |n: u64| match n * 100 / count {
        0..90 => p50_ns - p50_ns / 50 + p50_ns * (n % 5) / 100,
        _ => p50_ns + (p99_ns - p50_ns) * (n * 100 / count - 89) / 10,
    };
    (0..count).map(value).collect::<Histogram>().dist()
}

/// A row of `calls` calls whose parts are wait, lock, runq, copy and work, ns; no call slept for a disk.
pub fn call(syscall: &str, role: Role, calls: u64, parts: [u64; 5], copy_source: CopySource) -> Call {
    let [wait_ns, lock_ns, runq_ns, copy_ns, work_ns] = parts;
    let total_ns: u64 = parts.iter().sum();
    let moved = copy_source != CopySource::None;
    Call {
        syscall: syscall.to_owned(),
        role,
        direction: moved.then_some(Direction::In),
        thread_role: ThreadRole::App,
        tid: None,
        thread_name: None,
        fd: None,
        calls,
        bytes: if moved { 200 * 1024 } else { 0 },
        returned: if role == Role::Data { 0 } else { calls },
        open: 0,
        errors: BTreeMap::new(),
        peeked_bytes: 0,
        denied: 0,
        timeouts: 0,
        empty: 0,
        restarts: 0,
        slept_calls: if wait_ns > 0 { calls } else { 0 },
        sleeps: if wait_ns > 0 { calls } else { 0 },
        total_ns,
        wait_ns,
        disk_ns: 0,
        lock_ns,
        runq_ns,
        copy_ns,
        work_ns,
        copy_source,
        copy_upper_ns: (copy_source == CopySource::Estimated).then_some(812 * calls),
        copy_floor_ns: (copy_source == CopySource::Estimated).then_some(96),
        phase1: dist(calls, (wait_ns + runq_ns) / calls, (wait_ns + runq_ns) / calls * 11 / 10),
        phase2: moved.then(|| dist(200, copy_ns / 200, copy_ns / 80)),
        latency: dist(calls, total_ns / calls, total_ns / calls * 12 / 10),
        waits_for: None,
        pickup: None,
    }
}

/// A run of 200 messages of 1 KiB, one every millisecond, with these calls.
pub fn run(model: Model, transport: Transport, calls: Vec<Call>) -> Run {
    Run {
        model,
        transport,
        messages: 200,
        size: 1024,
        interval_ns: 1_000_000,
        connections: 1,
        elapsed_ns: 204_100_000,
        meanwhile: None,
        own_work_units: 0,
        app_threads: vec![4711],
        calls,
        operations: Operations {
            count: 200,
            bytes: 200 * 1024,
            phase1: Phase1 { blocked_ns: 201_400_000, polling_ns: 0, free_ns: 1_420_000 },
            phase2: Phase2 {
                blocked_ns: Some(82_400),
                free_ns: Some(0),
                source: CopySource::Estimated,
                upper_ns: Some(162_400),
            },
            pickup: Some(dist(200, 4_120, 12_100)),
            latency: Some(dist(200, 5_830, 15_400)),
            ready_source: ReadySource::SkDataReady,
            calls_per_message: 1.0,
            cpu_ns_per_message: 9_870,
            joined_to_readiness: None,
            signals: None,
            requests: None,
        },
        verdict: Verdict { phase1: Meant::Blocked, phase2: Meant::Blocked, synchronous: true },
        strip: None,
    }
}

fn fd(kind: &str, name: &str) -> Option<Fd> {
    Some(Fd { kind: kind.to_owned(), name: name.to_owned() })
}

fn segment(from_ns: u64, to_ns: u64, state: State, syscall: &str) -> Segment {
    let syscall = (!syscall.is_empty()).then(|| syscall.to_owned());
    Segment { from_ns, to_ns, state, syscall }
}

fn marks(marks: &[(u64, &str)]) -> Vec<Mark> {
    marks.iter().map(|&(at_ns, name)| Mark { at_ns, name: name.to_owned() }).collect()
}

/// Model blocking: `recvfrom` sleeps, is woken, copies.
pub fn blocking() -> Run {
    let mut row = call(
        "recvfrom",
        Role::Data,
        200,
        [201_400_000, 0, 824_000, 82_400, 1_210_000],
        CopySource::Estimated,
    );
    row.fd = fd("udp", "127.0.0.1:40001");
    let mut run = run(Model::Blocking, Transport::Udp, vec![row]);
    run.strip = Some(Strip {
        message: 100,
        lanes: vec![Lane {
            thread_role: ThreadRole::App,
            tid: 4711,
            segments: vec![
                segment(0, 900, State::Work, "recvfrom"),
                segment(900, 1_008_900, State::Wait, "recvfrom"),
                segment(1_008_900, 1_011_800, State::Runq, "recvfrom"),
                segment(1_011_800, 1_012_900, State::Work, "recvfrom"),
                segment(1_012_900, 1_013_312, State::Copy, "recvfrom"),
                segment(1_013_312, 1_014_000, State::Work, "recvfrom"),
            ],
        }],
        marks: marks(&[(1_006_400, "sent"), (1_008_200, "ready"), (1_008_900, "woken")]),
        end_ns: 1_014_030,
    });
    run
}

/// Model nonblocking: `recvfrom` returns EAGAIN a thousand times for each message.
pub fn nonblocking() -> Run {
    let mut row =
        call("recvfrom", Role::Data, 241_083, [0, 0, 1_830_000, 79_100, 156_700_000], CopySource::Estimated);
    row.errors.insert("EAGAIN".to_owned(), 240_883);
    let mut run = run(Model::Nonblocking, Transport::Udp, vec![row]);
    run.operations.phase1 = Phase1 { blocked_ns: 1_830_000, polling_ns: 156_100_000, free_ns: 42_500_000 };
    run.operations.phase2.blocked_ns = Some(79_100);
    run.operations.pickup = Some(dist(200, 310, 790));
    run.operations.latency = Some(dist(200, 1_620, 3_900));
    run.operations.calls_per_message = 1_205.4;
    run.operations.cpu_ns_per_message = 1_008_000;
    run.verdict.phase1 = Meant::Polling;
    let mut segments: Vec<_> =
        (0..1_243).map(|n| segment(n * 810, n * 810 + 640, State::Poll, "recvfrom")).collect();
    segments.push(segment(1_006_900, 1_008_000, State::Work, "recvfrom"));
    segments.push(segment(1_008_000, 1_008_400, State::Copy, "recvfrom"));
    segments.push(segment(1_008_400, 1_008_700, State::Work, "recvfrom"));
    run.strip = Some(Strip {
        message: 17,
        lanes: vec![Lane { thread_role: ThreadRole::App, tid: 4712, segments }],
        marks: marks(&[(1_004_900, "sent"), (1_006_500, "ready")]),
        end_ns: 1_008_760,
    });
    run
}

/// Model select: `select`, then `recvfrom`, over TCP, where a tracepoint marks each end of the copy.
pub fn select() -> Run {
    let mut wait =
        call("pselect6", Role::Readiness, 201, [200_900_000, 0, 961_000, 0, 1_540_000], CopySource::None);
    wait.timeouts = 1;
    wait.fd = fd("tcp", "64 descriptors");
    let mut data = call("recvfrom", Role::Data, 200, [0, 41_000, 0, 46_200, 402_000], CopySource::Marked);
    data.fd = fd("tcp", "127.0.0.1:40002");
    let mut run = run(Model::Select, Transport::Tcp, vec![wait, data]);
    run.connections = 64;
    run.operations.phase2.blocked_ns = Some(46_200);
    run.operations.joined_to_readiness = Some(199);
    run.operations.count = 199;
    run.operations.calls_per_message = 2.005;
    run.operations.latency = Some(dist(199, 12_600, 31_000));
    run
}

/// Model sigio: the kernel sends a signal, and its handler reads.
pub fn sigio() -> Run {
    let data = call("recvfrom", Role::Data, 200, [0, 0, 0, 84_000, 251_000], CopySource::Estimated);
    let mut back = call("rt_sigreturn", Role::Completion, 200, [0, 0, 0, 0, 61_000], CopySource::None);
    back.latency = Dist::default();
    let mut run = run(Model::Sigio, Transport::Udp, vec![data, back]);
    run.meanwhile = Some(Meanwhile::Compute);
    run.own_work_units = 187_400;
    run.operations.phase1 = Phase1 { blocked_ns: 0, polling_ns: 0, free_ns: 202_700_000 };
    run.operations.calls_per_message = 2.0;
    run.operations.cpu_ns_per_message = 1_003_000;
    run.operations.signals = Some(Signals {
        generated: Some(197),
        coalesced: Some(3),
        not_queued: Some(0),
        delivered: Some(197),
        handler_runs: 197,
        spurious: 0,
        ready_to_generated: Some(dist(197, 410, 980)),
        generated_to_delivered: Some(dist(197, 2_310, 8_700)),
        delivered_to_read: None,
    });
    run.verdict = Verdict { phase1: Meant::Free, phase2: Meant::Blocked, synchronous: true };
    run.strip = Some(Strip {
        message: 99,
        lanes: vec![Lane {
            thread_role: ThreadRole::App,
            tid: 4713,
            segments: vec![
                segment(1_011_300, 1_012_100, State::Work, "recvfrom"),
                segment(1_012_100, 1_012_500, State::Copy, "recvfrom"),
                segment(1_012_500, 1_012_800, State::Work, "recvfrom"),
            ],
        }],
        marks: marks(&[
            (1_006_000, "sent"),
            (1_007_900, "ready"),
            (1_008_300, "signal"),
            (1_010_600, "delivered"),
        ]),
        end_ns: 1_012_840,
    });
    run
}

/// Model io-uring-sqpoll: the kernel's SQ thread submits, polls and copies, and the application makes no call. No hook
/// marks the copies of that thread, so their times are not measured.
pub fn sqpoll() -> Run {
    let mut run = run(Model::IoUringSqpoll, Transport::Udp, Vec::new());
    run.meanwhile = Some(Meanwhile::Compute);
    run.own_work_units = 191_200;
    run.operations.phase1 = Phase1 { blocked_ns: 0, polling_ns: 0, free_ns: 203_000_000 };
    run.operations.phase2 =
        Phase2 { blocked_ns: None, free_ns: None, source: CopySource::None, upper_ns: None };
    run.operations.pickup = None;
    run.operations.calls_per_message = 0.0;
    run.operations.cpu_ns_per_message = 2_011_000;
    run.operations.ready_source = ReadySource::TaskAdd;
    run.operations.requests = Some(Requests {
        submitted: 200,
        completed: 200,
        inline: Some(0),
        polled: Some(200),
        worker: None,
        submit_to_ready: Some(dist(200, 996_000, 1_104_000)),
        ready_to_copy: None,
        copy_to_complete: None,
        complete_to_seen: Some(dist(200, 640, 1_310)),
        copied_in: CopiedIn { sqpoll: 200, ..CopiedIn::default() },
    });
    run.verdict = Verdict { phase1: Meant::Free, phase2: Meant::Free, synchronous: false };
    run.strip = Some(Strip {
        message: 3,
        lanes: vec![
            Lane { thread_role: ThreadRole::App, tid: 4714, segments: Vec::new() },
            Lane {
                thread_role: ThreadRole::Sqpoll,
                tid: 4715,
                segments: vec![
                    segment(300, 2_900, State::Work, ""),
                    segment(1_009_200, 1_010_100, State::Work, ""),
                    segment(1_010_100, 1_010_512, State::Copy, ""),
                    segment(1_010_512, 1_011_000, State::Work, ""),
                ],
            },
        ],
        marks: marks(&[(1_006_000, "sent"), (1_008_700, "ready"), (1_011_000, "completed")]),
        end_ns: 1_011_640,
    });
    run
}

/// Model posix-aio: a helper thread of the C library makes the blocking calls, two for each message.
pub fn posix_aio() -> Run {
    let mut seek = call("pread64", Role::Data, 200, [0, 0, 0, 0, 118_000], CopySource::None);
    seek.errors.insert("ESPIPE".to_owned(), 200);
    let mut read =
        call("read", Role::Data, 200, [200_100_000, 0, 911_000, 83_900, 1_304_000], CopySource::Estimated);
    (seek.thread_role, read.thread_role) = (ThreadRole::Helper, ThreadRole::Helper);
    let mut run = run(Model::PosixAio, Transport::Udp, vec![seek, read]);
    run.meanwhile = Some(Meanwhile::Compute);
    run.own_work_units = 186_900;
    run.operations.phase1 = Phase1 { blocked_ns: 0, polling_ns: 0, free_ns: 202_900_000 };
    run.operations.phase2.blocked_ns = Some(0);
    run.operations.phase2.free_ns = Some(83_900);
    run.operations.calls_per_message = 0.0;
    run.operations.cpu_ns_per_message = 1_019_000;
    run.operations.requests = Some(Requests {
        submitted: 200,
        completed: 200,
        inline: None,
        polled: None,
        worker: None,
        submit_to_ready: Some(dist(200, 998_000, 1_103_000)),
        ready_to_copy: Some(dist(200, 4_900, 13_000)),
        copy_to_complete: None,
        complete_to_seen: Some(dist(200, 1_150, 2_300)),
        copied_in: CopiedIn { helper: 200, ..CopiedIn::default() },
    });
    run.verdict = Verdict { phase1: Meant::Free, phase2: Meant::Free, synchronous: false };
    run
}

/// A document of `runs` that is complete.
pub fn document(runs: Vec<Run>) -> Document {
    Document {
        schema: SCHEMA.to_owned(),
        command: "run".to_owned(),
        host: Host {
            kernel: "6.12.43".to_owned(),
            arch: "x86_64".to_owned(),
            cpus: 2,
            lockdown: "none".to_owned(),
            tier: Tier::Tracepoint,
        },
        complete: true,
        loss: Loss { in_flight_start: 1, recursion_misses: Some(0), ..Loss::default() },
        overhead: Overhead {
            per_call_ns: Some(310),
            per_other_call_ns: Some(24),
            iotrace_cpu_ns: Some(12_400_000),
            iotrace_loading_cpu_ns: None,
            ..Overhead::default()
        },
        elapsed_ns: 1_204_000_000,
        interval: None,
        runs,
        processes: Vec::new(),
        time: None,
        diagnosis: Vec::new(),
        checks: Vec::new(),
        studies: Vec::new(),
        ok: None,
        findings: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A document of `runs` that is not complete.
pub fn lossy(runs: Vec<Run>) -> Document {
    let mut document = document(runs);
    document.complete = false;
    document.loss = Loss { records: 1_204, unmatched: 2, recursion_misses: None, ..Loss::default() };
    document.overhead = Overhead::default();
    document.warnings = vec![Warning {
        code: "copy-not-seen".to_owned(),
        text: "The kernel's SQ thread copies outside any call and this kernel has no hook there, so the time of \
               its copies is not measured; a kernel that allows function hooks would show it."
            .to_owned(),
    }];
    document
}

/// One run of each kind.
pub fn all() -> Vec<Run> {
    vec![blocking(), nonblocking(), select(), sigio(), posix_aio(), sqpoll()]
}
