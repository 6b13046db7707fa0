//! Claims about select, poll and epoll: in which call they block, how many connections one thread serves, what a call
//! scans, and how often it reports an arrival.

use std::io;

use super::{Bench, Figure, Trial};
use crate::study::ask::Asker;
use crate::study::crowd::Crowd;
use crate::study::observe::{calls_of, own_tid};
use crate::study::scaling::woken;
use crate::study::{clock, times, triggers};
use iotrace_core::summary::{Ruling, Source};

const WAYS: [&str; 3] = ["select", "poll", "epoll"];
/// A small and a large number of connections.
const SIZES: [usize; 2] = [10, 1000];

pub const WHERE_IT_BLOCKS: Trial = Trial {
    id: "readiness-call-blocks",
    claim: "select, poll and epoll block in the call that waits, not in the I/O call, and are synchronous",
    experiment: "Each sleeps on three connections until another thread sends to one, then recv takes it; sleeps of \
                 both calls from their records",
    rule: "holds if each readiness call sleeps, no recv does, and recv runs on the thread that asked",
    observed: true,
    measures: &[
        Figure::of("sleeps in the readiness calls of the three", "sleeps", Source::Ebpf),
        Figure::of("sleeps in their recv calls", "sleeps", Source::Ebpf),
        Figure::of("recv calls on the thread that asked", "calls", Source::Ebpf),
    ],
    run: |bench| {
        let crowd = Crowd::new(3)?;
        let (mut waiting, mut receiving, mut received) = (0, 0, 0);
        for way in WAYS {
            let mut asker = Asker::new(way, &crowd.fds(3))?;
            let (done, journal) = bench.watching()?.during(|| {
                let done = woken(&crowd, 2, || asker.ask(true).map(drop));
                crowd.take(2);
                done
            });
            done?;
            let fd = crowd.fds(3)[2];
            for call in calls_of(&journal, own_tid()) {
                match iotrace_core::domain::syscall::role_of(call.nr, call.arg2, call.arg3) {
                    iotrace_core::domain::Role::Readiness => waiting += u32::from(call.sleeps > 0),
                    iotrace_core::domain::Role::Data if call.fd == fd && call.ret > 0 => {
                        receiving += call.sleeps;
                        received += 1;
                    }
                    _ => {}
                }
            }
        }
        bench.put("sleeps in the readiness calls of the three", f64::from(waiting));
        bench.put("sleeps in their recv calls", f64::from(receiving));
        bench.put("recv calls on the thread that asked", f64::from(received));
        Ok(())
    },
    judge: |found| {
        let waiting = found.get("sleeps in the readiness calls of the three")?;
        let receiving = found.get("sleeps in their recv calls")?;
        let received = found.get("recv calls on the thread that asked")?;
        let holds = waiting >= 3.0 && receiving == 0.0 && received >= 3.0;
        let because = format!(
            "{waiting:.0} of 3 readiness calls slept. The {received:.0} recv calls were made by the thread that \
             asked; they slept {}.",
            times(receiving)
        );
        Some((if holds { Ruling::Holds } else { Ruling::Fails }, because))
    },
};

pub const MANY: Trial = Trial {
    id: "one-process-many",
    claim: "With select, poll or epoll one process serves many connections",
    experiment: "One thread, 200 connections that all have a message: one call of each asks for all of them",
    rule: "holds if one call of each reports all 200",
    observed: false,
    measures: &[
        Figure::of("told by one select", "connections", Source::Count),
        Figure::of("told by one poll", "connections", Source::Count),
        Figure::of("told by one epoll", "connections", Source::Count),
    ],
    run: |bench| {
        let crowd = Crowd::new(200)?;
        crowd.fill(200)?;
        for way in WAYS {
            let told = Asker::new(way, &crowd.fds(200))?.ask(false)?;
            bench.put(&format!("told by one {way}"), told as f64);
        }
        Ok(())
    },
    judge: |found| {
        let least = WAYS.iter().try_fold(f64::INFINITY, |least, way| {
            Some(least.min(found.get(&format!("told by one {way}"))?))
        })?;
        let ruling = if least >= 200.0 { Ruling::Holds } else { Ruling::Fails };
        Some((ruling, format!("One call of each reported at least {least:.0} of 200 connections.")))
    },
};

