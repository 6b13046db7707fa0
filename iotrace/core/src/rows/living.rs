//! Threads that live when sums are read: what of their time is in no sum yet.

use iotrace_ebpf::abi::{LifeKey, LifeSum, WakeKey, place};
use iotrace_ebpf::span::Off;
use iotrace_ebpf::thread::Task;

use super::sums::Snapshot;

/// A thread that lives, outside traced calls or in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// Key of its life as a whole.
    pub key: LifeKey,
    /// When it was observed first, ns: with its id what tells it from others.
    pub begun: u64,
    /// How long it has been observed, ns.
    pub observed: u64,
    /// Runnable without a CPU outside traced calls so far, ns.
    pub runq: u64,
    /// The sleep outside traced calls that it is in.
    pub asleep: Option<Asleep>,
    /// Sleeps before that, which are in no sum yet, and the key of the sum that they will be added to.
    pub slept: Option<(LifeKey, LifeSum)>,
    /// Ends of waits for a lock that are in no sum yet, with the key of their count.
    pub woken: Option<(WakeKey, u64)>,
    /// How often such sleeps were added to sums.
    pub booked: u32,
}

/// A sleep that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// Key of the sum that it will be added to.
    pub key: LifeKey,
    /// When it began, ns.
    pub since: u64,
    /// How long it has lasted, ns.
    pub ns: u64,
}

impl Living {
    /// A thread by its state at `now`; `None` where its whole time is not asked for.
    pub fn of(task: &Task, now: u64, by_thread: bool) -> Option<Self> {
        if task.begun == 0 {
            return None;
        }
        let tid = if by_thread { task.tid } else { 0 };
        let key = LifeKey { tgid: task.tgid, tid, what: LifeKey::NONE, place: place::OBSERVED };
        let mut living = Self {
            key,
            begun: task.begun,
            observed: now.saturating_sub(task.begun),
            runq: task.outside_runq,
            asleep: None,
            slept: (task.slept_times > 0).then_some((
                LifeKey { what: task.slept_in, place: task.slept_at, ..key },
                LifeSum { ns: task.slept_ns, times: u64::from(task.slept_times) },
            )),
            woken: (task.woken_times > 0).then_some((task.woken_key(), u64::from(task.woken_times))),
            booked: task.slept_booked,
        };
        let off = task.span.off;
        let stopped = off == Off::Stopped as u32;
        if off == Off::Running as u32 || (task.span.is_open() && !stopped) {
            return Some(living);
        }
        let away = now.saturating_sub(task.span.out);
        let in_sleep = [Off::Wait, Off::Lock, Off::Disk, Off::Stopped].iter().any(|&one| one as u32 == off);
        // Off a CPU in a way that is not known: it was found neither running nor asleep.
        let woken = task.wake.at > task.span.out;
        let slept = match (in_sleep, woken) {
            (false, _) => 0,
            (true, false) => away,
            (true, true) => (task.wake.at - task.span.out).min(away),
        };
        if off == Off::Unknown as u32 {
            return Some(living);
        }
        if !task.span.is_open() {
            living.runq = living.runq.saturating_add(away - slept);
        }
        let (what, at) = match off {
            off if off == Off::Stopped as u32 => (LifeKey::NONE, place::STOPPED),
            off if off == Off::Disk as u32 => (task.what, place::DISK),
            off if off == Off::Lock as u32 => (task.what, place::LOCK),
            _ => (task.what, place::WAIT),
        };
        let sleep = Asleep { key: LifeKey { what, place: at, ..key }, since: task.span.out, ns: slept };
        living.asleep = in_sleep.then_some(sleep);
        Some(living)
    }

    /// What tells this thread, in this sleep and with these in no sum, from another one, another sleep and others in none.
    pub fn moment(&self) -> (LifeKey, u64, Option<u64>, u32) {
        (self.key, self.begun, self.asleep.map(|sleep| sleep.since), self.booked)
    }

