//! The live source of a trace: the probes and what `/proc` tells beside them.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use iotrace_core::domain::{Tier, syscall};
use iotrace_core::records::record::Record;
use iotrace_core::rows::batch::{Batch, Closes, Closing, Counts, FileName, Look, Since, ThreadName};
use iotrace_core::rows::complete::Target;
use iotrace_core::rows::ledger::{Ledger, Opening};
use iotrace_core::rows::living::Living;
use iotrace_core::rows::open::Open;
use iotrace_core::summary::{Overhead, Warning};
use iotrace_ebpf::abi::{FileRecord, LIVES_ROOM, Stat, WakeKey};

use crate::bpf::attach::LoadError;
use crate::bpf::btf::Btf;
use crate::bpf::exact::Refused;
use crate::bpf::loader::Observer;
use crate::bpf::settings::{Per, Whom};
use crate::host::clock::{self, monotonic_ns, own_cpu_ns};
use crate::host::fd::{Named, Namer};
use crate::host::{check, namespaces, proc};
use crate::session::asked::Asked;
use crate::session::calibrate::Calibration;
use crate::session::looks;
use crate::session::pace::Pace;
use crate::session::source::{Source, Want};
use crate::session::whom;

/// Sums of errors and of wake-ups that make the kernel's room for them scarce.
const ERRORS: usize = 256;
const WAKES: usize = 1024;
/// Sums of time that do so.
const LIVES: usize = LIVES_ROOM as usize / 4;

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
    /// Names the files that the probes announce.
    namer: Namer,
    /// Whether the target is nothing but processes and threads that were named by number, or a command: it can end.
    by_number: bool,
    /// How often the ring is drained, where calls are recorded one by one.
    pace: Option<Pace>,
    /// Numbers of the syscalls that are traced.
    traced: Vec<u32>,
    /// What the user is to know from the start.
    warnings: Vec<Warning>,
}

impl Live {
    /// Begins: looks at who is there, and what they are in. `held`: the command, which has not begun yet.
    ///
    /// # Errors
    /// The kernel refuses to account for their time.
    pub fn new(
        asked: &Asked,
        mut observer: Observer,
        btf: &Btf,
        whom: Whom,
        calibration: Calibration,
        rows: usize,
        held: Option<u32>,
    ) -> Result<Self, LoadError> {
        let (started, loading_cpu_ns) = (monotonic_ns(), own_cpu_ns());
        let initial = whom::present(&whom, asked.cgroup.as_deref());
        let (mut threads, mut before) = (Vec::new(), Vec::new());
        let single: HashSet<u32> = whom.tids.iter().copied().collect();
        if !asked.records_only {
            observer.begin_lives()?;
        }
        for &pid in &initial {
            for tid in proc::threads(pid) {
                let alone = !single.is_empty() && !whom.all && !whom.tgids.contains(&pid);
                if alone && !single.contains(&tid) {
                    continue;
                }
                threads.extend(proc::comm(tid).map(|name| ThreadName { tid, pid, name }));
                // A command that is held begins with its execve.
                if !asked.records_only && held != Some(pid) && whom::is_meant(&whom, pid, tid) {
                    observer.adopt(btf, pid, tid)?;
                }
                let traced = |&nr: &u32| syscall::by_nr(nr).is_some_and(|one| asked.traces(one));
                let inside = proc::sleeping_in(pid, tid).filter(traced);
                before.extend(inside.map(|nr| Since { pid, tid, nr }));
            }
        }
        let mut namer = Namer::new();
        if asked.per == Per::Fd {
            namer.look_around(&initial);
            observer.set_listening(namer.networks().listening());
        }
        let members_of = asked.cgroup.clone().filter(|_| whom.cgroup.is_none());
        let by_number = !asked.all && asked.comm.is_none() && asked.cgroup.is_none();
        let pace = asked.longest.then(|| Pace::new(started));
        Ok(Self {
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
            namer,
            by_number,
            pace,
            traced: syscall::all().filter(|one| asked.traces(one)).map(|one| one.nr).collect(),
            warnings: Vec::new(),
        })
    }

