//! The head of a process: where all its time went, and what that means.

use crate::report::bar::bar;
use crate::report::facts::named;
use crate::report::page::{Page, clip, columns, fit};
use crate::report::paint::Style;
use crate::report::units::{Unit, percent, plural};
use crate::summary::{Document, Process, ThreadTime, Time};

/// The glyphs of the places: on a CPU, ready without one, asleep in calls, for a disk, for locks, and elsewhere.
const PLACES: [char; 6] = ['█', '▒', '░', '▞', '▓', '·'];
/// Columns of a bar.
const BAR: usize = 24;
/// Columns of a page below which bars are half as long.
const NARROW: usize = 80;
/// Most threads that are shown of a process.
const THREADS: usize = 16;
/// Columns of the name of a thread: the kernel keeps 15 bytes of it.
const NAME: usize = 15;

/// Writes what the time of a process means, then a bar of the time itself, and one for each thread where these are told
/// apart.
pub fn draw(process: &Process, unit: Unit, page: &mut Page) {
    for finding in &process.diagnosis {
        page.wrap(Style::Plain, "   >> ", &finding.text);
    }
    let shown = &process.thread_times[..process.thread_times.len().min(THREADS)];
    let whose = |one: &ThreadTime| format!("{} {}", clip(named(&one.name), NAME), one.tid);
    // The bars of a process are below each other.
    let width = shown.iter().map(|one| columns(&whose(one))).max().unwrap_or(0);
    if let Some(time) = &process.time {
        line(&fit("time", width.max("time".len())), time, unit, page);
    }
    for one in shown {
        line(&fit(&whose(one), width), &one.time, unit, page);
    }
    let more = (process.thread_times.len() - shown.len()) as u64;
    if more > 0 {
        let all = plural(more, "more thread");
        page.wrap(
            Style::Dim,
            "   ",
            &format!("{all} with less time on a CPU or ready for one: --format json has them all"),
        );
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
    // On a narrow page the words need the room more.
    let cells = if page.width() < NARROW { BAR / 2 } else { BAR };
    let head = format!("   {whose} {} {}  ", bar(places, PLACES, cells), unit.show(time.observed_ns));
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

    fn drawn(width: usize, names: &[&str]) -> Vec<String> {
        let json = r#"{"pid": 7, "comm": "it", "processes": 1, "threads": 1, "calls": [], "operations": null, "models": [],
            "wakers": [], "in_flight": []}"#;
        let mut process: Process = serde_json::from_str(json).expect("a process");
        let time = Time { observed_ns: 1_000_000, own_ns: 1_000_000, ..Time::default() };
        process.time = Some(time.clone());
        let threads = names.iter().zip(7..);
        let thread =
            |(name, tid): (&&str, u32)| ThreadTime { tid, name: (*name).to_owned(), time: time.clone() };
        process.thread_times = threads.map(thread).collect();
        let (mut page, mut text) = (Page::new(width), Vec::new());
        draw(&process, Unit::Auto, &mut page);
        page.write(false, &mut text).expect("memory");
        String::from_utf8(text).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_thread_has_a_bar_by_its_name_and_all_bars_line_up() {
        let lines = drawn(100, &["main", "  ", "a-very-long-name-of-15", "日本"]);
        let begins: Vec<usize> = lines.iter().map(|line| columns(line.split('█').next().unwrap())).collect();
        assert_eq!(begins, [begins[0]; 5], "{lines:#?}");
        assert!(lines[1].starts_with("   main 7 ") && lines[2].starts_with("   (no name) 8 "), "{lines:#?}");
        assert!(lines[3].starts_with("   a-very-long-na… 9 ███"), "{lines:#?}");
        let most = ["x"; THREADS + 2];
        let lines = drawn(100, &most);
        assert!(
            lines.len() == THREADS + 2 && lines[THREADS + 1].starts_with("   2 more threads"),
            "{lines:#?}"
        );
        for width in [60, 80, 100] {
            let widest = drawn(width, &["a-very-long-name"; 20]).iter().map(|line| columns(line)).max();
            assert!(widest <= Some(width), "{widest:?} of {width}");
        }
    }
}
