//! What observing may cost, and whether it does.

use super::arm::Arm;
use super::outcome::Outcome;
use super::target::Target;

/// Every target of the run.
pub fn all(run: &Outcome) -> Vec<Target> {
    let most = |quantity, limit, unit, value| Target { quantity, limit, unit, value, at_least: false };
    let least = |quantity, limit, unit, value| Target { quantity, limit, unit, value, at_least: true };
    let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under.filter(|under| *under > 0.0)?);
    let call = |arm| run.added("recvfrom", arm);
    let (traced, floor) = (call(Arm::Aggregate), call(Arm::Floor));
    let neighbour = |arm| ratio(run.added("neighbour", arm), run.added("neighbour", Arm::Floor));
    let percent = |load, arm| {
        let nothing = run.row(load).and_then(|row| row.arm(Arm::Nothing)?.min());
        Some(ratio(run.added(load, arm), nothing)? * 100.0)
    };
    let crowd = |few, many| ratio(run.added(many, Arm::Aggregate), run.added(few, Arm::Aggregate));
    let switch = switch(run);
    vec![
        most("traced call, aggregate", 2.0, "floor", ratio(traced, floor)),
        most("  to bpftrace's histogram", 0.4, "x", ratio(traced, call(Arm::Histogram))),
        most("  to perf trace -s", 0.03, "x", ratio(traced, call(Arm::PerfTrace))),
        most("  to strace -c", 0.015, "x", ratio(traced, call(Arm::Strace))),
        most("traced call, records", 3.2, "floor", ratio(call(Arm::Records), floor)),
        least("  records a second", 1.0, "M/s", run.fact("records")),
        most("  records lost", 0.0, "", run.fact("records lost")),
        most("call of an untraced process, one target", 1.2, "floor", neighbour(Arm::Aggregate)),
        most("  with many", 1.5, "floor", neighbour(Arm::Many)),
        most("context switch", 140.0, "ns", switch),
        most("wake-up", 65.0, "ns", wake(run, switch)),
        most("TCP receive, all marks", 800.0, "ns", run.added("tcp-recv", Arm::Aggregate)),
        most("unix ping-pong, one side traced", 40.0, "%", percent("unix-1cpu", Arm::Aggregate)),
        most("  both sides traced", 40.0, "%", percent("unix-1cpu", Arm::Many)),
        most("  bpftrace split, for comparison", 40.0, "%", percent("unix-1cpu", Arm::Split)),
        least("aggregated calls a second", 2.0, "M/s", run.fact("calls aggregated")),
        most("  not counted", 0.0, "", run.fact("calls made but not counted")),
        most("CPU while aggregating", 1.0, "% of one", run.fact("CPU of iotrace, 1 s interval")),
        most("start to attached", 300.0, "ms", run.fact("start to attached")),
        most("resident", 40.0, "MiB", run.fact("resident, at most")),
        most("descriptors", 99.0, "", run.fact("descriptors")),
        most("10,000 threads to 10", 1.3, "x", crowd("threads-10", "threads-10000")),
        most("10,000 descriptors to 10", 1.3, "x", crowd("fds-10", "fds-10000")),
    ]
}

/// What a switch between two traced threads costs: what the yields add, less the calls that they are. Not
/// every yield switches: how many it takes is what the floor, which sees only calls, adds to both loads.
fn switch(run: &Outcome) -> Option<f64> {
    let calls = run.added("yield", Arm::Floor)? / run.added("getppid", Arm::Floor).filter(|ns| *ns > 0.0)?;
    Some(run.added("yield", Arm::Aggregate)? - calls * run.added("getppid", Arm::Aggregate)?)
}

/// A round of two threads that wake each other has four calls, two switches and two wake-ups.
fn wake(run: &Outcome, switch: Option<f64>) -> Option<f64> {
    let calls = 4.0 * run.added("getppid", Arm::Aggregate)?;
    Some((run.added("futex", Arm::Aggregate)? - calls - 2.0 * switch?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::load::LOADS;
    use super::super::measure::Measured;
    use super::super::outcome::Row;
    use super::*;

    fn row(name: &str, arms: &[(Arm, f64)]) -> Row {
        let load = LOADS.iter().find(|load| load.name == name).expect("a load");
        let arms = arms
            .iter()
            .map(|&(arm, each)| Measured { arm, windows: vec![each, each + 50.0], failure: None })
            .collect();
        Row { load, arms, failure: None }
    }

    #[test]
    fn a_target_is_met_missed_or_not_measured() {
        let arms = [(Arm::Nothing, 100.0), (Arm::Floor, 200.0), (Arm::Aggregate, 400.0)];
        let run = Outcome { rows: vec![row("recvfrom", &arms)], ..Outcome::default() };
        let targets = all(&run);
        assert_eq!((targets[0].value, targets[0].met()), (Some(3.0), Some(false)));
        assert!(targets[0].verdict().contains("MISSED by 50 %"), "{}", targets[0].verdict());
        assert_eq!(targets[1].met(), None);
        assert!(targets[1].verdict().contains("not measured"));
    }

    #[test]
    fn a_wake_up_is_what_the_rest_leaves() {
        let with = |floor: f64, added: f64| {
            [(Arm::Nothing, 1000.0), (Arm::Floor, 1000.0 + floor), (Arm::Aggregate, 1000.0 + added)]
        };
        let rows = vec![
            row("getppid", &with(50.0, 100.0)),
            row("yield", &with(75.0, 280.0)),
            row("futex", &with(200.0, 780.0)),
        ];
        let run = Outcome { rows, ..Outcome::default() };
        assert_eq!((switch(&run), wake(&run, switch(&run))), (Some(130.0), Some(60.0)));
    }
}
