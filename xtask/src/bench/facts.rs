//! What iotrace itself takes: start, memory, descriptors, CPU, and whether it loses anything.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::arm::{Arm, Attached};
use super::load::LOADS;
use super::measure::Running;
use super::peers::Peers;
use crate::process;

/// A name, a value, and its unit.
pub type Fact = (&'static str, f64, &'static str);

/// How long.
#[derive(Clone, Copy)]
pub struct Plan {
    pub starts: u32,
    pub interval: Duration,
    pub aggregate_seconds: u64,
    pub records_seconds: u64,
}

/// Everything, and what failed.
pub fn all(iotrace: &Path, scratch: &Path, plan: Plan) -> (Vec<Fact>, Vec<String>) {
    let (mut facts, mut failures) = (Vec::new(), Vec::new());
    let mut take = |what: &str, outcome: Result<Vec<Fact>>| match outcome {
        Ok(more) => facts.extend(more),
        Err(error) => failures.push(format!("{what}: {error:#}")),
    };
    take("start", start(iotrace, plan.starts));
    take("its own use", own_use(iotrace, plan.interval));
    take("loss of aggregates", loss(iotrace, scratch, "aggregate", plan.aggregate_seconds));
    take("loss of records", loss(iotrace, scratch, "records", plan.records_seconds));
    (facts, failures)
}

/// From exec to "attached", that is with calibration.
fn start(iotrace: &Path, times: u32) -> Result<Vec<Fact>> {
    let running = Running::start(&LOADS[0])?;
    let mut took = Vec::new();
    for _ in 0..times {
        let attached = Attached::start(Arm::Aggregate, iotrace, &Peers::default(), &running.pids)?;
        took.push(attached.took.as_secs_f64() * 1000.0);
        attached.end()?;
    }
    took.sort_by(f64::total_cmp);
    let min = took.first().copied().context("no start")?;
    Ok(vec![("start to attached, minimum", min, "ms"), ("start to attached", took[took.len() / 2], "ms")])
}

/// While it aggregates a spinning process and prints every second.
fn own_use(iotrace: &Path, time: Duration) -> Result<Vec<Fact>> {
    let running = Running::start(&LOADS[0])?;
    let mut command = Command::new(iotrace);
    command.args(["trace", "-v", "-i", "1s", "--format", "json", "-p", &running.pids[0].to_string()]);
    let attached = Attached::spawn(Arm::Aggregate, &mut command)?;
    let proc = format!("/proc/{}", attached.pid());
    let cpu = || -> Result<f64> {
        // Its one thread's time on a CPU, ns.
        let text = fs::read_to_string(format!("{proc}/schedstat"))?;
        text.split(' ').next().and_then(|ns| ns.parse().ok()).context("schedstat has no time")
    };
    sleep(Duration::from_secs(1));
    let before = cpu()?;
    sleep(time);
    let percent = (cpu()? - before) / time.as_nanos() as f64 * 100.0;
    let status = fs::read_to_string(format!("{proc}/status"))?;
    let resident: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .context("no VmHWM")?;
    let descriptors = fs::read_dir(format!("{proc}/fd"))?.count() as f64;
    attached.end()?;
    Ok(vec![
        ("CPU of iotrace, 1 s interval", percent, "%"),
        ("resident, at most", resident / 1024.0, "MiB"),
        ("descriptors", descriptors, ""),
    ])
}

/// As many calls as all CPUs make, counted by who makes them and by iotrace.
fn loss(iotrace: &Path, scratch: &Path, sink: &str, seconds: u64) -> Result<Vec<Fact>> {
    let file = scratch.join("loss.json");
    let mut command = Command::new(iotrace);
    command.args(["trace", "-q", "--format", "json", "--sink", sink, "-o"]).arg(&file).arg("--");
    command.arg(std::env::current_exe()?).args(["bench-load", "count", "--seconds", &seconds.to_string()]);
    let made: f64 = process::output(&mut command)?.trim().parse().context("the load printed no count")?;
    let text = fs::read_to_string(&file).context("iotrace wrote no result")?;
    let document: Value = serde_json::from_str(&text).context("iotrace wrote no JSON")?;
    let rate = made / seconds as f64 / 1e6;
    if sink == "records" {
        let lost = document["loss"]["records"].as_f64().context("no count of lost records")?;
        return Ok(vec![("records", rate, "M/s"), ("records lost", lost, "")]);
    }
    let processes = document["processes"].as_array().context("no processes")?;
    let rows = processes.iter().filter_map(|one| one["calls"].as_array()).flatten();
    let seen: f64 =
        rows.filter(|row| row["syscall"] == "recvfrom").filter_map(|row| row["calls"].as_f64()).sum();
    Ok(vec![("calls aggregated", rate, "M/s"), ("calls made but not counted", made - seen, "")])
}
