//! A trace as it goes on, as plain data: takes batches, gives results. Live or from a tape, it is the same.

use std::collections::HashSet;

use crate::domain::{Loss, ProbeId};
use crate::records::journal::{self, Journal};
use crate::records::record::Record;
use crate::rows::batch::{Batch, Closes, Closing, Counts, Facts, ThreadName};
use crate::rows::complete::{self, Evidence};
use crate::rows::diagnosis;
use crate::rows::names::{self, Names, Thread};
pub use crate::rows::opening::{Opening, WallClock};
use crate::rows::others::{self, OTHERS};
use crate::rows::processes::{InFlightCalls, processes};
use crate::rows::retired::{Retired, StandIn};
use crate::rows::sentences;
pub use crate::rows::sentences::{left_behind, listed};
use crate::rows::sums::Snapshot;
use crate::rows::time;
use crate::rows::whole;
use crate::summary::{Document, Interval, Overhead, Process};

/// Names of threads that are kept, whether they have ended or not.
const NAMES: usize = 8192;

/// What an interval ended with.
#[derive(Clone, Debug, Default)]
struct Printed {
    at: u64,
    sums: Snapshot,
    loss: Loss,
    counts: Counts,
    cpu_ns: Option<u64>,
    /// Calls that were open then.
    open: u64,
}

/// A stretch of a trace that a result is about.
struct Stretch {
    sums: Snapshot,
    elapsed_ns: u64,
    loss: Loss,
    counts: Counts,
    overhead: Overhead,
    interval: Option<Interval>,
}

/// The trace so far.
pub struct Ledger {
    opening: Opening,
    names: Names,
    /// Sums of the processes that the kernel has rows of.
    live: Snapshot,
    /// Sums of processes that have ended.
    retired: Retired,
    /// What the first interval began with; empty without intervals.
    base: Snapshot,
    /// When results begin: when observing began, or the first interval, ns.
    begun_at: u64,
    /// What the last interval ended with; `None` without intervals.
    printed: Option<Printed>,
    /// Names of threads to keep before those that ended are dropped.
    most_names: usize,
    /// Items that could not be decoded.
    unknown: u64,
    /// First threads of the processes that the command has left behind.
    left_behind: Vec<ThreadName>,
}

impl Ledger {
    /// Nothing yet.
    pub fn new(opening: Opening) -> Self {
        Self {
            names: Names {
                exact: opening.exact,
                traced: opening.traced.iter().copied().collect(),
                ..Names::default()
            },
            live: Snapshot::default(),
            retired: Retired::default(),
            base: Snapshot::default(),
            begun_at: opening.started,
            printed: None,
            most_names: NAMES,
            unknown: 0,
            left_behind: Vec::new(),
            opening,
        }
    }

    /// What is known of threads and files.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Threads and their processes whose names are kept only while they live, where there are many of them by now. Those
    /// of `wakers` are kept, and first threads of processes that have rows here.
    pub fn threads_to_check(&self, wakers: &HashSet<u32>) -> Vec<(u32, u32)> {
        if self.names.threads.len() < self.most_names {
            return Vec::new();
        }
        let with_rows = self.retired.processes();
        let is_needed =
            |tid: u32, pid: u32| wakers.contains(&tid) || (tid == pid && with_rows.contains(&pid));
        let threads = self.names.threads.iter().map(|(tid, thread)| (*tid, thread.pid));
        threads.filter(|(tid, pid)| !is_needed(*tid, *pid)).collect()
    }

    /// Takes a batch; with a closing one, gives the result that it closes.
    pub fn take(&mut self, batch: Batch) -> Option<Document> {
        // The facts first: a name that a thread had at the start is older than one that came with its exec.
        self.take_names(&batch.facts);
        self.take_records(&batch);
        let Batch { at, facts, sums, retired, closing, .. } = batch;
        self.left_behind.extend(facts.left_behind.iter().cloned());
        if let Some(sums) = sums {
            self.live = sums;
        }
        if let Some(retired) = retired {
            self.retire(&retired, &facts);
        }
        self.drop_names(&facts);
        closing.and_then(|closing| self.close(at, &closing))
    }

    fn take_records(&mut self, batch: &Batch) {
        let (records, unknown) = batch.records();
        self.unknown += unknown;
        let mut journal = Journal::default();
        for record in records {
            match &record {
                Record::Task(task) => self.name(task.head.tid, task.head.tgid, journal::name(task), true),
                Record::Name(task) => self.name(task.head.tid, task.head.tgid, journal::name(task), false),
                _ => {}
            }
            journal.add(record);
        }
        if let Some(look) = batch.facts.look {
            self.names.longest.looked(look);
        }
        for entry in &journal.calls {
            self.names.longest.offer(entry, self.opening.started, self.opening.min_ns);
        }
    }

