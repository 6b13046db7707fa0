//! Study copy: bytes cost something everywhere.

use crate::{is_checked, is_emulated, median, slope, study};

#[test]
#[ignore = "needs root"]
fn every_byte_is_paid_for() {
    if !is_checked() {
        return;
    }
    let study = study("copy", &[]);
    for transport in ["tcp", "udp", "unix", "pipe"] {
        assert!(slope(&study, "read", transport) > 0.0, "{transport}");
    }
    for transport in ["tcp", "unix"] {
        let large = Some(f64::from(128 << 10));
        // Copies seen from inside are a part of what is seen from outside; probes add to the inside.
        assert!(slope(&study, "phase-2", transport) > 0.0, "{transport}");
        assert!(
            median(&study, "phase-2", transport, large) > median(&study, "phase-2", transport, Some(1024.0))
        );
        // With one CPU the reader may come when the sender has long been there.
        assert!(
            is_emulated() || median(&study, "exchange", &format!("{transport} waiting"), Some(1.0)) > 0.0
        );
    }
    assert!(slope(&study, "buffers", "unix") > 0.0, "a buffer is not free");
    for arm in ["reading", "TCP_ZEROCOPY_RECEIVE"] {
        assert!(slope(&study, "receive", arm) > 0.0, "{arm}: more bytes take longer");
    }
    let said = |finding: &&String| finding.contains("TCP_ZEROCOPY_RECEIVE mapped");
    let mapped = study.findings.iter().find(said).expect("it is said");
    assert!(!mapped.contains("mapped 0 of"), "segments of a page each can be mapped: {mapped}");
}

#[test]
#[ignore = "needs root"]
fn an_arm_can_be_chosen() {
    if !is_checked() {
        return;
    }
    let study = study("copy", &["--arm", "pipe", "--repeats", "2"]);
    assert!(!study.arms.is_empty());
    assert!(study.arms.iter().all(|arm| arm.name == "pipe" && arm.repeats == 2 && arm.ci95.is_none()));
}
