//! What phase 2 costs: by size and transport, by the number of socket buffers, compared with waiting, and what
//! `MSG_ZEROCOPY` and `TCP_ZEROCOPY_RECEIVE` save.

mod buffers;
mod exchange;
mod mapped;
mod read;
mod zerocopy;

use super::pair::Pair;
use super::{Experiment, Lab, Outcome};
use crate::bpf::probes::Group;
use crate::session::error::Failure;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Axis, Source};

/// The study `copy`: what phase 2 costs.
pub const COPY: Experiment = Experiment {
    name: "copy",
    question: "What does copying from the kernel cost, by size and transport?",
    arms: &["tcp", "udp", "unix", "pipe"],
    connections: None,
    run,
};

const TRANSPORTS: [Transport; 4] = [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Pipe];
/// Bytes of a message, in full and with `--quick`.
const SIZES: [&[usize]; 2] = [
    &[1, 64, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20],
    &[1, 1 << 10, 16 << 10, 128 << 10],
];

/// One point of the study that is timed without probes. The numbers are bytes, those of `Buffers` buffers; the flags
/// say whether the kernel is asked to avoid the copy.
#[derive(Clone, Copy)]
enum Arm {
    Read(Transport, usize),
    Buffers(usize),
    Send(bool, usize),
    Receive(bool, usize),
}

/// One point of the study that is measured from the kernel's records. The numbers are bytes.
#[derive(Clone, Copy)]
enum Observed {
    Copy(Transport, usize),
    Exchange(Transport, usize),
}

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let sizes = lab.size(SIZES[0], SIZES[1]);
    let transports: Vec<Transport> =
        TRANSPORTS.into_iter().filter(|transport| lab.wants(&transport.to_string())).collect();
    let marked: Vec<Transport> = transports
        .iter()
        .copied()
        .filter(|transport| matches!(transport, Transport::Tcp | Transport::Unix))
        .collect();
    let mut arms: Vec<Arm> = Vec::new();
    let mut observed: Vec<Observed> = Vec::new();
    for &size in sizes {
        arms.extend(transports.iter().map(|&transport| Arm::Read(transport, size)));
        observed.extend(marked.iter().map(|&transport| Observed::Copy(transport, size)));
        observed.extend(marked.iter().map(|&transport| Observed::Exchange(transport, size)));
    }
    if transports.contains(&Transport::Unix) {
        arms.extend(buffers::POINTS.map(Arm::Buffers));
    }
    if transports.contains(&Transport::Tcp) {
        arms.extend(zerocopy::SIZES.iter().flat_map(|&size| [Arm::Send(false, size), Arm::Send(true, size)]));
        let sizes = mapped::SIZES.iter();
        arms.extend(sizes.flat_map(|&size| [Arm::Receive(false, size), Arm::Receive(true, size)]));
    }
    let mut sheet = declared();
    let (mut sent, mut received) = (zerocopy::Completions::default(), mapped::Mapped::default());
    let failed = Failure::while_doing;
    lab.rounds("reading", &mut sheet, arms.len(), |index, sheet| {
        match arms[index] {
            Arm::Read(transport, size) => read::timed(transport, size, sheet),
            Arm::Buffers(count) => buffers::timed(count, sheet),
            Arm::Send(zerocopy, size) => zerocopy::timed(zerocopy, size, &mut sent, sheet),
            Arm::Receive(map, size) => mapped::timed(map, size, &mut received, sheet),
        }
        .map_err(failed("copying"))
    })?;
    if !observed.is_empty() {
        let groups = [Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix];
        let mut watching = lab.watch(&groups, false)?;
        lab.rounds("observing", &mut sheet, observed.len(), |index, sheet| {
            match observed[index] {
                Observed::Copy(transport, size) => read::observed(transport, size, &mut watching, sheet),
                Observed::Exchange(transport, size) => {
                    exchange::observed(transport, size, &mut watching, sheet)
                }
            }
            .map_err(failed("copying under observation"))
        })?;
        lab.unwatch(watching);
    }
    Ok(conclude(sheet, &transports, [sent.finding(), received.finding()]))
}