    /// Notes what a thread is called, and whether it made a traced call.
    fn name(&mut self, tid: u32, pid: u32, name: String, called: bool) {
        let before = self.names.threads.get(&tid).filter(|thread| thread.pid == pid);
        let called = called || before.is_some_and(|thread| thread.called);
        if self.names.threads.len() < names::THREADS || self.names.threads.contains_key(&tid) {
            self.names.threads.insert(tid, Thread { name, pid, called });
        }
    }

    fn take_names(&mut self, facts: &Facts) {
        for thread in &facts.threads {
            self.name(thread.tid, thread.pid, thread.name.clone(), false);
        }
        for file in &facts.files {
            self.names.waits.extend(file.waits_for.map(|what| (file.file, what)));
            self.names.groups.extend(file.group.clone().map(|group| (file.file, group)));
            self.names.files.insert(file.file, file.fd.clone());
        }
        self.names.listening.extend(&facts.listening);
        for &(pid, ns) in &facts.throttled {
            self.names.throttled.entry(pid).or_insert([ns; 2])[1] = ns;
        }
        for process in &facts.triggers {
            // The most there ever were: in the end the connections may be closed, and a listener left.
            self.names.triggers.entry(process.pid).or_default().keep_most(process.triggers);
        }
    }

    /// Takes over the sums of processes that have ended; those of one name are put together once there are many.
    fn retire(&mut self, sums: &Snapshot, facts: &Facts) {
        self.retired.take(sums);
        let names = &self.names;
        let name = |pid| names.known(pid).map_or_else(|| "name not seen".to_owned(), str::to_owned);
        let printed = self.printed.as_mut().map(|printed| &mut printed.sums);
        let folded = self.retired.fold(name, [&mut self.base].into_iter().chain(printed));
        self.names.stand_ins.clone_from(self.retired.stand_ins());
        let ended: HashSet<u32> = facts.ended_processes.iter().copied().collect();
        // One whose number has been given out again keeps its name.
        let gone: HashSet<u32> = folded.intersection(&ended).copied().collect();
        self.names.threads.retain(|_, thread| !gone.contains(&thread.pid));
        self.names.ended_threads.retain(|pid, _| !gone.contains(pid));
        self.names.triggers.retain(|pid, _| !gone.contains(pid));
        if !facts.files_in_use.is_empty() {
            let in_use: HashSet<u64> = facts.files_in_use.iter().copied().collect();
            self.names.files.retain(|file, _| in_use.contains(file));
            self.names.groups.retain(|file, _| in_use.contains(file));
            self.names.waits.retain(|file, _| in_use.contains(file));
        }
    }

    /// Drops the names of threads that have ended; they are still counted, unless their process has ended without a row.
    fn drop_names(&mut self, facts: &Facts) {
        let mut gone = Vec::new();
        for tid in &facts.ended_threads {
            let Some(Thread { pid, called, .. }) = self.names.threads.remove(tid) else { continue };
            if *tid == pid {
                gone.push(pid);
            } else if called {
                *self.names.ended_threads.entry(pid).or_default() += 1;
            }
        }
        for pid in gone {
            self.names.ended_threads.remove(&pid);
            self.names.triggers.remove(&pid);
        }
        if !facts.ended_threads.is_empty() {
            self.most_names = (self.names.threads.len() * 2).max(NAMES);
        }
    }

    /// The result that a closing batch closes; the one at the beginning of the first interval closes none.
    fn close(&mut self, at: u64, closing: &Closing) -> Option<Document> {
        let mut sums = self.retired.with(&self.live);
        let with_intervals = self.printed.is_some() || closing.of != Closes::Whole;
        if with_intervals {
            sums.book_open(&closing.open);
        }
        let mut loss = closing.loss;
        loss.records += self.unknown;
        let open = closing.open.len() as u64 + closing.before.len() as u64;
        loss.in_flight_start += closing.before.len() as u64;
        loss.in_flight_stop += open;
        let (counts, overhead) = (closing.counts, closing.overhead);
        let now = Printed { at, sums, loss, counts, cpu_ns: overhead.iotrace_cpu_ns, open };
        let stretch = match (closing.of, &self.printed) {
            (Closes::Begin, _) => {
                self.names.throttled.values_mut().for_each(|[from, to]| *from = *to);
                (self.base, self.begun_at) = (now.sums.clone(), at);
                self.printed = Some(now);
                return None;
            }
            (Closes::Whole, _) => Stretch {
                sums: if with_intervals { now.sums.since(&self.base) } else { now.sums },
                elapsed_ns: at.saturating_sub(self.begun_at),
                loss,
                counts,
                overhead,
                interval: None,
            },
            (Closes::Interval, printed) => {
                // A tape of before there was such a beginning has none.
                let first = Printed { at: self.begun_at, open: loss.in_flight_start, ..Printed::default() };
                let stretch = self.interval(printed.as_ref().unwrap_or(&first), &now, overhead);
                self.printed = Some(now);
                stretch
            }
        };
        let document = self.document(&stretch, at, closing, with_intervals);
        if closing.of == Closes::Interval {
            self.names.throttled.values_mut().for_each(|[from, to]| *from = *to);
        }
        Some(document)
    }

