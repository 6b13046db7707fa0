//! The live source of a trace: the probes and what `/proc` tells beside them.

use std::collections::HashSet;
use std::path::PathBuf;

use iotrace_core::domain::{ProbeId, Tier, syscall};
use iotrace_core::records::record::Record;
use iotrace_core::rows::batch::{Batch, Closes, Closing, Counts, Facts, FileName, Since, ThreadName};
use iotrace_core::rows::complete::Target;
use iotrace_core::rows::ledger::{Ledger, Opening};
use iotrace_core::rows::sums::Snapshot;
use iotrace_core::summary::{Overhead, Warning};
use iotrace_ebpf::abi::{FileRecord, Stat, WakeKey};

use crate::bpf::exact::Refused;
use crate::bpf::loader::Observer;
use crate::bpf::settings::Whom;
use crate::host::clock::{monotonic_ns, own_cpu_ns};
use crate::host::networks::Networks;
use crate::host::{check, fd, namespaces, proc};
use crate::session::asked::Asked;
use crate::session::calibrate::Calibration;
use crate::session::source::{Source, Want};
use crate::session::whom;

/// Sums of errors and of wake-ups that make the kernel's room for them scarce.
const ERRORS: usize = 256;
const WAKES: usize = 1024;

/// The probes of a trace, attached.
pub struct Live {
    observer: Observer,
    calibration: Calibration,
    whom: Whom,
    /// Calls that were open before.
    before: Vec<Since>,
    /// Target processes that were there at the start.
    initial: Vec<u32>,
    /// Names of threads of the target at the start, until the first batch takes them.
    threads: Vec<ThreadName>,
    started: u64,
    /// CPU time of iotrace until then, ns.
    loading_cpu_ns: Option<u64>,
    /// Most rows in the kernel.
    rows: usize,
    /// A cgroup of which the members at the start are traced, as the probes cannot tell a thread's cgroup here.
    members_of: Option<PathBuf>,
    /// Processes that were seen to have joined it since.
    joined_late: HashSet<u32>,
    /// Network namespaces of the target.
    networks: Networks,
    /// Whether the target is nothing but processes and threads that were named by number, or a command: it can end.
    by_number: bool,
}

impl Live {
    /// Begins: looks at who is there, and what they are in.
    pub fn new(asked: &Asked, observer: Observer, whom: Whom, calibration: Calibration, rows: usize) -> Self {
        let (started, loading_cpu_ns) = (monotonic_ns(), own_cpu_ns());
        let initial = whom::present(&whom, asked.cgroup.as_deref());
        let (mut threads, mut before) = (Vec::new(), Vec::new());
        let single: HashSet<u32> = whom.tids.iter().copied().collect();
        for &pid in &initial {
            for tid in proc::threads(pid) {
                let alone = !single.is_empty() && !whom.all && !whom.tgids.contains(&pid);
                if alone && !single.contains(&tid) {
                    continue;
                }
                threads.extend(proc::comm(tid).map(|name| ThreadName { tid, pid, name }));
                let traced = |&nr: &u32| syscall::by_nr(nr).is_some_and(|one| asked.traces(one));
                let inside = proc::sleeping_in(pid, tid).filter(traced);
                before.extend(inside.map(|nr| Since { pid, tid, nr }));
            }
        }
        let mut networks = Networks::default();
        initial.iter().for_each(|&pid| networks.know(pid));
        let members_of = asked.cgroup.clone().filter(|_| whom.cgroup.is_none());
        let by_number = !asked.all && asked.comm.is_none() && asked.cgroup.is_none();
        Self {
            observer,
            calibration,
            whom,
            before,
            initial,
            threads,
            started,
            loading_cpu_ns,
            rows,
            members_of,
            joined_late: HashSet::new(),
            networks,
            by_number,
        }
    }

    /// Processes of the target that have not ended, by their first threads.
    pub fn left(&self) -> Vec<ThreadName> {
        let mut left: Vec<u32> = self.observer.members().processes.into_iter().collect();
        left.retain(|&pid| pid != 0 && !proc::has_ended(pid));
        left.sort_unstable();
        let named = |pid| ThreadName { tid: pid, pid, name: proc::comm(pid).unwrap_or_default() };
        left.into_iter().map(named).collect()
    }

