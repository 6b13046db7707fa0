//! Where all the time of threads went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole time of the threads of a process: from when each was observed first to its end, or to the end of tracing.
///
/// `observed_ns` is the sum of all parts of `in_calls`, `own_ns`, `runq_ns`, `stopped_ns` and the `ns` of all
/// `elsewhere`, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Time {
    /// Nanoseconds that the threads were observed, all together.
    pub observed_ns: u64,
    /// In traced calls, also those that were open when tracing began or ended, as far as they lie in between.
    pub in_calls: InCalls,
    /// Nanoseconds on a CPU outside traced calls: the program's own code, system calls that are not traced, page faults
    /// that do not sleep.
    pub own_ns: u64,
    /// Nanoseconds runnable without a CPU, outside traced calls.
    pub runq_ns: u64,
    /// Nanoseconds stopped (SIGSTOP), traced by a debugger, or frozen with a cgroup of the unified hierarchy.
    pub stopped_ns: u64,
    /// Asleep outside traced calls, by what for, the longest first.
    pub elsewhere: Vec<Elsewhere>,
    /// Which processes had the CPU while the threads were runnable, in calls or not, the longest first: the one that had
    /// it first, and the one that had it last, half of a wait each where these are two. Waits under 10 us are not in it,
    /// nor those in which the CPU was idle.
    pub cpu_taken_by: Vec<Taker>,
}

/// Time in traced calls, by part, in ns; see the fields of the same names of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InCalls {
    /// Asleep for data (output: for room).
    pub wait_ns: u64,
    /// Asleep for a disk.
    pub disk_ns: u64,
    /// Asleep for anything else.
    pub lock_ns: u64,
    /// Runnable without a CPU.
    pub runq_ns: u64,
    /// Copying.
    pub copy_ns: u64,
    /// Everything else on the CPU.
    pub work_ns: u64,
}

/// Time asleep outside traced calls, for one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Elsewhere {
    /// The syscall that the threads slept in, or `page fault`, or `not known`: asleep since before tracing began, in
    /// what `/proc` does not tell.
    pub what: String,
    /// What kind of sleep it was.
    pub class: Class,
    /// Whether it was for a lock of the program that another thread held, by the value that the C library, Rust and Go
    /// give such a lock; else `futex` may wait for anything: work, a condition, the end of a thread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_lock: bool,
    /// Nanoseconds asleep.
    pub ns: u64,
    /// Number of sleeps.
    pub sleeps: u64,
    /// Of locks: the threads that ended the sleeps, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub woken_by: Vec<WokenBy>,
}

impl Elsewhere {
    /// The name of the syscall, of a program of 64 or of 32 bits alike.
    pub fn syscall(&self) -> &str {
        self.what.trim_start_matches("32-bit ")
    }
}

/// Kind of a sleep outside traced calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// For another thread: a lock of the program, or one of the kernel.
    Lock,
    /// Until a time.
    Timer,
    /// For a peer to connect.
    Connection,
    /// For a child to end.
    Child,
    /// For a disk.
    Disk,
    /// For anything else.
    Other,
}

/// A thread that ended sleeps for a lock: it held it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WokenBy {
    /// Id of the thread; 0: an interrupt, the timeout of the wait for instance.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Number of sleeps that it ended.
    pub wakes: u64,
}

/// A process that had the CPU meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Taker {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Nanoseconds.
    pub ns: u64,
}

/// The time of one thread, with `--per thread`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadTime {
    /// Its id.
    pub tid: u32,
    /// Its name when it was seen last.
    pub name: String,
    /// Its time.
    pub time: Time,
}

/// A sum that damaged recordings cannot overflow.
fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

impl InCalls {
    /// All of it, ns.
    pub fn total_ns(&self) -> u64 {
        sum([self.wait_ns, self.disk_ns, self.lock_ns, self.runq_ns, self.copy_ns, self.work_ns])
    }
}

impl Time {
    /// What all places add up to, ns: `observed_ns`.
    pub fn accounted_ns(&self) -> u64 {
        let elsewhere = sum(self.elsewhere.iter().map(|one| one.ns));
        sum([self.in_calls.total_ns(), self.own_ns, self.runq_ns, self.stopped_ns, elsewhere])
    }

    /// Time asleep outside traced calls, ns, of one class.
    pub fn asleep_ns(&self, class: Class) -> u64 {
        sum(self.elsewhere.iter().filter(|one| one.class == class).map(|one| one.ns))
    }

    /// Time runnable without a CPU, in calls and outside, ns.
    pub fn runnable_ns(&self) -> u64 {
        sum([self.runq_ns, self.in_calls.runq_ns])
    }

    /// Time on a CPU, in calls and outside, ns.
    pub fn on_cpu_ns(&self) -> u64 {
        sum([self.own_ns, self.in_calls.copy_ns, self.in_calls.work_ns])
    }

    /// Adds that of other threads.
    pub fn add(&mut self, other: &Time) {
        self.observed_ns = self.observed_ns.saturating_add(other.observed_ns);
        let (to, from) = (&mut self.in_calls, &other.in_calls);
        to.wait_ns = to.wait_ns.saturating_add(from.wait_ns);
        to.disk_ns = to.disk_ns.saturating_add(from.disk_ns);
        to.lock_ns = to.lock_ns.saturating_add(from.lock_ns);
        to.runq_ns = to.runq_ns.saturating_add(from.runq_ns);
        to.copy_ns = to.copy_ns.saturating_add(from.copy_ns);
        to.work_ns = to.work_ns.saturating_add(from.work_ns);
        self.own_ns = self.own_ns.saturating_add(other.own_ns);
        self.runq_ns = self.runq_ns.saturating_add(other.runq_ns);
        self.stopped_ns = self.stopped_ns.saturating_add(other.stopped_ns);
        for one in &other.elsewhere {
            let is_same = |known: &&mut Elsewhere| {
                (&known.what, known.class, known.held_lock) == (&one.what, one.class, one.held_lock)
            };
            match self.elsewhere.iter_mut().find(is_same) {
                Some(known) => {
                    known.ns = known.ns.saturating_add(one.ns);
                    known.sleeps = known.sleeps.saturating_add(one.sleeps);
                }
                // Threads of several processes have no common holder of their locks.
                None => self.elsewhere.push(Elsewhere { woken_by: Vec::new(), ..one.clone() }),
            }
        }
        self.elsewhere.sort_by_key(|one| std::cmp::Reverse(one.ns));
        for one in &other.cpu_taken_by {
            match self.cpu_taken_by.iter_mut().find(|known| known.pid == one.pid) {
                Some(known) => known.ns = known.ns.saturating_add(one.ns),
                None => self.cpu_taken_by.push(one.clone()),
            }
        }
        self.cpu_taken_by.sort_by_key(|one| std::cmp::Reverse(one.ns));
    }
}
