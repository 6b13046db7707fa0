//! Study latency: shape only, since how busy the machine is decides the times.

use iotrace_core::summary::Study;

use crate::{is_checked, is_emulated, median, study};

fn points(study: &Study, measure: &str) -> Vec<(f64, f64)> {
    let of = study.arms.iter().filter(|arm| arm.measure == measure);
    of.map(|arm| (arm.x.expect("it has an axis"), arm.median.expect("checked before"))).collect()
}

#[test]
#[ignore = "needs root"]
fn polling_rarely_is_late_and_cheap() {
    if !is_checked() {
        return;
    }
    let study = study("latency", &["--arm", "blocking,sigio,posix-aio,polling"]);
    for arm in ["blocking", "sigio", "posix-aio"] {
        for measures in [["pickup", "p99"], ["busy pickup", "busy p99"]] {
            let [pickup, p99] = measures.map(|measure| median(&study, measure, arm, None));
            assert!(pickup > 0.0 && pickup <= p99, "{arm}: {measures:?}");
        }
    }
    assert!(median(&study, "signal", "sigio", None) > 0.0);
    assert!(median(&study, "completion", "posix-aio", None) > 0.0);
    assert!(!study.arms.iter().any(|arm| arm.measure == "signal" && arm.name != "sigio"));
    let (delay, cpu) = (points(&study, "polled"), points(&study, "poll CPU"));
    let (first, last) = (delay[0], delay[delay.len() - 1]);
    assert_eq!((first.0, last.0), (100.0, 1000.0));
    if is_emulated() {
        // A poll takes as long there as the shorter intervals.
        return;
    }
    // On average half an interval passes until the next poll.
    assert!(last.1 > 250_000.0 && last.1 > first.1, "{delay:?}");
    assert!(cpu[cpu.len() - 1].1 < cpu[0].1, "{cpu:?}");
    assert_eq!(study.fits.len(), 1, "{:?}", study.fits);
    assert!(study.fits[0].slope > 0.0, "{:?}", study.fits);
}
