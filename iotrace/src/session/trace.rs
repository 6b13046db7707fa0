//! A trace as it goes on: names as they come, sums as they are asked for, the result in the end.

use std::collections::HashSet;
use std::io;

use iotrace_ebpf::abi::traits::READINESS;
use iotrace_ebpf::abi::{Stat, WakeKey};

use crate::bpf::exact::Refused;
use crate::bpf::loader::Observer;
use crate::bpf::settings::Whom;
use crate::cli::TraceArgs;
use crate::cmd::output;
use crate::cmd::trace::is_traced;
use crate::host::clock::{self, monotonic_ns};
use crate::host::{check, fd, proc};
use crate::session::calibrate::Calibration;
use crate::session::until::Watcher;
use crate::session::whom;
use iotrace_core::domain::{Loss, Tier, syscall};
use iotrace_core::records::journal::Journal;
use iotrace_core::rows::processes::{InFlightCalls, Names, processes};
use iotrace_core::rows::retired::Retired;
use iotrace_core::rows::sums::Snapshot;
use iotrace_core::summary::{Document, Overhead, SCHEMA, Warning};

/// Sums of errors and of wake-ups that make the kernel's room for them scarce.
const ERRORS: usize = 256;
const WAKES: usize = 1024;
/// Names of threads that are kept, whether they have ended or not.
const NAMES: usize = 8192;

/// The observation as it goes on.
pub struct Watch<'a> {
    args: &'a TraceArgs,
    observer: Observer,
    whom: Whom,
    names: Names,
    calibration: Calibration,
    /// Sums of processes that have ended.
    retired: Retired,
    /// Names of threads to keep before those that ended are dropped.
    most_names: usize,
    /// What the last interval ended with.
    printed: Snapshot,
    /// When that was.
    printed_at: u64,
    /// Calls that were open before: process, thread, number.
    before: Vec<(u32, u32, u32)>,
    /// Target processes that were there at the start.
    initial: Vec<u32>,
    started: u64,
    looks: u64,
    /// Most rows in the kernel.
    rows: usize,
}

impl<'a> Watch<'a> {
    /// Begins: looks at who is there, and what they are in.
    pub fn new(
        args: &'a TraceArgs,
        observer: Observer,
        whom: Whom,
        calibration: Calibration,
        rows: usize,
    ) -> Self {
        let started = monotonic_ns();
        let initial = whom::present(&whom, args.cgroup.as_deref());
        let mut names = Names { exact: observer.tier() == Tier::Exact, ..Names::default() };
        let mut before = Vec::new();
        let single: HashSet<u32> = whom.tids.iter().copied().collect();
        for &pid in &initial {
            for tid in proc::threads(pid) {
                let alone = !single.is_empty() && !whom.all && !whom.tgids.contains(&pid);
                if alone && !single.contains(&tid) {
                    continue;
                }
                if let Some(name) = proc::comm(tid) {
                    names.threads.insert(tid, (name, pid));
                }
                let traced = |&nr: &u32| syscall::by_nr(nr).is_some_and(|one| is_traced(args, one));
                before.extend(proc::sleeping_in(pid, tid).filter(traced).map(|nr| (pid, tid, nr)));
            }
        }
        Self {
            args,
            observer,
            whom,
            names,
            calibration,
            retired: Retired::default(),
            most_names: NAMES,
            printed: Snapshot::default(),
            printed_at: started,
            before,
            initial,
            started,
            looks: 0,
            rows,
        }
    }

    /// Why function hooks do not time the copies, where they were tried.
    pub fn refused(&self) -> Option<&Refused> {
        self.observer.refused()
    }