    /// What is known before the first batch.
    pub fn opening(&self, asked: &Asked) -> Opening {
        let mut warnings: Vec<Warning> = Vec::new();
        let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
        for missing in self.observer.missing() {
            warn("probe_missing", missing.to_string());
        }
        if self.members_of.is_some() {
            warn(
                "cgroup_by_members",
                "this kernel or this cgroup hierarchy does not tell a thread's cgroup: its members at the start and \
                 their children are traced, who joins later is not"
                    .to_owned(),
            );
        }
        let is_open = self.whom.all || self.whom.comm.is_some() || self.whom.cgroup.is_some();
        if is_open && !namespaces::pid_is_initial() {
            warn(
                "pid_namespace",
                "iotrace runs in a pid namespace: threads outside of it have no id here and are not traced"
                    .to_owned(),
            );
        }
        Opening {
            host: check::host(self.observer.tier()),
            started: self.started,
            exact: self.observer.tier() == Tier::Exact,
            top: asked.top,
            warnings,
            initial: self.initial.clone(),
            with_command: !asked.command.is_empty(),
            selective: asked.syscalls.is_some() || asked.min.is_some(),
            target: self.target(),
            missing: self.observer.missing().iter().map(|missing| missing.probe.name().to_owned()).collect(),
        }
    }

    fn target(&self) -> Target {
        Target {
            follows: self.whom.follow,
            threads: !self.whom.tids.is_empty(),
            by_members: self.members_of.is_some(),
        }
    }

    /// Notes processes that joined a cgroup of which the members at the start are traced.
    fn look_for_joined(&mut self) {
        let Some(path) = &self.members_of else { return };
        let traced = self.observer.members().processes;
        let joined =
            whom::members_below(path).unwrap_or_default().into_iter().filter(|pid| !traced.contains(pid));
        // One that has just ended is no member of either.
        self.joined_late.extend(joined.filter(|&pid| !proc::has_ended(pid)));
    }

    /// What is observed, in a few words.
    pub fn about(&self) -> String {
        match (self.whom.all, self.initial.as_slice()) {
            (true, _) => "the whole system".to_owned(),
            (_, [one]) => format!("process {one}"),
            (_, several) => format!("{} processes", several.len()),
        }
    }