fn declared() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.order(&["tcp", "udp", "unix", "pipe"]);
    let mut declare = |name, title, source, label: &str, per: &str| {
        let axis = Axis { label: label.to_owned(), per: per.to_owned(), log: true };
        sheet.measure(name, title, "ns", source, Some(axis));
    };
    declare(
        "read",
        "reading a message that is all there, the calls included",
        Source::Clock,
        "bytes",
        "byte",
    );
    declare(
        "phase-2",
        "the copies of that message alone, less the copy of one byte",
        Source::Ebpf,
        "bytes",
        "byte",
    );
    declare(
        "exchange",
        "a peer answers at once: waiting for the answer, and copying it",
        Source::Ebpf,
        "bytes",
        "byte",
    );
    declare(
        "buffers",
        "reading 32 KiB over unix, sent in this many pieces",
        Source::Clock,
        "buffers",
        "buffer",
    );
    declare("send", "sending over tcp, with and without MSG_ZEROCOPY", Source::Clock, "bytes", "byte");
    declare(
        "receive",
        "receiving pages over tcp: reading them, and having them mapped",
        Source::Clock,
        "bytes",
        "byte",
    );
    sheet
}

/// A new connection for each sample, so that no sample finds bytes of an earlier one in the buffers.
fn pair(transport: Transport) -> std::io::Result<Pair> {
    Pair::new(transport)
}

fn conclude(sheet: Sheet, transports: &[Transport], ways_around: [Option<String>; 2]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut findings = Vec::new();
    for transport in transports {
        let name = transport.to_string();
        outcome.fits.extend(sheet.fit("read", &name, f64::INFINITY));
        outcome.fits.extend(sheet.fit("phase-2", &name, f64::INFINITY));
        if let (Some(fit), Some(one)) =
            (sheet.fit("read", &name, f64::INFINITY), sheet.median("read", &name, Some(1.0)))
        {
            findings.push(format!(
                "Over {name} a byte costs {:.3} ns and a read of one byte {one:.0} ns: from about {:.0} bytes on the \
                 bytes cost more than the call.",
                fit.slope,
                one / fit.slope
            ));
        }
        let (copying, waiting) = (format!("{name} copying"), format!("{name} waiting"));
        if sheet.median("exchange", &copying, Some(1.0)).is_some() {
            let crossover = sheet.crossover("exchange", &copying, &waiting);
            let longer = sizes_where_longer(&sheet, "exchange", &copying, &waiting);
            findings.push(match crossover.x {
                Some(x) => {
                    format!("Over {name}, copying an answer takes longer than waiting for it from {x:.0} bytes on.")
                }
                None => format!(
                    "Over {name}, copying an answer takes longer than waiting for it at {longer} sizes: no crossover."
                ),
            });
            outcome.crossovers.push(crossover);
        }
    }
    if let Some(fit) = sheet.fit("buffers", "unix", f64::INFINITY) {
        findings.push(format!(
            "Each further socket buffer that the same bytes are spread over \
             costs {:.0} ns (slope of the line).",
            fit.slope
        ));
        outcome.fits.push(fit);
    }
    for arm in ["copying", "MSG_ZEROCOPY"] {
        outcome.fits.extend(sheet.fit("send", arm, f64::INFINITY));
    }
    for arm in ["reading", "TCP_ZEROCOPY_RECEIVE"] {
        outcome.fits.extend(sheet.fit("receive", arm, f64::INFINITY));
    }
    findings.extend(ways_around.into_iter().flatten());
    if sheet.median("receive", "TCP_ZEROCOPY_RECEIVE", Some(mapped::SIZES[0] as f64)).is_some() {
        let crossover = sheet.crossover("receive", "reading", "TCP_ZEROCOPY_RECEIVE");
        findings.push(match crossover.x {
            Some(x) => format!("Mapping received pages is cheaper than reading them from {x:.0} bytes on."),
            None => {
                let longer = sizes_where_longer(&sheet, "receive", "TCP_ZEROCOPY_RECEIVE", "reading");
                format!(
                    "Mapping received pages takes longer than reading them at {longer} sizes: no crossover."
                )
            }
        });
        outcome.crossovers.push(crossover);
    }
    (outcome.findings, outcome.sheet) = (findings, sheet);
    outcome
}

/// `2 of 9`: at how many points one arm of a measure takes longer than the other.
fn sizes_where_longer(sheet: &Sheet, measure: &str, one: &str, other: &str) -> String {
    let arms = sheet.arms();
    let of = |name: &str| {
        arms.iter()
            .filter(|arm| arm.measure == measure && arm.name == name)
            .map(|arm| arm.median)
            .collect::<Vec<_>>()
    };
    let (one, other) = (of(one), of(other));
    let longer = one.iter().zip(&other).filter(|(one, other)| one > other).count();
    format!("{longer} of {}", one.len())
}
