//! Loads and arms, interleaved: every arm has windows without it right before, and comes again each round.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::arm::{Arm, Attached};
use super::load::{Load, sys};
use super::peers::Peers;

/// Windows that began this soon after a tool came or went belong to neither side.
const SETTLE: Duration = Duration::from_millis(30);

/// A window of a crowd takes longer than all the time there is; one alone says nothing.
const FEWEST: usize = 4;

/// A window of a load.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: u64,
    ended: u64,
    /// ns per operation.
    each: f64,
}

/// One arm on one load.
pub struct Measured {
    pub arm: Arm,
    /// ns per operation of every window.
    pub windows: Vec<f64>,
    /// Why there is nothing, or not as much as there should be.
    pub failure: Option<String>,
}

impl Measured {
    pub fn min(&self) -> Option<f64> {
        self.windows.iter().copied().min_by(f64::total_cmp)
    }

    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.windows.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// A load that runs.
pub struct Running {
    child: Child,
    windows: Receiver<Window>,
    pub pids: Vec<u32>,
}

impl Running {
    pub fn start(load: &Load) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("where is xtask?")?);
        command.args(["bench-load", load.name]).stdin(Stdio::null()).stdout(Stdio::piped());
        // A group of its own, so that its children can be ended with it.
        let mut child = command.process_group(0).spawn().context("cannot start a load")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout was piped")?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let Some(pids) = first.strip_prefix("pids ") else { bail!("the load did not begin") };
        let pids = pids.split(' ').filter_map(|pid| pid.parse().ok()).collect();
        let (to, windows) = mpsc::channel();
        thread::spawn(move || {
            for window in lines.map_while(std::io::Result::ok).filter_map(|line| parse(&line)) {
                if to.send(window).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, windows, pids })
    }

    /// Whole windows of the next `time`, and at least [`FEWEST`].
    fn collect(&self, time: Duration) -> Result<Vec<f64>> {
        sleep(SETTLE);
        let from = sys::now();
        let until = from + time.as_nanos() as u64;
        let mut found = Vec::new();
        loop {
            let window = self.windows.recv_timeout(Duration::from_secs(20)).context("the load stopped")?;
            if window.began >= from {
                if window.ended > until && found.len() >= FEWEST {
                    return Ok(found);
                }
                found.push(window.each);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the group of our own child, which has not been waited for.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Window> {
    let mut numbers = line.strip_prefix("window ")?.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (began, ended, ops, ns) = (next()?, next()?, next()?, next()?);
    (ops > 0).then(|| Window { began, ended, each: ns as f64 / ops as f64 })
}

/// How long.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: u32,
    pub time: Duration,
}

/// Measures one load with each of `arms`.
pub fn load(load: &Load, arms: &[Arm], iotrace: &Path, peers: &Peers, plan: Plan) -> Result<Vec<Measured>> {
    let mut running = Running::start(load)?;
    let mut all: Vec<Measured> = arms
        .iter()
        .filter(|arm| arm.suits(load, &running.pids))
        .map(|&arm| Measured { arm, windows: Vec::new(), failure: None })
        .collect();
    for _ in 0..plan.rounds {
        for index in 0..all.len() {
            let arm = all[index].arm;
            if arm == Arm::Nothing || all[index].failure.is_some() {
                continue;
            }
            let without = match running.collect(plan.time) {
                Ok(without) => without,
                Err(_) => {
                    // The arm before may have broken it; this one is not to blame.
                    running = Running::start(load)?;
                    running.collect(plan.time)?
                }
            };
            if let Some(nothing) = all.iter_mut().find(|one| one.arm == Arm::Nothing) {
                nothing.windows.extend(without);
            }
            let outcome =
                Attached::start(arm, iotrace, peers, &running.pids).and_then(|attached| -> Result<_> {
                    let with = running.collect(plan.time)?;
                    attached.end_having_seen(load).map(|()| with)
                });
            match outcome {
                Ok(with) => all[index].windows.extend(with),
                Err(error) => all[index].failure = Some(format!("{error:#}")),
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read() {
        let window = parse("window 100 200 10 50").expect("a window");
        assert_eq!((window.began, window.ended, window.each), (100, 200, 5.0));
        assert!(parse("window 100 200 0 50").is_none(), "nothing was done");
        assert!(parse("pids 1").is_none());
    }

    #[test]
    fn minimum_and_median() {
        let measured = Measured { arm: Arm::Nothing, windows: vec![3.0, 1.0, 2.0], failure: None };
        assert_eq!((measured.min(), measured.median()), (Some(1.0), Some(2.0)));
    }
}
