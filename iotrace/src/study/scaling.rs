//! What it costs to ask many descriptors which of them can be read.
//!
//! Whole calls are timed with the clock of user space, without probes: with no descriptor ready, with one, and with
//! all. A call that sleeps is cut by the kernel's records into the first look, before it sleeps, and the second
//! look, after it was woken.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::ask::{Asker, WAYS};
use super::crowd::Crowd;
use super::observe::{Watching, after_sleep, before_sleep, calls_of, own_tid};
use super::{Experiment, Lab, Outcome, clock, limits};
use crate::bpf::probes::Group;
use crate::host::proc;
use crate::session::error::Failure;
use iotrace_core::domain::syscall;
use iotrace_core::report::count;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::samples::stats;
use iotrace_core::summary::{Axis, Crossover, Source};

/// The study `scaling`: what asking for readiness costs, by the number of descriptors.
pub const SCALING: Experiment = Experiment {
    name: "scaling",
    question: "What does it cost to ask which descriptors are ready, by how many there are?",
    arms: &WAYS,
    connections: Some(10_000),
    run,
};

/// Number of `restart_syscall`: a `poll` that task work interrupted (of an io_uring that was closed) goes on as this
/// call.
const RESTARTED: u32 = 219;
/// Numbers of connections that are measured, up to the number that was asked for.
const POINTS: [usize; 9] = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000];
/// Most connections through whose points a line is drawn. Beyond it the caches no longer hold the sockets, so that a
/// descriptor costs more the more there are, and no straight line fits.
const CACHED: f64 = 1000.0;
/// Longest wait until a call has fallen asleep: enough under emulation, too.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that sleep, for each sample.
const SLEEPS: usize = 3;

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let most = lab.connections(300) as usize;
    // epoll, io_uring and the sender have a descriptor of their own.
    limits::make_room(most as u64 + 8, &format!("study scaling with {most} connections"))?;
    let crowd =
        Crowd::new(most).map_err(Failure::while_doing(&format!("making {most} connections over UDP")))?;
    let ways = possible(lab, &crowd)?;
    let arms: Vec<(&str, usize)> =
        points(most).into_iter().flat_map(|size| ways.iter().map(move |&way| (way, size))).collect();
    let mut sheet = declared();
    lab.rounds("asking", &mut sheet, arms.len(), |index, sheet| {
        let (way, size) = arms[index];
        timed(&crowd, way, size, sheet).map_err(Failure::while_doing(&format!("asking {size} by {way}")))
    })?;
    let mut watching = lab.watch(&[Group::Core], false)?;
    lab.rounds("sleeping", &mut sheet, arms.len(), |index, sheet| {
        let (way, size) = arms[index];
        slept(&crowd, way, size, &mut watching, sheet)
            .map_err(Failure::while_doing(&format!("sleeping on {size} by {way}")))
    })?;
    lab.unwatch(watching);
    Ok(conclude(sheet, &ways))
}

/// The points of [`POINTS`] below `most`, and `most` itself.
fn points(most: usize) -> Vec<usize> {
    let mut points: Vec<usize> = POINTS.into_iter().filter(|&point| point < most).collect();
    points.push(most);
    points
}

/// The arms that were asked for and that this kernel has.
fn possible(lab: &mut Lab, crowd: &Crowd) -> Result<Vec<&'static str>, Failure> {
    let mut ways = Vec::new();
    for way in WAYS {
        if !lab.wants(way) {
            continue;
        }
        match Asker::new(way, &crowd.fds(1)) {
            Ok(_) => ways.push(way),
            Err(error) => lab.leave_out(
                way,
                &format!("the kernel refused it: {error} (io_uring: see sysctl kernel.io_uring_disabled)"),
            )?,
        }
    }
    Ok(ways)
}