pub const SCAN: Trial = Trial {
    id: "scan",
    claim: "select and poll scan linearly; epoll is O(1) and driven by callbacks; with many connections and few \
            active ones epoll wins by far",
    experiment: "One call that does not sleep, with 10 and with 1000 connections: none, one and all of them ready",
    rule: "a scan is linear if 1000 idle connections cost at least 20 times as much as 10, and O(1) if at most 1.5 \
           times; epoll wins by far if, with one of 1000 ready, poll takes at least 10 times as long. Holds if all of \
           this is so and epoll's cost does not grow with the ready connections either; with a condition if only the \
           last is not so; else it does not hold",
    observed: false,
    measures: &[
        Figure::of("select: 1000 idle against 10", "times", Source::Clock),
        Figure::of("poll: 1000 idle against 10", "times", Source::Clock),
        Figure::of("epoll: 1000 idle against 10", "times", Source::Clock),
        Figure::of("epoll: 1000 ready against 10", "times", Source::Clock),
        Figure::of("poll against epoll, one of 1000 ready", "times", Source::Clock),
    ],
    run: scanned,
    judge: |found| {
        let select = found.get("select: 1000 idle against 10")?;
        let poll = found.get("poll: 1000 idle against 10")?;
        let epoll = found.get("epoll: 1000 idle against 10")?;
        let ready = found.get("epoll: 1000 ready against 10")?;
        let wins = found.get("poll against epoll, one of 1000 ready")?;
        let mut because = format!(
            "With 100 times the idle connections a call of select takes {select:.0}, of poll {poll:.0}, and of epoll \
             {epoll:.2} times as long; with one of 1000 ready poll takes {wins:.0} times as long as epoll."
        );
        Some(match (select >= 20.0 && poll >= 20.0 && epoll <= 1.5 && wins >= 10.0, ready <= 1.5) {
            (true, true) => (Ruling::Holds, because),
            (true, false) => {
                because += &format!(
                    " But epoll is O(1) only in the idle connections: 100 times the ready ones take \
             {ready:.0} times as long."
                );
                (Ruling::Conditional, because)
            }
            _ => (Ruling::Fails, because),
        })
    },
};

fn scanned(bench: &mut Bench<'_>) -> io::Result<()> {
    let crowd = Crowd::new(SIZES[1])?;
    let cost = |way: &str, size: usize, ready: usize| -> io::Result<f64> {
        let mut asker = Asker::new(way, &crowd.fds(size))?;
        crowd.fill(ready)?;
        let ns = clock::call_ns(|| Ok(()), || asker.ask(false).map(drop));
        crowd.drain(ready);
        ns
    };
    for way in WAYS {
        let grown = cost(way, SIZES[1], 0)? / cost(way, SIZES[0], 0)?;
        bench.put(&format!("{way}: 1000 idle against 10"), grown);
    }
    bench.put(
        "epoll: 1000 ready against 10",
        cost("epoll", SIZES[1], SIZES[1])? / cost("epoll", SIZES[0], SIZES[0])?,
    );
    bench.put(
        "poll against epoll, one of 1000 ready",
        cost("poll", SIZES[1], 1)? / cost("epoll", SIZES[1], 1)?,
    );
    Ok(())
}

pub const TRIGGERS: Trial = Trial {
    id: "level-and-edge",
    claim: "Level-triggered repeats until the data is read, edge-triggered reports once",
    experiment: "One arrival of 4 bytes and 6 calls of epoll_wait; the reader reads nothing or everything \
             after each return",
    rule: "holds if level reports 6 times while nothing is read and once if everything is read, and \
             edge once in either case",
    observed: false,
    measures: &[
        Figure::of("level, nothing read", "returns", Source::Count),
        Figure::of("level, everything read", "returns", Source::Count),
        Figure::of("edge, nothing read", "returns", Source::Count),
        Figure::of("edge, everything read", "returns", Source::Count),
    ],
    run: |bench| {
        for (mode, flags) in [("level", 0), ("edge", libc::EPOLLET as u32)] {
            for (read, bytes) in [("nothing", 0), ("everything", triggers::MESSAGE)] {
                let counted = triggers::returns(flags, bytes)?;
                bench.put(&format!("{mode}, {read} read"), f64::from(counted.returns));
            }
        }
        Ok(())
    },
    judge: |found| {
        let level = (found.get("level, nothing read")?, found.get("level, everything read")?);
        let edge = (found.get("edge, nothing read")?, found.get("edge, everything read")?);
        let holds = level == (6.0, 1.0) && edge == (1.0, 1.0);
        let because = format!(
            "In 6 calls, level reported {} and edge {} while nothing was read; level {} and edge {} when everything \
             was read.",
            times(level.0),
            times(edge.0),
            times(level.1),
            times(edge.1)
        );
        Some((if holds { Ruling::Holds } else { Ruling::Fails }, because))
    },
};
