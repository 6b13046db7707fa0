//! Study models: what the textbook says of them, and the pictures.

use crate::{is_checked, median, study};

#[test]
#[ignore = "needs root"]
fn who_waits_and_who_copies() {
    if !is_checked() {
        return;
    }
    let arms = "blocking,epoll,posix-aio,linux-aio";
    let study = study("models", &["--arm", arms]);
    let value = |measure, arm| median(&study, measure, arm, None);
    for arm in ["blocking", "epoll", "linux-aio"] {
        assert!(value("blocked", arm) > value("free", arm) + value("polling", arm), "{arm}");
        assert_eq!(value("copy elsewhere", arm), 0.0, "{arm}: nobody else is there");
    }
    assert!(value("free", "posix-aio") > value("blocked", "posix-aio"));
    assert_eq!(value("copy", "posix-aio"), 0.0, "the helper copies");
    assert_eq!((value("calls", "blocking"), value("calls", "linux-aio")), (1.0, 2.0));
    for arm in arms.split(',') {
        assert!(value("latency", arm) > 0.0 && value("p99", arm) >= value("pickup", arm), "{arm}");
    }
    let pictured: Vec<&str> = study.pictures.iter().map(|picture| picture.arm.as_str()).collect();
    assert_eq!(pictured, arms.split(',').collect::<Vec<_>>());
    for picture in &study.pictures {
        let strip = &picture.strip;
        assert!(strip.marks.iter().any(|mark| mark.name == "ready" && mark.at_ns <= strip.end_ns));
        let lanes = if picture.arm == "posix-aio" { 2 } else { 1 };
        assert_eq!(strip.lanes.len(), lanes, "{picture:?}");
        assert!(strip.lanes.iter().flat_map(|lane| &lane.segments).all(|one| one.from_ns < one.to_ns));
    }
}