    /// Adds a warning to those that the result begins with.
    pub fn warn(&mut self, code: &str, text: String) {
        self.warnings.push(Warning { code: code.to_owned(), text });
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
        let mut warnings = self.warnings.clone();
        let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
        for missing in self.observer.missing() {
            warn("probe_missing", missing.to_string());
        }
        if self.members_of.is_some() {
            warn(
                "cgroup_by_members",
                "this kernel does not tell a thread's cgroup: its members at the start and \
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
            wall_clock: clock::wall_clock(self.started),
            min_ns: asked.min.map_or(0, |min| min.as_nanos() as u64),
            selective: asked.syscalls.is_some() || asked.min.is_some(),
            target: self.target(),
            traced: self.traced.clone(),
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

    /// Takes what the probes sent, and names the files that they announce while these are open, and the processes of new
    /// threads while these live.
    fn drain(&mut self, batch: &mut Batch, ledger: &Ledger) {
        let (mut files, mut threads): (Vec<FileRecord>, _) = (Vec::new(), HashMap::new());
        let from = monotonic_ns();
        let mut bytes = 0;
        self.observer.drain(|item| {
            bytes += item.len() as u64;
            match Record::parse(item) {
                Some(Record::File(file)) => files.push(file),
                Some(Record::Task(task) | Record::Name(task)) => {
                    threads.insert(task.head.tid, task.head.tgid);
                }
                _ => {}
            }
            batch.items.push(item.to_vec());
        });
        if let Some(pace) = &mut self.pace {
            let to = monotonic_ns();
            pace.drained(bytes, to);
            batch.facts.look = Some(Look { from, to });
        }
        // Should the record of a thread be lost, its row tells.
        let rows = batch.sums.iter().flat_map(|sums| sums.rows.keys().map(|row| row.tgid));
        let lives = batch.sums.iter().flat_map(|sums| sums.lives.keys().map(|life| life.tgid));
        let processes: HashSet<u32> = threads.values().copied().chain(rows).chain(lives).collect();
        looks::at_leaders(
            &self.observer,
            processes,
            |pid| threads.contains_key(&pid),
            ledger,
            &mut batch.facts,
        );
        if files.is_empty() {
            return;
        }
        let looks = self.namer.networks().looks();
        let names = self.namer.names(&files);
        if self.namer.networks().looks() != looks {
            self.observer.set_listening(self.namer.networks().listening());
        }
        let name = |(file, named): (&FileRecord, Named)| FileName {
            file: file.file,
            fd: named.fd,
            group: named.group,
            waits_for: named.waits_for,
        };
        batch.facts.files.extend(files.iter().zip(names).map(name));
    }

    /// Takes processes that have ended out of the kernel, where the room is bounded. Only then are all sums read before
    /// a result needs them: with many rows that takes milliseconds.
    fn retire(&mut self, batch: &mut Batch, ledger: &Ledger, wakes: usize) {
        let rows = self.observer.rows_made() as usize;
        let lives = self.observer.lives_taken().len();
        let full = wakes >= WAKES || self.observer.errors_taken() >= ERRORS || lives >= LIVES;
        if rows < self.rows / 4 && !full {
            return;
        }
        let known = self.observer.with_sums();
        let ended: HashSet<u32> = known.into_iter().filter(|&pid| proc::has_ended(pid)).collect();
        if ended.is_empty() {
            return;
        }
        batch.retired = Some(self.observer.retire(&ended));
        batch.sums = Some(self.observer.snapshot());
        // Their names may have come while the sums were read.
        self.drain(batch, ledger);
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
        let before = self.observer.threads_now();
        let mut sums = self.observer.snapshot();
        let now = self.observer.threads_now();
        let still: HashSet<(u32, u64)> = now.open.iter().map(|call| (call.tid, call.since)).collect();
        for call in before.open.iter().filter(|call| !still.contains(&(call.tid, call.since))) {
            sums.rows.extend(self.observer.row(&call.key).map(|row| (call.key, row)));
        }
        let still: HashSet<_> = now.living.iter().map(Living::moment).collect();
        for one in before.living.iter().filter(|one| !still.contains(&one.moment())) {
            for key in one.keys() {
                sums.lives.extend(self.observer.life(&key).map(|sum| (key, sum)));
            }
        }
        sums.book_living(&now.living);
        batch.sums = Some(sums);
        now.open
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
        let wakes = if want == Want::Records { HashMap::new() } else { self.observer.wakes() };
        let open = if want.closes().is_some() { self.sums(&mut batch) } else { Vec::new() };
        // After the sums: every thread that is in them has sent its name by now.
        if want != Want::Records || self.pace.as_ref().is_none_or(|pace| pace.is_due(monotonic_ns())) {
            self.drain(&mut batch, ledger);
        }
        let wakers: HashSet<u32> = wakes.keys().filter_map(WakeKey::thread).collect();
        looks::at_threads(&wakers, ledger, &mut batch.facts);
        if want != Want::Records {
            looks::at_threads(&self.observer.takers(), ledger, &mut batch.facts);
            looks::at_listeners(&self.observer, &mut self.namer, &mut batch.facts);
            looks::at_quotas(&self.observer, &self.initial, &mut batch);
        }
        if want != Want::Records {
            self.look_for_joined();
        }
        if want == Want::Sums {
            self.retire(&mut batch, ledger, wakes.len());
            batch.facts.ended_threads = looks::gone(&self.observer, ledger.threads_to_check(&wakers));
        }
        batch.closing = want.closes().map(|of| self.closing(of, open));
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
