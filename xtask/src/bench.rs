//! `cargo xtask bench`: what observing costs, beside what one would use instead, in one run.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;
use arm::Arm;
use load::{LOADS, Load};
use outcome::{Outcome, Row};
use peers::Peers;

mod arm;
mod facts;
pub mod load;
mod measure;
mod outcome;
mod peers;
mod report;
mod target;
mod targets;

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Fewer and shorter windows
    #[arg(long)]
    quick: bool,
    /// Only these loads or arms; a word that is part of a name, `facts` for iotrace itself
    #[arg(long, value_name = "LOAD|ARM", value_delimiter = ',')]
    only: Vec<String>,
    /// Write the result to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the result in a file
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// The iotrace to measure [default: that of this workspace, built first]
    #[arg(long, value_name = "FILE")]
    iotrace: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (loads, arms) = chosen(&args.only)?;
    let before = args.compare.as_ref().map(read).transpose()?;
    let iotrace = match &args.iotrace {
        Some(iotrace) => iotrace.clone(),
        None => crate::run::prepare()?,
    };
    if !process::is_root() {
        return as_root(&iotrace);
    }
    let scratch = Workspace::find()?.target.join("bench");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let peers = process::patiently("installing the tools to compare with", || Peers::install(&scratch));
    let plan = if args.quick {
        measure::Plan { rounds: 2, time: Duration::from_millis(200) }
    } else {
        measure::Plan { rounds: 5, time: Duration::from_millis(300) }
    };
    let mut outcome = Outcome::default();
    outcome.failures.extend(peers.failure.clone());
    for load in loads {
        eprintln!("xtask: bench: {} ...", load.name);
        let (arms, failure) = match measure::load(load, &arms, &iotrace, &peers, plan) {
            Ok(arms) => (arms, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        outcome.rows.push(Row { load, arms, failure });
    }
    if args.only.is_empty() || args.only.iter().any(|word| word == "facts") {
        eprintln!("xtask: bench: iotrace itself ...");
        let (facts, failures) = facts::all(&iotrace, &scratch, facts_plan(args.quick));
        outcome.facts = facts;
        outcome.failures.extend(failures);
    }
    finish(args, &outcome, before.as_ref())
}

fn facts_plan(quick: bool) -> facts::Plan {
    let seconds = |quickly, thoroughly| if quick { quickly } else { thoroughly };
    facts::Plan {
        starts: 7,
        interval: Duration::from_secs(seconds(3, 10)),
        aggregate_seconds: seconds(3, 60),
        records_seconds: seconds(3, 10),
    }
}

fn finish(args: &Args, outcome: &Outcome, before: Option<&Value>) -> Result<ExitCode> {
    let targets = targets::all(outcome);
    let json = outcome.json(&targets, &host());
    println!("{}", host());
    print!("{}", report::text(outcome, &targets));
    if let Some(before) = before {
        print!("{}", report::comparison(before, &json));
    }
    if let Some(file) = &args.json {
        fs::write(file, format!("{json:#}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    }
    // A missed target is a finding; a load that cannot be measured is a failure.
    let failed = outcome.rows.iter().any(|row| row.failure.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The same command as root, with what the user has built: root builds nothing.
fn as_root(iotrace: &PathBuf) -> Result<ExitCode> {
    let mut command = process::as_root(std::env::current_exe().context("where is xtask?")?);
    command.args(std::env::args_os().skip(1)).arg("--iotrace").arg(iotrace);
    Err(command.exec()).with_context(|| format!("cannot start {}", process::shown(&command)))
}

fn read(file: &PathBuf) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no result of bench", file.display()))
}

/// Kernel and processor.
fn host() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpus = load::sys::last_cpu() + 1;
    format!("Linux {}, {cpus} CPUs, {}", release.trim(), model.map_or("unknown", |(_, name)| name))
}

/// What the words of `--only` choose. `nothing` and the floor are always measured: all else is compared
/// with them.
fn chosen(only: &[String]) -> Result<(Vec<&'static Load>, Vec<Arm>)> {
    let picks = |name: &str| only.iter().any(|word| name.contains(word.as_str()));
    let unknown = |word: &&String| {
        *word != "facts"
            && LOADS.iter().all(|load| !load.name.contains(word.as_str()))
            && Arm::ALL.iter().all(|arm| !arm.name().contains(word.as_str()))
    };
    if let Some(word) = only.iter().find(unknown) {
        let known = LOADS.iter().map(|load| load.name).chain(Arm::ALL.iter().map(|arm| arm.name()));
        bail!(
            "--only {word}: there is no such load or arm; known are {}, facts",
            known.collect::<Vec<_>>().join(", ")
        );
    }
    let loads: Vec<_> = LOADS.iter().filter(|load| picks(load.name)).collect();
    let named: Vec<_> = Arm::ALL.into_iter().filter(|arm| picks(arm.name())).collect();
    let facts_only = loads.is_empty() && named.is_empty() && !only.is_empty();
    let loads = match (loads.is_empty(), facts_only) {
        (true, false) => LOADS.iter().collect(),
        _ => loads,
    };
    let arms = if named.is_empty() {
        Arm::ALL.to_vec()
    } else {
        let always = |arm: &Arm| matches!(arm, Arm::Nothing | Arm::Floor) || named.contains(arm);
        Arm::ALL.into_iter().filter(always).collect()
    };
    Ok((loads, arms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
        let only: Vec<String> = only.iter().map(|word| (*word).to_owned()).collect();
        let (loads, arms) = chosen(&only).expect("known words");
        (loads.iter().map(|load| load.name).collect(), arms.iter().map(|arm| arm.name()).collect())
    }

    #[test]
    fn only_takes_loads_and_arms() {
        let (loads, arms) = names(&["tcp-recv", "strace"]);
        assert_eq!(loads, ["tcp-recv"]);
        assert_eq!(arms, ["nothing", "floor (empty pair)", "strace -c"]);
        assert_eq!(names(&[]).0.len(), LOADS.len());
        assert_eq!(names(&["strace"]).0.len(), LOADS.len());
        assert!(names(&["facts"]).0.is_empty());
        assert!(chosen(&["nonsense".to_owned()]).is_err());
    }
}
