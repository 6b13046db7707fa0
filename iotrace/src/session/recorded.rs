//! A built-in workload under observation: started held, observed from its first instruction to its report.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::{Log, Report, Spec};
use iotrace_core::domain::{ProbeId, Tier, name, syscall};
use iotrace_core::messages::signals::SIGIO;
use iotrace_core::records::journal::Journal;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::probes::Group;
use crate::bpf::settings::{Settings, Wish};
use crate::host::identity::Identity;
use crate::host::launch::{Held, pipe};
use crate::host::running::Whose;
use crate::session::error::Failure;
use crate::session::interrupts;
use crate::session::tape::Items;
use crate::session::watch::{self, End, Limits};
use crate::workload;

/// One workload that was run and recorded.
pub struct Recorded {
    /// Its own account.
    pub log: Log,
    /// What the probes recorded.
    pub journal: Journal,
    /// The probes, still attached: their counters are read last.
    pub observer: Observer,
}

/// How a workload is to be recorded.
pub struct Recording<'a> {
    /// Which hooks are to time the copies.
    pub tier: Wish,
    /// The iotrace that has the workload inside.
    pub program: &'a OsStr,
    /// The kernel's types.
    pub btf: &'a Btf,
    /// What the workload is to do.
    pub spec: &'a Spec,
    /// Bytes of the ring buffer.
    pub ring_bytes: u32,
    /// Probes to leave out.
    pub without: &'a [ProbeId],
}

impl<'a> Recording<'a> {
    /// By tracepoints, with every probe.
    pub fn by_tracepoints(program: &'a OsStr, btf: &'a Btf, spec: &'a Spec, ring_bytes: u32) -> Self {
        Self { tier: Wish::Tracepoint, program, btf, spec, ring_bytes, without: &[] }
    }
}

/// Runs the workload under observation; `None` when interrupted. `attached` is called when the probes are, before the
/// workload begins; `items` gets those of the ring buffer as they come.
///
/// # Errors
/// Where nothing can be attached, or the workload fails, stalls or dies.
pub fn record(
    recording: &Recording<'_>,
    attached: impl FnOnce(&Observer),
    items: &mut Items<'_>,
) -> Result<Option<Recorded>, Failure> {
    let &Recording { tier, program, btf, spec, ring_bytes, without } = recording;
    let (control, keep) = pipe().map_err(Failure::while_doing("making the control pipe"))?;
    let (fd, json) = (keep.as_raw_fd().to_string(), serde_json::to_string(spec).unwrap_or_default());
    let [workload, option, fd, spec_option, json] =
        ["workload", "--control", &fd, "--spec", &json].map(OsStr::new);
    let argv = [program, workload, option, fd, spec_option, json];
    let identity = Identity::of_command(None)?;
    let held = Held::spawn(&argv, identity.as_ref(), Some(&keep))
        .map_err(Failure::while_doing("starting the workload"))?;
    drop(keep);
    let settings = Settings {
        traits: syscall::input_table(spec.model == Model::PosixAio),
        signals: 1 << (SIGIO - 1),
        ring_bytes,
        tier,
        without: without.to_vec(),
        ..Settings::records(held.pid(), groups(spec, btf))
    };
    let mut observer = Observer::attach(btf, &settings)?;
    attached(&observer);
    if interrupts::interrupted() {
        return Ok(None);
    }
    let mut running = held.release(Whose::Ours).map_err(Failure::while_doing("executing the workload"))?;
    let limits = Limits {
        patience: workload::patience(spec),
        report_bytes: spec.report_bytes(),
        records: spec.records(),
    };
    let watched = watch::watch(&mut observer, &mut running, control, limits, items)
        .map_err(Failure::while_doing("watching the workload"))?;
    match watched.end {
        End::Interrupted => return Ok(None),
        End::Stalled => return Err(Failure::Failed(workload::stalled(spec).text)),
        End::Endless => {
            return Err(Failure::Failed(format!(
                "the account of the {} workload is longer than it can be ({} bytes), so nothing of it is believed: \
                 something else than iotrace wrote it. The workload was ended",
                spec.model, limits.report_bytes
            )));
        }
        End::Finished => {}
    }
    match serde_json::from_slice(&watched.report) {
        Ok(Report::Done(log)) => {
            let mut journal = watched.journal;
            journal.exact = observer.tier() == Tier::Exact;
            Ok(Some(Recorded { log: *log, journal, observer }))
        }
        Ok(Report::Failed(failure)) => Err(Failure::Failed(name::in_a_sentence(failure.text.as_bytes()))),
        Err(_) if watched.report.is_empty() => {
            Err(Failure::Failed(format!("the {} workload died without a word", spec.model)))
        }
        Err(error) => Err(Failure::Failed(format!(
            "the account of the {} workload cannot be read: {error}. Its {} bytes are not what iotrace writes",
            spec.model,
            watched.report.len()
        ))),
    }
}

/// The probes that a workload's question needs.
fn groups(spec: &Spec, btf: &Btf) -> Vec<Group> {
    let mut groups = vec![Group::Core];
    if spec.transport.is_socket() {
        groups.extend([Group::Sockets, Group::Copy, Group::ExactSockets]);
    }
    if spec.transport == Transport::Udp {
        groups.push(Group::ExactDatagrams);
    }
    // On UDP a copy ends with sock_recv_length where there is one.
    let ends_elsewhere = btf.tracepoint("sock_recv_length").is_some();
    if spec.transport == Transport::Unix || (spec.transport == Transport::Udp && !ends_elsewhere) {
        groups.push(Group::CopyUnix);
    }
    if spec.model == Model::Sigio {
        groups.push(Group::Signals);
    }
    if spec.model.is_io_uring() {
        groups.extend([Group::Uring, Group::ExactUring]);
    }
    groups
}
