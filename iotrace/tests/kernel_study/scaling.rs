//! Study scaling: the shape that everybody reports.

use crate::{is_checked, median, slope, study};

#[test]
#[ignore = "needs root"]
fn idle_descriptors_cost_select_and_poll_and_not_epoll() {
    if !is_checked() {
        return;
    }
    let study = study("scaling", &["--arm", "select,poll,epoll,epoll-et"]);
    for way in ["select", "poll"] {
        for measure in ["idle", "one-ready", "first-look"] {
            let (scan, epoll) = (slope(&study, measure, way), slope(&study, measure, "epoll"));
            assert!(scan > 0.0 && scan >= 5.0 * epoll, "{measure}: {way} {scan}, epoll {epoll}");
        }
        let (few, many) = (median(&study, "idle", way, Some(1.0)), median(&study, "idle", way, Some(300.0)));
        assert!(many > 5.0 * few, "{way}: {few} ns for 1, {many} ns for 300");
    }
    // In the ready ones epoll is linear, too.
    let (few, many) =
        (median(&study, "all-ready", "epoll", Some(1.0)), median(&study, "all-ready", "epoll", Some(300.0)));
    assert!(many > 5.0 * few, "epoll: {few} ns for 1 ready, {many} ns for 300");
    assert!(!study.findings.is_empty());
}

/// Past the 1024 of an `fd_set`, with a set of its own.
#[test]
#[ignore = "needs root"]
fn select_goes_past_its_set() {
    if !is_checked() {
        return;
    }
    let study = study("scaling", &["--arm", "select", "--connections", "1500", "--repeats", "1"]);
    assert!(median(&study, "all-ready", "select", Some(1500.0)) > 0.0);
}
