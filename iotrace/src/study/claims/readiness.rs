//! select, poll and epoll: where they block, whom they serve, what they scan, how often they tell.

use std::io;

use super::{Bench, Trial};
use crate::study::ask::Asker;
use crate::study::crowd::Crowd;
use crate::study::observe::{calls_of, own_tid};
use crate::study::scaling::woken;
use crate::study::{clock, triggers};
use iotrace_core::summary::{Ruling, Source};

const WAYS: [&str; 3] = ["select", "poll", "epoll"];
/// Few and many connections.
const SIZES: [usize; 2] = [10, 1000];

pub const WHERE_IT_BLOCKS: Trial = Trial {
    id: "readiness-call-blocks",
    claim: "select, poll and epoll block in the call that waits, not in the I/O call, and are synchronous",
    experiment: "Each sleeps on three connections until another thread sends to one, then recv takes it; sleeps of \
                 both calls from their records",
    rule: "holds if each readiness call sleeps, no recv does, and recv runs on the thread that asked",
    observed: true,
    measures: &[
        ("sleeps in the readiness calls of the three", "sleeps", Source::Ebpf),
        ("sleeps in their recv calls", "sleeps", Source::Ebpf),
        ("recv calls on the thread that asked", "calls", Source::Ebpf),
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
            "{waiting:.0} of 3 readiness calls slept, {receiving:.0} of {received:.0} recv calls did, and the thread \
             that asked had to make them itself."
        );
        Some((if holds { Ruling::Holds } else { Ruling::Fails }, because))
    },
};

pub const MANY: Trial = Trial {
    id: "one-process-many",
    claim: "With select, poll or epoll one process serves many connections",
    experiment: "One thread, 200 connections that all have a message: one call of each asks for all of them",
    rule: "holds if one call of each way tells of all",
    observed: false,
    measures: &[
        ("told by one select", "connections", Source::Count),
        ("told by one poll", "connections", Source::Count),
        ("told by one epoll", "connections", Source::Count),
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
        Some((ruling, format!("One call told of at least {least:.0} of 200 connections.")))
    },
};

pub const SCAN: Trial = Trial {
    id: "scan",
    claim: "select and poll scan linearly; epoll is O(1) and driven by callbacks; with many connections and few \
            active ones epoll wins by far",
    experiment: "One call that does not sleep, with 10 and with 1000 connections: none, one and all of them ready",
    rule: "the scan is linear if 1000 idle ones cost at least 20 times what 10 do, O(1) if at most 1.5 times; by far \
           is 10 times for one ready of 1000. Holds if all is so, and epoll's cost does not grow with ready ones \
           either; with a condition if only that is not so; else it does not",
    observed: false,
    measures: &[
        ("select: 1000 idle against 10", "times", Source::Clock),
        ("poll: 1000 idle against 10", "times", Source::Clock),
        ("epoll: 1000 idle against 10", "times", Source::Clock),
        ("epoll: 1000 ready against 10", "times", Source::Clock),
        ("poll against epoll, one of 1000 ready", "times", Source::Clock),
    ],
    run: scanned,
    judge: |found| {
        let select = found.get("select: 1000 idle against 10")?;
        let poll = found.get("poll: 1000 idle against 10")?;
        let epoll = found.get("epoll: 1000 idle against 10")?;
        let ready = found.get("epoll: 1000 ready against 10")?;
        let wins = found.get("poll against epoll, one of 1000 ready")?;
        let mut because = format!(
            "100 times the idle connections cost select {select:.0} and poll {poll:.0} times as much, epoll \
             {epoll:.2} times; with one of 1000 ready epoll is {wins:.0} times quicker than poll."
        );
        Some(match (select >= 20.0 && poll >= 20.0 && epoll <= 1.5 && wins >= 10.0, ready <= 1.5) {
            (true, true) => (Ruling::Holds, because),
            (true, false) => {
                because += &format!(
                    " But it is O(1) in the idle ones only: 100 times the ready ones cost {ready:.0} times as much."
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
    claim: "Level-triggered repeats until the data is read, edge-triggered tells once",
    experiment: "One arrival of 4 bytes, epoll_wait asked 6 times, reading nothing or all after each return",
    rule: "holds if level tells all 6 times unread and once if all is read, and edge once in either case",
    observed: false,
    measures: &[
        ("level, nothing read", "returns", Source::Count),
        ("level, everything read", "returns", Source::Count),
        ("edge, nothing read", "returns", Source::Count),
        ("edge, everything read", "returns", Source::Count),
    ],
    run: |bench| {
        for (mode, flags) in [("level", 0), ("edge", libc::EPOLLET as u32)] {
            for (read, bytes) in [("nothing", 0), ("everything", triggers::MESSAGE)] {
                let (returns, _) = triggers::returns(flags, bytes)?;
                bench.put(&format!("{mode}, {read} read"), f64::from(returns));
            }
        }
        Ok(())
    },
    judge: |found| {
        let level = (found.get("level, nothing read")?, found.get("level, everything read")?);
        let edge = (found.get("edge, nothing read")?, found.get("edge, everything read")?);
        let holds = level == (6.0, 1.0) && edge == (1.0, 1.0);
        let because = format!(
            "Unread, level told {:.0} times and edge {:.0}; read, {:.0} and {:.0}.",
            level.0, edge.0, level.1, edge.1
        );
        Some((if holds { Ruling::Holds } else { Ruling::Fails }, because))
    },
};