    /// What happened between the ends of two intervals.
    fn interval(&self, before: &Printed, now: &Printed, overhead: Overhead) -> Stretch {
        let wall = self.opening.wall_clock;
        let since_started = now.at.saturating_sub(self.opening.started);
        Stretch {
            sums: now.sums.since(&before.sums),
            elapsed_ns: now.at.saturating_sub(before.at),
            loss: Loss { in_flight_start: before.open, ..now.loss.since(before.loss) },
            counts: now.counts.since(before.counts),
            overhead: Overhead {
                iotrace_cpu_ns: now
                    .cpu_ns
                    .zip(before.cpu_ns.or(Some(0)))
                    .map(|(now, then)| now.saturating_sub(then)),
                ..overhead
            },
            interval: Some(Interval {
                from_ns: before.at.saturating_sub(self.begun_at),
                to_ns: now.at.saturating_sub(self.begun_at),
                ended_unix_ns: wall.map(|wall| wall.unix_ns.saturating_add(since_started)),
                utc_offset_s: wall.map_or(0, |wall| wall.utc_offset_s),
            }),
        }
    }

    /// The processes of a result, the least active merged where there are more than it lists.
    fn processes(&self, sums: &Snapshot, mut open: InFlightCalls) -> Vec<Process> {
        let longest = self.names.longest.processes();
        let mut surplus = others::surplus(sums, &longest, others::PROCESSES, others::ROWS);
        surplus.extend(open.surplus(sums, others::PROCESSES));
        if surplus.is_empty() {
            return processes(sums, &self.names, &open);
        }
        let (mut sums, mut names) = (sums.clone(), self.names.clone());
        let stood_for = surplus.iter().map(|pid| names.stand_ins.get(pid).map_or(1, |entry| entry.processes));
        let more: u64 = stood_for.sum();
        let entry = names.stand_ins.entry(OTHERS).or_insert_with(StandIn::others);
        entry.processes += more;
        let into = surplus.into_iter().map(|pid| (pid, OTHERS)).collect();
        sums.rename(&into);
        open.rename(&into);
        processes(&sums, &names, &open)
    }

    fn document(&self, stretch: &Stretch, at: u64, closing: &Closing, booked: bool) -> Document {
        let open = InFlightCalls {
            open: closing.open.clone(),
            booked,
            before: closing.before.clone(),
            now: at,
            started: self.opening.started,
        };
        let mut processes = self.processes(&stretch.sums, open.clone());
        let whole = time::of_all(&processes);
        for process in &mut processes {
            process.diagnosis = diagnosis::of_process(process, stretch.elapsed_ns);
        }
        let diagnosis = whole::of_all(&processes, stretch.elapsed_ns);
        if let Some(top) = self.opening.top {
            processes.truncate(top);
            processes.iter_mut().for_each(|process| leave(process, top));
        }
        let host = self.opening.host.clone();
        let mut document = Document::new("trace", host, stretch.loss, stretch.overhead, stretch.elapsed_ns);
        document.interval = stretch.interval;
        document.processes = processes;
        document.time = whole;
        document.diagnosis = diagnosis;
        document.warnings = self.opening.warnings.clone();
        let full = self.names.threads.len() >= names::THREADS;
        document.warnings.extend(sentences::warnings(
            &document,
            &stretch.counts,
            stretch.sums.switches(),
            &self.left_behind,
            full,
        ));
        let missing: Vec<ProbeId> =
            self.opening.missing.iter().filter_map(|name| ProbeId::by_name(name)).collect();
        let evidence = Evidence {
            target: self.opening.target,
            loss: &document.loss,
            missing: &missing,
            joined_late: stretch.counts.joined_late,
        };
        let reasons = complete::why_not(&evidence);
        document.complete = reasons.is_empty();
        for reason in reasons.into_iter().filter(|reason| !reason.text.is_empty()) {
            document.warn(reason.code, reason.text);
        }
        if stretch.sums.rows.is_empty() {
            document.warn("nothing_seen", sentences::why_nothing(&self.opening, &open));
        }
        document
    }
}

/// Leaves only so many rows of a process that has one for each thread or descriptor.
fn leave(process: &mut Process, top: usize) {
    if process.calls.iter().any(|call| call.tid.is_some() || call.fd.is_some()) {
        process.rows_left_out = process.calls.len().saturating_sub(top) as u64;
        process.calls.truncate(top);
    }
}
