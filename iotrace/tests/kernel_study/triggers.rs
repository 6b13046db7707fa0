//! Study triggers: counts, which are the same on every kernel.

use crate::{is_checked, median, study};

#[test]
#[ignore = "needs root"]
fn level_repeats_edge_tells_once_and_exclusive_wakes_fewer() {
    if !is_checked() {
        return;
    }
    let study = study("triggers", &[]);
    for (arm, returns, left) in [
        ("level, nothing read", 6.0, 4.0),
        ("level, a part read", 4.0, 0.0),
        ("level, everything read", 1.0, 0.0),
        ("edge, nothing read", 1.0, 4.0),
        ("edge, a part read", 1.0, 3.0),
        ("edge, everything read", 1.0, 0.0),
        ("oneshot, nothing read", 1.0, 4.0),
    ] {
        assert_eq!(median(&study, "returns", arm, None), returns, "{arm}");
        assert_eq!(median(&study, "left", arm, None), left, "{arm}");
    }
    // A thread that is woken on its way to sleep, but still runs, has not slept: where programs can be
    // preempted, there are a few of those.
    let woken = |arm, threads| median(&study, "woken", arm, Some(threads));
    assert!(woken("an epoll each", 4.0) > 2.0, "all are woken for one arrival, not one of them");
    assert!(woken("EPOLLEXCLUSIVE", 4.0) < woken("an epoll each", 4.0) / 1.5);
    for arm in ["an epoll each", "EPOLLEXCLUSIVE", "one epoll, level", "one epoll, edge"] {
        assert!(woken(arm, 1.0) <= 1.0, "{arm}: a single thread is woken once at most");
        assert!(median(&study, "told", arm, Some(4.0)) > 0.5, "{arm}: somebody has to be told");
    }
}
