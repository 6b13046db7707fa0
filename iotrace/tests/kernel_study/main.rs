//! `iotrace study` on a real kernel: every study at its reduced size, checked for what must hold of every
//! result and for what the kernel is known to do. Costs are compared with costs of the same run, as
//! ratios; counts are compared exactly.

#[path = "../support/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod asynchronous;
mod claims;
mod copy;
mod latency;
mod models;
mod refusals;
mod scaling;
mod triggers;

use iotrace::host::kernel;
use iotrace_core::summary::{Document, Study};

/// Whether this is an emulated machine: twenty times as slow, and one CPU for everybody.
fn is_emulated() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}

/// Whether studies are checked here: older kernels run them, but what comes out was never looked at.
fn is_checked() -> bool {
    let running = kernel::running().expect("a release starts with two numbers");
    support::has("a study whose result is known", (6, 1), running >= (6, 1))
}

/// The study of this name at reduced size; fewer rounds of those that run every workload where it is slow.
fn study(name: &str, more: &[&str]) -> Study {
    let mut args = vec!["study", name, "--quick", "--format", "json"];
    args.extend(more);
    if is_emulated() && ["models", "latency", "async"].contains(&name) {
        args.extend(["--repeats", "2"]);
    }
    let ran = program::iotrace(&args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut document: Document =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
    assert_eq!((document.command.as_str(), document.schema.as_str()), ("study", "iotrace/2"));
    assert_eq!(document.studies.len(), 1, "{}", ran.stdout);
    let study = document.studies.remove(0);
    assert_eq!(study.name, name);
    holds(&study);
    study
}

/// What must hold of every study.
fn holds(study: &Study) {
    assert!(study.question.ends_with('?') && study.environment.quick, "{study:?}");
    assert!(!study.arms.is_empty() || !study.claims.is_empty(), "nothing came of it: {study:?}");
    let names: Vec<&str> = study.measures.iter().map(|measure| measure.name.as_str()).collect();
    for arm in &study.arms {
        let measure = study.measures.iter().find(|one| one.name == arm.measure);
        let measure = measure.unwrap_or_else(|| panic!("{arm:?} is of none of {names:?}"));
        assert_eq!((arm.x.is_some(), &arm.unit), (measure.x.is_some(), &measure.unit), "{arm:?}");
        assert!(arm.repeats <= study.environment.repeats, "{arm:?}");
        let (Some(median), Some(min), Some(max)) = (arm.median, arm.min, arm.max) else {
            panic!("an arm without a sample: {arm:?}")
        };
        assert!(min <= median && median <= max, "{arm:?}");
        assert_eq!(arm.ci95.is_some(), arm.repeats >= 6, "{arm:?}");
        if let Some([low, high]) = arm.ci95 {
            assert!(min <= low && low <= median && median <= high && high <= max, "{arm:?}");
        }
    }
    for fit in &study.fits {
        assert!(names.contains(&fit.measure.as_str()) && fit.points >= 2, "{fit:?}");
        assert!(fit.unit.contains(" per "), "{fit:?}");
        assert!(fit.ci95.is_none_or(|[low, high]| low <= fit.slope && fit.slope <= high), "{fit:?}");
    }
    for claim in &study.claims {
        assert!(
            !claim.rule.is_empty() && !claim.because.is_empty() && !claim.evidence.is_empty(),
            "{claim:?}"
        );
    }
}

/// The median of an arm at a point.
fn median(study: &Study, measure: &str, arm: &str, x: Option<f64>) -> f64 {
    let found = study.arms.iter().find(|one| one.measure == measure && one.name == arm && one.x == x);
    let found = found.unwrap_or_else(|| panic!("no {arm} of {measure} at {x:?} in {:?}", study.arms));
    found.median.expect("checked before")
}

/// The slope of an arm.
fn slope(study: &Study, measure: &str, arm: &str) -> f64 {
    let found = study.fits.iter().find(|fit| fit.measure == measure && fit.arm == arm);
    found.unwrap_or_else(|| panic!("no line of {arm} in {:?}", study.fits)).slope
}
