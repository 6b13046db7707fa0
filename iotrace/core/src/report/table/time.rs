//! The head of a process: where all its time went, and what that means.

use crate::report::bar::bar;
use crate::report::page::Page;
use crate::report::paint::Style;
use crate::report::units::{Unit, percent};
use crate::summary::{Document, Process, ThreadTime, Time};

/// The glyphs of the places: on a CPU, ready without one, asleep in calls, for a disk, for locks, and elsewhere.
const PLACES: [char; 6] = ['█', '▒', '░', '▞', '▓', '·'];
/// Columns of a bar.
const BAR: usize = 24;
/// Most threads that are shown of a process.
const THREADS: usize = 16;

/// Writes what the time of a process means, then a bar of the time itself, and one for each thread where these are told
/// apart.
pub fn draw(process: &Process, unit: Unit, page: &mut Page) {
    for finding in &process.diagnosis {
        page.wrap(Style::Plain, "   >> ", &finding.text);
    }
    if let Some(time) = &process.time {
        line("time", time, unit, page);
    }
    for ThreadTime { tid, name, time } in process.thread_times.iter().take(THREADS) {
        line(&format!("{name} {tid}"), time, unit, page);
    }
}

/// Writes the same of all processes together, where there are several.
pub fn of_all(document: &Document, unit: Unit, page: &mut Page) {
    if document.processes.len() < 2 || (document.diagnosis.is_empty() && document.time.is_none()) {
        return;
    }
    page.gap();
    for finding in &document.diagnosis {
        page.wrap(Style::Plain, "   >> ", &finding.text);
    }
    if let Some(time) = &document.time {
        line("time of all", time, unit, page);
    }
}

fn line(whose: &str, time: &Time, unit: Unit, page: &mut Page) {
    let places = places(time);
    let mut said: Vec<(u64, String)> = vec![
        (time.on_cpu_ns(), "on CPU".to_owned()),
        (time.runnable_ns(), "ready without CPU".to_owned()),
        (time.in_calls.wait_ns, "waiting in calls".to_owned()),
        (time.in_calls.disk_ns, "disk in calls".to_owned()),
        (time.in_calls.lock_ns, "lock in calls".to_owned()),
        (time.stopped_ns, "stopped".to_owned()),
    ];
    said.extend(time.elsewhere.iter().map(|one| {
        let held = if one.held_lock { " (held lock)" } else { "" };
        (one.ns, format!("{}{held}", one.what))
    }));
    // Less than half a percent is not worth a word.
    said.retain(|(ns, _)| ns.saturating_mul(200) >= time.observed_ns.max(1));
    said.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    let words: Vec<String> =
        said.into_iter().map(|(ns, what)| format!("{what} {}", percent(ns, time.observed_ns))).collect();
    let head = format!("   {whose} {} {}  ", bar(places, PLACES, BAR), unit.show(time.observed_ns));
    page.wrap(Style::Parts, &head, &words.join(", "));
}

fn places(time: &Time) -> [u64; 6] {
    use crate::summary::Class::{Child, Connection, Disk, Lock, Other, Timer};
    let calls = &time.in_calls;
    let elsewhere = [Timer, Connection, Child, Other].map(|class| time.asleep_ns(class));
    [
        time.on_cpu_ns(),
        time.runnable_ns(),
        calls.wait_ns,
        calls.disk_ns.saturating_add(time.asleep_ns(Disk)),
        calls.lock_ns.saturating_add(time.asleep_ns(Lock)),
        elsewhere.into_iter().fold(time.stopped_ns, u64::saturating_add),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::InCalls;

    #[test]
    fn all_of_the_time_is_in_the_bar() {
        let in_calls = InCalls { wait_ns: 5, disk_ns: 6, lock_ns: 7, runq_ns: 8, copy_ns: 9, work_ns: 10 };
        let mut time = Time { in_calls, own_ns: 11, runq_ns: 12, stopped_ns: 13, ..Time::default() };
        time.observed_ns = time.accounted_ns();
        assert_eq!(places(&time).iter().sum::<u64>(), time.observed_ns);
    }
}