    /// Names of the tracepoints that are attached.
    pub fn attached(&self) -> impl Iterator<Item = &'static str> {
        self.observer.attached()
    }

    /// Whom this is about, in a few words.
    pub fn about(&self) -> String {
        match (self.whom.all, self.initial.len()) {
            (true, _) => "the whole system".to_owned(),
            (_, 1) => format!("process {}", self.initial[0]),
            (_, several) => format!("{several} processes"),
        }
    }

    /// Takes the names that the probes sent.
    fn drain(&mut self) {
        let mut journal = Journal::default();
        self.observer.drain(|item| journal.take(item));
        for (tid, name) in journal.names {
            let pid = journal.processes.get(&tid).copied().unwrap_or(tid);
            self.names.threads.insert(tid, (name, pid));
        }
        for entry in &journal.calls {
            self.names.longest.offer(entry, self.started);
        }
        let listening = if journal.files.is_empty() { HashSet::new() } else { fd::listening_ports() };
        for file in &journal.files {
            self.names.waits.extend(fd::waits_for(file, &listening).map(|what| (file.file, what)));
            self.names.files.insert(file.file, fd::describe(file));
        }
    }

    /// Threads that slept since before tracing and still do, in the same call.
    fn still_open(&self) -> Vec<(u32, u32, u32)> {
        let known: HashSet<u32> = self.observer.open_calls().iter().map(|call| call.tid).collect();
        let still = |&(pid, tid, nr): &(u32, u32, u32)| {
            !known.contains(&tid) && proc::sleeping_in(pid, tid) == Some(nr)
        };
        self.before.iter().copied().filter(still).collect()
    }

    fn look_at_triggers(&mut self, snapshot: &Snapshot) {
        // Of the calls that wait for readiness, only those of epoll have a descriptor.
        let is_epoll = |nr: u32| syscall::is(nr, READINESS) && syscall::has_descriptor(nr);
        let epolls = snapshot.rows.keys().filter(|key| is_epoll(key.nr)).map(|key| key.tgid);
        for pid in epolls.collect::<HashSet<u32>>() {
            // The most there ever were: in the end the connections may be closed, and a listener left.
            self.names.triggers.entry(pid).or_default().keep_most(proc::triggers(pid));
        }
    }

    /// Names of wakers outside the target, while they are there.
    fn look_at_wakers(&mut self, snapshot: &Snapshot) {
        for tid in snapshot.wakes.keys().filter_map(WakeKey::thread) {
            if !self.names.threads.contains_key(&tid)
                && let (Some(name), Some(pid)) = (proc::comm(tid), proc::process_of(tid))
            {
                self.names.threads.insert(tid, (name, pid));
            }
        }
    }

    /// The sums of everybody, ended or not.
    fn sums(&self) -> Snapshot {
        self.retired.with(&self.observer.snapshot())
    }

    /// Takes processes that have ended out of the kernel, where the room is bounded.
    fn retire(&mut self, snapshot: &Snapshot) {
        let crowded = snapshot.rows.len() >= self.rows / 4
            || snapshot.errors.len() >= ERRORS
            || snapshot.wakes.len() >= WAKES;
        if !crowded {
            return;
        }
        let known: HashSet<u32> = snapshot.rows.keys().map(|key| key.tgid).collect();
        let ended: HashSet<u32> = known.into_iter().filter(|&pid| proc::has_ended(pid)).collect();
        let sums = self.observer.retire(&ended);
        self.retired.take(&sums);
        // Their names may have come while the sums were read.
        self.drain();
        let names = &self.names;
        let name = |pid| names.known(pid).map_or_else(|| "name not seen".to_owned(), str::to_owned);
        let gone = self.retired.fold(name, &mut self.printed);
        self.names.stand_ins.clone_from(self.retired.stand_ins());
        // One whose number has been given out again keeps its name.
        let gone: HashSet<u32> = gone.into_iter().filter(|&pid| proc::has_ended(pid)).collect();
        self.names.threads.retain(|_, (_, pid)| !gone.contains(pid));
        self.names.ended_threads.retain(|pid, _| !gone.contains(pid));
        self.names.triggers.retain(|pid, _| !gone.contains(pid));
        if self.names.files.len() > self.rows {
            let live: HashSet<u64> = self.observer.rows_taken().iter().map(|key| key.file).collect();
            self.names.files.retain(|file, _| live.contains(file));
            self.names.waits.retain(|file, _| live.contains(file));
        }
    }

    /// Drops the names of threads that have ended, once there are many; they are still counted.
    fn drop_names(&mut self, snapshot: &Snapshot) {
        if self.names.threads.len() < self.most_names {
            return;
        }
        let wakers: HashSet<u32> = snapshot.wakes.keys().filter_map(WakeKey::thread).collect();
        let ended = &mut self.names.ended_threads;
        self.names.threads.retain(|&tid, (_, pid)| {
            let keep = tid == *pid || wakers.contains(&tid) || !proc::is_gone(tid);
            if !keep {
                *ended.entry(*pid).or_default() += 1;
            }
            keep
        });
        self.most_names = (self.names.threads.len() * 2).max(NAMES);
    }

    fn document(&mut self, snapshot: &Snapshot, elapsed_ns: u64) -> Document {
        let now = monotonic_ns();
        let open = InFlightCalls {
            open: self.observer.open_calls(),
            before: self.still_open(),
            now,
            started: self.started,
        };
        let mut processes = processes(snapshot, &self.names, &open);
        if let Some(top) = self.args.top {
            processes.truncate(top);
        }
        let loss = self.loss(&open);
        let mut warnings = self.warnings(&loss);
        if snapshot.rows.is_empty() {
            warnings.push(Warning { code: "nothing_seen".to_owned(), text: self.why_nothing(&open) });
        }
        Document {
            schema: SCHEMA.to_owned(),
            command: "trace".to_owned(),
            host: check::host(self.observer.tier()),
            complete: loss.is_none(),
            loss,
            overhead: Overhead {
                per_call_ns: self.calibration.per_call_ns,
                per_other_call_ns: self.calibration.per_other_call_ns,
                per_switch_ns: self.calibration.per_switch_ns,
                iotrace_cpu_ns: clock::own_cpu_ns(),
                copy_floors_ns: Some(self.calibration.copy_floors()),
            },
            elapsed_ns,
            runs: Vec::new(),
            processes,
            checks: Vec::new(),
            studies: Vec::new(),
            warnings,
        }
    }

    fn loss(&self, open: &InFlightCalls) -> Loss {
        let (before, now) = (open.before.len() as u64, open.open.len() as u64);
        self.observer.loss(0).and(Loss {
            in_flight_start: before,
            in_flight_stop: now + before,
            ..Loss::NOTHING
        })
    }

    fn warnings(&self, loss: &Loss) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |code: &str, text: String| warnings.push(Warning { code: code.to_owned(), text });
        for missing in self.observer.missing() {
            warn("probe_missing", missing.to_string());
        }
        if self.args.cgroup.is_some() && self.whom.cgroup.is_none() {
            warn(
                "cgroup_by_members",
                "this kernel or this cgroup hierarchy does not tell a thread's cgroup: its members at the start and \
                 their children are traced, who joins later is not"
                    .to_owned(),
            );
        }
        if self.observer.count(Stat::RowsFull) > 0 {
            warn("rows_full", "calls found no row to be counted in: give more with --rows".to_owned());
        }
        if self.observer.count(Stat::TasksFull) > 0 {
            warn(
                "threads_full",
                "more threads at once than there is room for (about 36,000): the calls of some are not counted".to_owned(),
            );
        }
        let unseen = self.observer.count(Stat::SwitchUnseen);
        if unseen > 0 {
            warn(
                "switches_unseen",
                format!(
                    "the kernel did not show {unseen} switches to traced threads: runq is too long by their work"
                ),
            );
        }
        if loss.recursion_misses.is_none() {
            warn(
                "recursion_misses_not_counted",
                "this kernel does not count skipped probe runs (since 5.12)".to_owned(),
            );
        }
        let cost = &self.calibration;
        if [cost.per_call_ns, cost.per_switch_ns, cost.per_other_call_ns].contains(&None) {
            warn("overhead_not_measured", "the cost of observing could not be measured here".to_owned());
        }
        warnings
    }

    fn why_nothing(&self, open: &InFlightCalls) -> String {
        let waiting = open.before.len();
        if waiting > 0 {
            return format!(
                "no traced call returned: {waiting} threads have been in one since before tracing began and still \
                 are (see in_flight)"
            );
        }
        if !open.open.is_empty() {
            return "no traced call returned: those that began have not ended (see in_flight)".to_owned();
        }
        if self.initial.is_empty() && self.args.command.is_empty() {
            return "no thread matched the target while it was traced".to_owned();
        }
        if self.args.expression.is_some() || self.args.min.is_some() {
            return "no call passed -e and --min".to_owned();
        }
        "the target entered no traced call (it computes, sleeps, or waits on a lock)".to_owned()
    }

    /// The result of everything.
    ///
    /// # Errors
    /// Of printing the rest of the last interval.
    pub fn finish(mut self) -> io::Result<Document> {
        let snapshot = self.sums();
        // After the sums: whoever is in them has sent a name by now.
        self.drain();
        self.look_at_triggers(&snapshot);
        self.look_at_wakers(&snapshot);
        if self.args.interval.is_some() {
            // What is left of the last one: only then do the intervals add up to the whole.
            self.print(snapshot.clone())?;
        }
        let elapsed = monotonic_ns() - self.started;
        Ok(self.document(&snapshot, elapsed))
    }

    /// Prints what happened since the last time.
    fn print(&mut self, snapshot: Snapshot) -> io::Result<()> {
        let now = monotonic_ns();
        let delta = snapshot.since(&self.printed);
        let document = self.document(&delta, now - self.printed_at);
        (self.printed, self.printed_at) = (snapshot, now);
        output::interval(&document, &self.args.output)
    }
}

impl Watcher for Watch<'_> {
    fn look(&mut self) -> bool {
        self.drain();
        self.looks += 1;
        // Every fifth of a second is soon enough for what lives longer, and cheap.
        if !self.looks.is_multiple_of(10) {
            return true;
        }
        let snapshot = self.observer.snapshot();
        self.look_at_triggers(&snapshot);
        self.look_at_wakers(&snapshot);
        self.retire(&snapshot);
        self.drop_names(&snapshot);
        let named = !self.whom.all && self.whom.comm.is_none() && self.whom.cgroup.is_none();
        !(named && !self.whom.follow && self.initial.iter().all(|&pid| proc::is_gone(pid)))
    }

    fn interval(&mut self) -> io::Result<()> {
        self.print(self.sums())
    }
}