    /// Names of the tracepoints and functions that are attached.
    pub fn attached(&self) -> Vec<&'static str> {
        self.observer.attached().collect()
    }

    /// Why function hooks do not time the copies, where they were tried.
    pub fn refused(&self) -> Option<&Refused> {
        self.observer.refused()
    }

    /// Takes what the probes sent, and names the files that they announce while these are open.
    fn drain(&mut self, batch: &mut Batch) {
        let mut files: Vec<FileRecord> = Vec::new();
        self.observer.drain(|item| {
            if let Some(Record::File(file)) = Record::parse(item) {
                files.push(file);
            }
            batch.items.push(item.to_vec());
        });
        self.networks.refresh();
        let name = |file: &FileRecord| FileName {
            file: file.file,
            fd: fd::describe(file, &mut self.networks),
            waits_for: fd::waits_for(file, &mut self.networks),
        };
        batch.facts.files.extend(files.iter().map(name));
    }

    /// Looks at wakers outside the target, while they are there.
    fn look(&self, sums: &Snapshot, ledger: &Ledger, facts: &mut Facts) {
        let known = &ledger.names().threads;
        // A process is called by its first thread, which need not have made a call. Where nobody tells of new names, they
        // are looked at again while the thread is there.
        let stale = |pid: &u32| !known.contains_key(pid) || !self.observer.has(ProbeId::TaskRename);
        let leaders: HashSet<u32> = sums.rows.keys().map(|key| key.tgid).filter(stale).collect();
        for pid in leaders {
            facts.threads.extend(proc::comm(pid).map(|name| ThreadName { tid: pid, pid, name }));
        }
        for tid in sums.wakes.keys().filter_map(WakeKey::thread).filter(|tid| !known.contains_key(tid)) {
            if let (Some(name), Some(pid)) = (proc::comm(tid), proc::process_of(tid)) {
                facts.threads.push(ThreadName { tid, pid, name });
            }
        }
    }

    /// Takes processes that have ended out of the kernel, where the room is bounded.
    fn retire(&mut self, batch: &mut Batch, ledger: &Ledger) {
        let Some(sums) = &batch.sums else { return };
        let crowded =
            sums.rows.len() >= self.rows / 4 || sums.errors.len() >= ERRORS || sums.wakes.len() >= WAKES;
        if !crowded {
            return;
        }
        let known: HashSet<u32> = sums.rows.keys().map(|key| key.tgid).collect();
        let ended: HashSet<u32> = known.into_iter().filter(|&pid| proc::has_ended(pid)).collect();
        batch.retired = Some(self.observer.retire(&ended));
        batch.sums = Some(self.observer.snapshot());
        // Their names may have come while the sums were read.
        self.drain(batch);
        batch.facts.ended_processes = ended.into_iter().collect();
        if ledger.names().files.len() > self.rows {
            batch.facts.files_in_use = self.observer.rows_taken().iter().map(|key| key.file).collect();
        }
    }

    /// Threads that slept since before tracing and still do, in the same call.
    fn still_open(&self) -> Vec<Since> {
        let known: HashSet<u32> = self.observer.open_calls().iter().map(|call| call.tid).collect();
        let still =
            |one: &Since| !known.contains(&one.tid) && proc::sleeping_in(one.pid, one.tid) == Some(one.nr);
        self.before.iter().copied().filter(still).collect()
    }

    fn closing(&self, of: Closes) -> Closing {
        Closing {
            of,
            open: self.observer.open_calls(),
            before: self.still_open(),
            loss: self.observer.loss(0),
            counts: Counts {
                rows_full: self.observer.count(Stat::RowsFull),
                threads_full: self.observer.count(Stat::TasksFull),
                switches_unseen: self.observer.count(Stat::SwitchUnseen),
                joined_late: self.joined_late.len() as u64,
            },
            overhead: Overhead {
                per_call_ns: self.calibration.per_call_ns,
                per_other_call_ns: self.calibration.per_other_call_ns,
                per_switch_ns: self.calibration.per_switch_ns,
                iotrace_cpu_ns: own_cpu_ns()
                    .zip(self.loading_cpu_ns)
                    .map(|(now, then)| now.saturating_sub(then)),
                iotrace_loading_cpu_ns: self.loading_cpu_ns,
                copy_floors_ns: Some(self.calibration.copy_floors()),
            },
        }
    }
}

impl Source for Live {
    fn batch(&mut self, want: Want, ledger: &Ledger) -> Batch {
        let mut batch = Batch::default();
        batch.facts.threads.append(&mut self.threads);
        if want == Want::Records {
            self.drain(&mut batch);
        } else {
            batch.sums = Some(self.observer.snapshot());
            // After the sums: every thread that is in them has sent its name by now.
            self.drain(&mut batch);
        }
        if let Some(sums) = &batch.sums {
            self.look(sums, ledger, &mut batch.facts);
        }
        if want != Want::Records {
            self.look_for_joined();
        }
        if want == Want::Sums {
            self.retire(&mut batch, ledger);
            let gone = ledger.threads_to_check().into_iter().filter(|&tid| proc::is_gone(tid));
            batch.facts.ended_threads = gone.collect();
        }
        batch.closing = want.closes().map(|of| self.closing(of));
        batch.at = monotonic_ns();
        batch
    }

    fn is_over(&self) -> bool {
        if !self.by_number {
            return false;
        }
        let left = self.observer.members();
        // The kernel takes out who ends; should it have missed an end, `/proc` tells.
        left.processes.iter().all(|&pid| pid != 0 && proc::has_ended(pid))
            && left.threads.iter().all(|&tid| tid != 0 && proc::is_gone(tid))
    }
}