fn declared() -> Sheet {
    let mut sheet = Sheet::default();
    sheet.order(&WAYS);
    let mut declare = |name, title, source, label: &str, per: &str| {
        let axis = Axis { label: label.to_owned(), per: per.to_owned(), log: true };
        sheet.measure(name, title, "ns", source, Some(axis));
    };
    declare("idle", "one call, nothing ready", Source::Clock, "connections", "idle fd");
    declare("one-ready", "one call, one descriptor ready", Source::Clock, "connections", "idle fd");
    declare("all-ready", "one call, all descriptors ready", Source::Clock, "ready descriptors", "ready fd");
    declare(
        "first-look",
        "in a call that sleeps, on the CPU before the sleep",
        Source::Ebpf,
        "connections",
        "idle fd",
    );
    declare(
        "second-look",
        "in a call that sleeps, on the CPU after it was woken",
        Source::Ebpf,
        "connections",
        "idle fd",
    );
    sheet
}

/// Times calls that do not sleep.
fn timed(crowd: &Crowd, way: &str, size: usize, sheet: &mut Sheet) -> std::io::Result<()> {
    let mut asker = Asker::new(way, &crowd.fds(size))?;
    for (measure, ready) in [("idle", 0), ("one-ready", 1), ("all-ready", size)] {
        crowd.fill(ready)?;
        // The first call takes the reports of what arrived since the set-up; io_uring makes its requests again with
        // the next one.
        asker.ask(false)?;
        // Both closures need the asker, one after the other.
        let asker = std::cell::RefCell::new(&mut asker);
        let ns = clock::call_ns(
            || asker.borrow().rearm(ready),
            || {
                let found = asker.borrow_mut().ask(false)?;
                if found == ready { Ok(()) } else { Err(unexpected(found, ready)) }
            },
        )?;
        sheet.add(measure, way, Some(size as f64), ns);
        crowd.drain(ready);
        asker.borrow_mut().ask(false)?;
    }
    Ok(())
}

fn unexpected(found: usize, ready: usize) -> std::io::Error {
    std::io::Error::other(format!("{found} descriptors were reported ready, not {ready}"))
}

/// Measures a call that sleeps until another thread sends to the last connection.
fn slept(
    crowd: &Crowd,
    way: &str,
    size: usize,
    watching: &mut Watching,
    sheet: &mut Sheet,
) -> std::io::Result<()> {
    let mut asker = Asker::new(way, &crowd.fds(size))?;
    let own = own_tid();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..SLEEPS {
        let (done, journal) = watching.during(|| woken(crowd, size - 1, || asker.ask(true).map(drop)));
        done?;
        crowd.take(size - 1);
        // Takes the report of an earlier arrival, if one is left.
        asker.ask(false)?;
        let Some(call) = calls_of(&journal, own).filter(|call| call.ret >= 0).last() else { continue };
        first.extend(before_sleep(call).map(|ns| ns as f64));
        second.extend(after_sleep(call).map(|ns| ns as f64));
    }
    for (measure, samples) in [("first-look", first), ("second-look", second)] {
        if let Some(ns) = stats::median(&samples) {
            sheet.add(measure, way, Some(size as f64), ns);
        }
    }
    Ok(())
}

/// Runs `sleeps` on this thread, while another thread sends to connection `index` as soon as this one is asleep.
///
/// # Errors
/// `sleeps` failed, or the send did.
pub(super) fn woken(
    crowd: &Crowd,
    index: usize,
    sleeps: impl FnOnce() -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (pid, sleeper) = (std::process::id(), own_tid());
    let (over, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let asleep = || {
                let call = proc::sleeping_in(pid, sleeper);
                call.and_then(syscall::by_nr).is_some_and(|one| !syscall::is_on_request(one))
                    || call == Some(RESTARTED)
            };
            // A sleeper that /proc does not show as asleep gets its byte all the same, so that it cannot wait for
            // ever.
            let began = Instant::now();
            while !asleep() && began.elapsed() < PATIENCE {
                // `sleeps` may have ended with an error: then no byte is needed.
                let pause = ended.recv_timeout(Duration::from_micros(100));
                if pause != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
            crowd.send(index)
        });
        let slept = sleeps();
        drop(over);
        slept.and(sender.join().unwrap_or_else(|_| Err(std::io::Error::other("the sender panicked"))))
    })
}

