//! The live source of a trace: the probes and what `/proc` tells beside them.

use std::collections::{HashMap, HashSet};

use crate::session::pace::Pace;
use iotrace_core::domain::{Tier, syscall};
use iotrace_core::records::record::Record;
use iotrace_core::rows::batch::{Batch, Closes, Closing, Counts, Facts, FileName, Look, Since, ThreadName};
use iotrace_core::rows::ledger::{Ledger, Opening};
use iotrace_core::rows::open::Open;
use iotrace_core::summary::{Overhead, Warning};
use iotrace_ebpf::abi::{FileRecord, Stat, WakeKey};

use crate::bpf::exact::Refused;
use crate::bpf::loader::Observer;
use crate::bpf::settings::{Per, Whom};
use crate::host::clock::{self, monotonic_ns, own_cpu_ns};
use crate::host::fd::{Named, Namer};
use crate::host::{check, proc};
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
    /// Most rows in the kernel.
    rows: usize,
    /// Names the files that the probes announce.
    namer: Namer,
    /// How often the ring is drained, where calls are recorded one by one.
    pace: Option<Pace>,
}

impl Live {
    /// Begins: looks at who is there, and what they are in.
    pub fn new(
        asked: &Asked,
        mut observer: Observer,
        whom: Whom,
        calibration: Calibration,
        rows: usize,
    ) -> Self {
        let started = monotonic_ns();
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
        let mut namer = Namer::new();
        if asked.per == Per::Fd {
            namer.look_at_listeners();
            observer.set_listening(namer.sockets().listening());
        }
        let pace = asked.longest.then(|| Pace::new(started));
        Self { observer, calibration, whom, before, initial, threads, started, rows, namer, pace }
    }

