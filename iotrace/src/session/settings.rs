//! What the probes are told for what was asked.

use iotrace_core::domain::syscall::{self, Syscall};
use iotrace_ebpf::abi::sinks;
use iotrace_ebpf::abi::traits::{IN, PAST, REQUESTS, SUBMIT};

use crate::bpf::probes::Group;
use crate::bpf::settings::{Fault, Settings, Whom};
use crate::session::asked::Asked;
use crate::session::calibrate;

/// Memory for the sums of rows in bytes, all CPUs together.
const ROW_BYTES: usize = 32 << 20;

/// What the probes are told for these arguments.
pub fn of_trace(asked: &Asked, whom: &Whom) -> Settings {
    let mut groups = vec![Group::Core, Group::Exec, Group::Follow, Group::Sockets];
    if copies_out_of_sockets(asked) {
        groups.extend([Group::Copy, Group::CopyUnix]);
        groups.extend(HOOKS);
    }
    if syscall::all().any(|one| one.traits & REQUESTS != 0 && asked.traces(one)) {
        groups.push(Group::Submissions);
    }
    let (sinks, ring_bytes) = sink(asked);
    Settings {
        whom: whom.clone(),
        groups,
        sinks,
        per: asked.per,
        traits: syscall::table(|one| asked.traces(one)),
        min_ns: asked.min.map_or(0, |min| min.as_nanos() as u64),
        per_kib: calibrate::per_kib(),
        signals: 0,
        ring_bytes,
        rows: rows(asked, whom) as u32,
        tier: asked.tier,
        without: asked.without.clone(),
        unneeded: &[],
        fault: Fault::default(),
    }
}

/// Whether any traced syscall may copy out of a socket: if none does, everybody is spared those probes.
fn copies_out_of_sockets(asked: &Asked) -> bool {
    let may = |one: &&Syscall| one.traits & (IN | SUBMIT | REQUESTS | PAST) != 0;
    syscall::all().filter(may).any(|one| asked.traces(one))
}

/// Function hooks that sums have a use for.
pub const HOOKS: [Group; 2] = [Group::ExactSockets, Group::ExactDatagrams];

/// Rows of one process as a whole: more than there are calls.
const ROWS_OF_ONE: usize = 1024;

/// Most rows that the kernel keeps at a time: as asked for, or what fits and may be needed.
pub fn rows(asked: &Asked, whom: &Whom) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let fitting = ROW_BYTES / (cpus * size_of::<iotrace_ebpf::abi::Agg>());
    let needed = if whom.is_one_as_a_whole(asked.per) { ROWS_OF_ONE } else { 4096 };
    asked.rows.map_or(fitting.clamp(512, needed), |rows| rows as usize)
}

/// Bits of `abi::sinks`, and a ring to go with them: sums need it for names only, and records of the time
/// between two looks must fit into it.
fn sink(asked: &Asked) -> (u32, u32) {
    match asked {
        Asked { records_only: true, .. } => (sinks::RECORDS, 64 << 20),
        Asked { longest: true, .. } => (sinks::RECORDS | sinks::AGGREGATES, 64 << 20),
        _ => (sinks::AGGREGATES, 4 << 20),
    }
}