    /// Keys of the sums that it adds to.
    pub fn keys(&self) -> impl Iterator<Item = LifeKey> {
        let runq = LifeKey { place: place::RUNQ, ..self.key };
        let (asleep, slept) = (self.asleep.map(|sleep| sleep.key), self.slept.map(|(key, _)| key));
        [self.key, runq].into_iter().chain(asleep).chain(slept)
    }
}

impl Snapshot {
    /// Adds what threads that live have done so far.
    pub fn book_living(&mut self, living: &[Living]) {
        for one in living {
            self.lived(one.key, LifeSum { ns: one.observed, times: 1 });
            if one.runq > 0 {
                self.lived(LifeKey { place: place::RUNQ, ..one.key }, LifeSum { ns: one.runq, times: 0 });
            }
            if let Some((key, sum)) = one.slept {
                self.lived(key, sum);
            }
            if let Some((key, times)) = one.woken {
                *self.wakes.entry(key).or_default() += times;
            }
            if let Some(sleep) = &one.asleep {
                self.lived(sleep.key, LifeSum { ns: sleep.ns, times: 1 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn thread(off: Off, out: u64, woken: u64) -> Task {
        let mut task = Task::new_zeroed();
        (task.tgid, task.tid, task.begun, task.what) = (7, 8, 100, 202);
        (task.span.off, task.span.out, task.wake.at) = (off as u32, out, woken);
        task
    }

    fn sums(task: &Task) -> Snapshot {
        let mut sums = Snapshot::default();
        sums.book_living(&[Living::of(task, 1000, false).unwrap()]);
        sums
    }

    fn ns(sums: &Snapshot, what: u32, place: u32) -> u64 {
        sums.lives.get(&LifeKey { tgid: 7, tid: 0, what, place }).map_or(0, |sum| sum.ns)
    }

    #[test]
    fn a_sleep_lasts_until_now_or_until_the_wake_up() {
        let asleep = sums(&thread(Off::Wait, 400, 0));
        assert_eq!((ns(&asleep, 202, place::WAIT), ns(&asleep, LifeKey::NONE, place::OBSERVED)), (600, 900));
        let woken = sums(&thread(Off::Wait, 400, 700));
        assert_eq!((ns(&woken, 202, place::WAIT), ns(&woken, LifeKey::NONE, place::RUNQ)), (300, 300));
        let lost = sums(&thread(Off::Preempted, 400, 700));
        assert_eq!(ns(&lost, LifeKey::NONE, place::RUNQ), 600);
        assert_eq!(ns(&sums(&thread(Off::Stopped, 400, 0)), LifeKey::NONE, place::STOPPED), 600);
    }

    #[test]
    fn sleeps_that_are_in_no_sum_yet_count() {
        let mut task = thread(Off::Wait, 400, 0);
        (task.slept_ns, task.slept_times, task.slept_in, task.slept_at) = (250, 3, 202, place::WAIT);
        let both = sums(&task);
        assert_eq!(ns(&both, 202, place::WAIT), 600 + 250);
        let key = LifeKey { tgid: 7, tid: 0, what: 202, place: place::WAIT };
        assert_eq!(both.lives[&key].times, 1 + 3);
        (task.slept_in, task.slept_at) = (230, place::WAIT);
        assert_eq!((ns(&sums(&task), 202, place::WAIT), ns(&sums(&task), 230, place::WAIT)), (600, 250));
    }

    #[test]
    fn in_a_call_only_a_stop_is_outside_of_it() {
        let mut task = thread(Off::Wait, 400, 0);
        task.span.enter = 300;
        assert_eq!(sums(&task).lives.len(), 1);
        task.span.off = Off::Stopped as u32;
        assert_eq!(ns(&sums(&task), LifeKey::NONE, place::STOPPED), 600);
    }

    #[test]
    fn a_thread_that_nothing_is_known_of_runs() {
        assert_eq!(sums(&thread(Off::Unknown, 100, 0)).lives.len(), 1);
        assert!(Living::of(&Task::new_zeroed(), 1000, false).is_none());
    }
}