    /// What is known before the first batch.
    pub fn opening(&self, asked: &Asked) -> Opening {
        let mut warnings: Vec<Warning> = Vec::new();
        let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
        for missing in self.observer.missing() {
            warn("probe_missing", missing.to_string());
        }
        if asked.cgroup.is_some() && self.whom.cgroup.is_none() {
            warn(
                "cgroup_by_members",
                "this kernel or this cgroup hierarchy does not tell a thread's cgroup: its members at the start and \
                 their children are traced, who joins later is not"
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
            wall_clock: clock::wall_clock(self.started),
            min_ns: asked.min.map_or(0, |min| min.as_nanos() as u64),
            selective: asked.syscalls.is_some() || asked.min.is_some(),
        }
    }

    /// What is observed, in a few words.
    pub fn about(&self) -> String {
        match (self.whom.all, self.initial.as_slice()) {
            (true, _) => "the whole system".to_owned(),
            (_, [one]) => format!("process {one}"),
            (_, []) => "what matches (nothing does yet)".to_owned(),
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
        let from = monotonic_ns();
        let mut bytes = 0;
        self.observer.drain(|item| {
            bytes += item.len() as u64;
            if let Some(Record::File(file)) = Record::parse(item) {
                files.push(file);
            }
            batch.items.push(item.to_vec());
        });
        if let Some(pace) = &mut self.pace {
            let to = monotonic_ns();
            pace.drained(bytes, to);
            batch.facts.look = Some(Look { from, to });
        }
        if files.is_empty() {
            return;
        }
        let asked = self.namer.sockets().asked();
        let names = self.namer.names(&files);
        if self.namer.sockets().asked() != asked {
            self.observer.set_listening(self.namer.sockets().listening());
        }
        let name = |(file, named): (&FileRecord, Named)| FileName {
            file: file.file,
            fd: named.fd,
            group: named.group,
            waits_for: named.waits_for,
        };
        batch.facts.files.extend(files.iter().zip(names).map(name));
    }

    /// Looks at wakers outside the target, while they are there.
    fn look(wakers: &HashSet<u32>, ledger: &Ledger, facts: &mut Facts) {
        let known = &ledger.names().threads;
        for &tid in wakers.iter().filter(|tid| !known.contains_key(tid)) {
            if let (Some(name), Some(pid)) = (proc::comm(tid), proc::process_of(tid)) {
                facts.threads.push(ThreadName { tid, pid, name });
            }
        }
    }

    /// Takes processes that have ended out of the kernel, where the room is bounded. Only then are all sums read before
    /// a result needs them: with many rows that takes milliseconds.
    fn retire(&mut self, batch: &mut Batch, ledger: &Ledger, wakes: usize) {
        let rows = self.observer.rows_made() as usize;
        let crowded = rows >= self.rows / 4 || wakes >= WAKES || self.observer.errors_taken() >= ERRORS;
        if !crowded {
            return;
        }
        let known: HashSet<u32> = self.observer.rows_taken().iter().map(|key| key.tgid).collect();
        let ended: HashSet<u32> = known.into_iter().filter(|&pid| proc::has_ended(pid)).collect();
        if ended.is_empty() {
            return;
        }
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
    fn still_open(&self, open: &[Open]) -> Vec<Since> {
        let known: HashSet<u32> = open.iter().map(|call| call.tid).collect();
        let still =
            |one: &Since| !known.contains(&one.tid) && proc::sleeping_in(one.pid, one.tid) == Some(one.nr);
        self.before.iter().copied().filter(still).collect()
    }

    /// Reads all sums, and returns the calls that are open then. One that ends while they are read may be in neither:
    /// the row of each that was open before, and is not any more, is read again.
    fn sums(&self, batch: &mut Batch) -> Vec<Open> {
        let before = self.observer.open_calls();
        let mut sums = self.observer.snapshot();
        let open = self.observer.open_calls();
        let still: HashSet<(u32, u64)> = open.iter().map(|call| (call.tid, call.since)).collect();
        for call in before.iter().filter(|call| !still.contains(&(call.tid, call.since))) {
            sums.rows.extend(self.observer.row(&call.key).map(|row| (call.key, row)));
        }
        batch.sums = Some(sums);
        open
    }

    fn closing(&self, of: Closes, open: Vec<Open>) -> Closing {
        Closing {
            of,
            before: self.still_open(&open),
            open,
            loss: self.observer.loss(0),
            counts: Counts {
                rows_full: self.observer.count(Stat::RowsFull),
                threads_full: self.observer.count(Stat::TasksFull),
                switches_unseen: self.observer.count(Stat::SwitchUnseen),
            },
            overhead: Overhead {
                per_call_ns: self.calibration.per_call_ns,
                per_other_call_ns: self.calibration.per_other_call_ns,
                per_switch_ns: self.calibration.per_switch_ns,
                iotrace_cpu_ns: own_cpu_ns(),
                copy_floors_ns: Some(self.calibration.copy_floors()),
            },
        }
    }
}

impl Source for Live {
    fn batch(&mut self, want: Want, ledger: &Ledger) -> Batch {
        let mut batch = Batch::default();
        batch.facts.threads.append(&mut self.threads);
        let wakes = if want == Want::Records { HashMap::new() } else { self.observer.wakes() };
        let open = if want.closes().is_some() { self.sums(&mut batch) } else { Vec::new() };
        // After the sums: every thread that is in them has sent its name by now.
        if want != Want::Records || self.pace.as_ref().is_none_or(|pace| pace.is_due(monotonic_ns())) {
            self.drain(&mut batch);
        }
        let wakers: HashSet<u32> = wakes.keys().filter_map(WakeKey::thread).collect();
        Self::look(&wakers, ledger, &mut batch.facts);
        if want == Want::Sums {
            self.retire(&mut batch, ledger, wakes.len());
            let gone = ledger.threads_to_check(&wakers).into_iter().filter(|&tid| proc::is_gone(tid));
            batch.facts.ended_threads = gone.collect();
        }
        batch.closing = want.closes().map(|of| self.closing(of, open));
        batch.at = monotonic_ns();
        batch
    }

    fn is_over(&self) -> bool {
        let named = !self.whom.all && self.whom.comm.is_none() && self.whom.cgroup.is_none();
        named && !self.whom.follow && self.initial.iter().all(|&pid| proc::is_gone(pid))
    }
}
