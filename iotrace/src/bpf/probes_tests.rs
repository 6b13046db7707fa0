//! What the probe table must be.

use super::*;

#[test]
fn every_generation_of_io_uring_complete_finds_its_program() {
    let complete = PROBES.iter().find(|probe| probe.id == ProbeId::IoUringComplete).unwrap();
    let program = |args: &[Arg]| {
        complete.variants.iter().find(|variant| variant.shape.fits(args)).map(|variant| variant.program)
    };
    assert_eq!(program(&[P, P, P]), Some("io_uring_complete_cqe"), "6.14 and later");
    assert_eq!(program(&[P, P, N8, N4, N4, N8, N8]), Some("io_uring_complete_req"), "6.0 to 6.13");
    assert_eq!(program(&[P, N8, N4, N4]), Some("io_uring_complete_515"), "5.15");
    assert_eq!(program(&[N8]), None, "none of these");
}

#[test]
fn the_swapped_arguments_of_5_18_are_not_taken_for_5_15() {
    let submit = PROBES.iter().find(|probe| probe.id == ProbeId::IoUringSubmitReq).unwrap();
    let swapped = [P, P, N8, N1, N4, N1, N1];
    assert!(submit.variants.iter().all(|variant| !variant.shape.fits(&swapped)));
}

#[test]
fn a_probe_says_what_it_is_for() {
    for probe in PROBES {
        assert!(!probe.feeds.is_empty() && !probe.lost.is_empty() && !probe.variants.is_empty());
        assert!(!probe.required || probe.lost == "everything");
    }
}

#[test]
fn each_probe_stands_in_the_table_once_and_in_order() {
    let ids: Vec<ProbeId> = PROBES.iter().map(|probe| probe.id).collect();
    assert_eq!(ids, ProbeId::ALL);
}

#[test]
fn a_second_chance_is_of_a_probe_with_the_same_group() {
    for (probe, first) in PROBES.iter().filter_map(|probe| Some((probe, probe.again_of?))) {
        let first = PROBES.iter().find(|known| known.id == first).unwrap();
        assert_eq!((first.group, first.again_of), (probe.group, None), "{}", probe.name());
    }
}
