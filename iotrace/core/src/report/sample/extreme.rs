//! A sample with the largest possible numbers and long names, which must not break the layout.

use super::{call, fd, lossy, segment, sqpoll};
use crate::domain::dist::Dist;
use crate::domain::model::Model;
use crate::domain::*;
use crate::summary::*;

/// A document with every model; all numbers are as large as possible, and all names are long.
pub fn extreme() -> Document {
    let huge = Dist {
        count: u64::MAX,
        sum_ns: u64::MAX,
        min_ns: u64::MAX,
        p50_ns: u64::MAX,
        p90_ns: u64::MAX,
        p99_ns: u64::MAX,
        max_ns: u64::MAX,
        error: 0.03,
        buckets: vec![(u64::MAX, u64::MAX)],
    };
    let run = |&model: &Model| {
        let mut run = sqpoll();
        run.model = model;
        let mut row =
            call("a_system_call_with_a_very_long_name", Role::Completion, 1, [1; 5], CopySource::Estimated);
        row.thread_role = ThreadRole::Worker;
        row.fd = fd("unix", &"/a/very/long/path".repeat(20));
        for number in [&mut row.calls, &mut row.bytes, &mut row.timeouts, &mut row.restarts, &mut row.sleeps]
        {
            *number = u64::MAX;
        }
        for number in
            [&mut row.total_ns, &mut row.wait_ns, &mut row.disk_ns, &mut row.lock_ns, &mut row.runq_ns]
        {
            *number = u64::MAX;
        }
        (row.copy_ns, row.work_ns) = (u64::MAX, u64::MAX);
        (row.copy_upper_ns, row.copy_floor_ns) = (Some(u64::MAX), Some(u64::MAX));
        row.errors = (0..9).map(|n| (format!("EVERYERROR{n}"), u64::MAX)).collect();
        (row.phase2, row.latency) = (Some(huge.clone()), huge.clone());
        run.calls = vec![row; 3];
        (run.messages, run.size, run.interval_ns, run.connections) = (u64::MAX, u64::MAX, u64::MAX, u32::MAX);
        run.own_work_units = u64::MAX;
        let operations = &mut run.operations;
        operations.count = 1;
        operations.phase1 = Phase1 { blocked_ns: u64::MAX, polling_ns: u64::MAX, free_ns: u64::MAX };
        operations.phase2 = Phase2 {
            blocked_ns: Some(u64::MAX),
            free_ns: Some(u64::MAX),
            source: CopySource::Estimated,
            upper_ns: Some(u64::MAX),
        };
        (operations.pickup, operations.latency) = (Some(huge.clone()), Some(huge.clone()));
        (operations.calls_per_message, operations.cpu_ns_per_message) = (f64::MAX, u64::MAX);
        operations.joined_to_readiness = Some(u64::MAX);
        operations.signals = Some(Signals {
            generated: Some(u64::MAX),
            coalesced: Some(u64::MAX),
            not_queued: Some(u64::MAX),
            delivered: Some(u64::MAX),
            handler_runs: u64::MAX,
            spurious: u64::MAX,
            ready_to_generated: Some(huge.clone()),
            generated_to_delivered: Some(huge.clone()),
            delivered_to_read: Some(huge.clone()),
        });
        run.strip = Some(Strip {
            message: u64::MAX,
            lanes: vec![
                Lane {
                    thread_role: ThreadRole::Worker,
                    tid: u32::MAX,
                    segments: vec![segment(0, u64::MAX, State::Lock, &"long_call".repeat(30))],
                };
                20
            ],
            marks: (0..40).map(|n| Mark { at_ns: u64::MAX / 40 * n, name: "mark".repeat(9) }).collect(),
            end_ns: u64::MAX,
        });
        run
    };
    let mut document = lossy(Model::ALL.iter().map(run).collect());
    document.host.kernel = "6.12.43-with-a-very-long-local-version-string".repeat(3);
    document.warnings[0].text = "unbreakable".repeat(30);
    document
}
