//! `iotrace doctor` on a real kernel.

use iotrace::bpf::exact;
use iotrace::bpf::probes::PROBES;
use serde_json::Value;

use crate::program::iotrace;
use crate::support::has;

/// The doctor's finding, and its rows by name.
pub fn finding() -> Value {
    let ran = iotrace(["doctor", "--format", "json"]);
    let finding: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(ran.code, Some(i32::from(finding["ok"] != true)), "{ran:?}");
    finding
}

/// The row of that name.
pub fn row<'a>(finding: &'a Value, name: &str) -> &'a Value {
    let rows = finding["findings"].as_array().expect("a list");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {finding}"))
}

#[test]
#[ignore = "needs root"]
fn every_probe_that_this_kernel_should_have_is_there() {
    let finding = finding();
    assert_eq!(finding["ok"], true, "{finding}");
    for probe in PROBES.iter().filter(|probe| !exact::GROUPS.contains(&probe.group)) {
        let row = row(&finding, probe.name());
        let mut numbers = probe.since.split('.').map(|number| number.parse().expect("a version"));
        let since = (numbers.next().expect("major"), numbers.next().expect("minor"));
        if !has(probe.name(), since, row["status"] == "ok") {
            assert_eq!(row["status"], "degraded", "{row}");
            assert_eq!(row["lost"], probe.lost, "{row}");
            assert!(row["remedy"].as_str().is_some_and(|text| text.contains(probe.since)), "{row}");
        }
    }
    for name in ["btf", "io_uring", "linux aio"] {
        assert_eq!(row(&finding, name)["status"], "ok", "{finding}");
    }
}

/// What the version says nothing of: whether functions may be hooked.
#[test]
#[ignore = "needs root"]
fn function_hooks_are_there_or_it_says_what_is_lost() {
    let finding = finding();
    let mut all = true;
    for probe in PROBES.iter().filter(|probe| exact::GROUPS.contains(&probe.group)) {
        let row = row(&finding, probe.name());
        if row["status"] != "ok" {
            all = false;
            assert_eq!((&row["status"], &row["lost"]), (&"degraded".into(), &probe.lost.into()), "{row}");
            assert_eq!(row["remedy"], exact::REMEDY, "{row}");
        }
    }
    // Debian's kernels take them.
    assert!(all || std::env::var_os("IOTRACE_VM").is_none(), "{finding}");
    assert!(!all || finding["host"]["tier"] == "exact", "{finding}");
}

#[test]
#[ignore = "needs root"]
fn the_table_ends_with_a_verdict() {
    let ran = iotrace(["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let last = ran.stdout.lines().last().unwrap_or_default();
    assert!(last.contains("works here"), "{ran:?}");
    assert!(PROBES.iter().all(|probe| ran.stdout.contains(probe.name())), "{ran:?}");
}
