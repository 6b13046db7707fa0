//! Study claims: every claim gets a verdict, and those that follow from the kernel's interface get theirs.

use iotrace_core::summary::{Ruling, Study};

use crate::{is_checked, study};

fn verdict(study: &Study, id: &str) -> Ruling {
    let claim = study.claims.iter().find(|claim| claim.id == id);
    claim.unwrap_or_else(|| panic!("no claim {id}")).verdict
}

#[test]
#[ignore = "needs root"]
fn every_claim_gets_a_verdict_from_its_evidence() {
    if !is_checked() {
        return;
    }
    let study = study("claims", &[]);
    for claim in &study.claims {
        assert_ne!(claim.verdict, Ruling::NotMeasured, "{claim:?}");
        assert!(claim.evidence.values().all(|one| one.value.is_some()), "{claim:?}");
    }
    assert!(study.claims.len() >= 16);
    for (id, want) in [
        ("blocking-blocks-twice", Ruling::Holds),
        ("nonblocking-copies", Ruling::Holds),
        ("readiness-call-blocks", Ruling::Holds),
        ("one-process-many", Ruling::Holds),
        ("select-limit", Ruling::Fails),
        ("poll-no-limit", Ruling::Conditional),
        ("select-poll-copy-sets", Ruling::Holds),
        ("epoll-shared-memory", Ruling::Fails),
        ("level-and-edge", Ruling::Holds),
        ("aio-read", Ruling::Conditional),
        ("kernel-memory", Ruling::Holds),
    ] {
        assert_eq!(verdict(&study, id), want, "{:?}", study.claims);
    }
    // Which of the other verdicts there are depends on kernel and load.
    assert_ne!(verdict(&study, "scan"), Ruling::Holds, "epoll is linear in what is ready");
    assert_ne!(verdict(&study, "woken-once"), Ruling::Holds, "a byte that is there wakes nobody");
}