fn conclude(sheet: Sheet, ways: &[&str]) -> Outcome {
    let mut outcome = Outcome::default();
    for measure in sheet.measures() {
        outcome.fits.extend(ways.iter().filter_map(|way| sheet.fit(&measure.name, way, CACHED)));
    }
    for other in ["epoll", "io-uring"] {
        for way in ["select", "poll"] {
            if ways.contains(&way) && ways.contains(&other) {
                outcome.crossovers.push(sheet.crossover("one-ready", way, other));
            }
        }
    }
    let slope = |measure: &str, arm: &str| {
        outcome.fits.iter().find(|fit| fit.measure == measure && fit.arm == arm).map(|fit| fit.slope)
    };
    let mut findings = Vec::new();
    for way in ["select", "poll"] {
        if let (Some(own), Some(epoll)) = (slope("idle", way), slope("idle", "epoll")) {
            findings.push(format!(
                "An idle descriptor costs {way} {own:.1} ns in every call, epoll {epoll:.2} ns (slopes of the lines)."
            ));
            findings.extend(beyond(&sheet, way, own));
        }
    }
    for crossover in &outcome.crossovers {
        findings.push(match crossover.x {
            Some(x) => format!(
                "With one ready, {} is cheaper than {} from about {x:.0} connections on.",
                crossover.other, crossover.arm
            ),
            None => apart(&sheet, crossover),
        });
    }
    if let Some(ready) = slope("all-ready", "epoll") {
        findings.push(format!(
            "A ready descriptor costs epoll {ready:.0} ns: the cost grows linearly \
             with the ready descriptors."
        ));
    }
    outcome.findings = findings;
    outcome.sheet = sheet;
    outcome
}

/// What a descriptor costs with more connections than [`CACHED`], in a sentence, if that was measured.
fn beyond(sheet: &Sheet, way: &str, slope: f64) -> Option<String> {
    let arms = sheet.arms();
    let of_way = arms.iter().filter(|arm| arm.measure == "idle" && arm.name == way);
    let last = of_way.max_by(|one, other| one.x.unwrap_or(0.0).total_cmp(&other.x.unwrap_or(0.0)))?;
    let (x, median) = (last.x?, last.median?);
    let each = median / x;
    (x > CACHED && each > 1.2 * slope).then(|| {
        format!(
            "With {} connections an idle descriptor costs {way} {each:.0} ns, {:.1} times as much as up to {}.",
            count(x as u64),
            each / slope,
            count(CACHED as u64)
        )
    })
}

/// The sentence for two arms whose lines do not cross: at how many points the one costs more.
fn apart(sheet: &Sheet, crossover: &Crossover) -> String {
    let arms = sheet.arms();
    let at = |arm: &str| {
        let of_arm = arms.iter().filter(|one| one.measure == crossover.measure && one.name == arm);
        of_arm.filter_map(|one| one.median).collect::<Vec<f64>>()
    };
    let (own, other) = (at(&crossover.arm), at(&crossover.other));
    let above = own.iter().zip(&other).filter(|(own, other)| own > other).count();
    format!(
        "With one ready, {} costs more than {} at {above} of {} points: no crossover.",
        crossover.arm,
        crossover.other,
        own.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_end_at_what_was_asked_for() {
        assert_eq!(points(10_000), POINTS);
        assert_eq!(points(40), [1, 3, 10, 30, 40]);
        assert_eq!(points(1), [1]);
    }

    #[test]
    fn the_conclusion_is_made_from_the_figures() {
        let mut sheet = declared();
        sheet.begin(0);
        for size in [1.0, 100.0, 1000.0] {
            sheet.add("one-ready", "poll", Some(size), 100.0 + 20.0 * size);
            sheet.add("one-ready", "epoll", Some(size), 300.0);
            sheet.add("idle", "poll", Some(size), 100.0 + 25.0 * size);
            sheet.add("idle", "epoll", Some(size), 200.0);
        }
        let outcome = conclude(sheet, &["poll", "epoll"]);
        assert!(outcome.findings.iter().any(|text| text.contains("poll 25.0 ns")), "{:?}", outcome.findings);
        assert!(
            outcome.findings.iter().any(|text| text.contains("epoll is cheaper than poll from about 10 "))
        );
        assert_eq!(outcome.fits.len(), 4);
    }
}
