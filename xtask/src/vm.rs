//! The kernel tests, or one command, on other kernels in virtual machines.
//!
//! A VM is a Debian kernel and an initramfs of a few files under emulation: nothing to install in it, no
//! disk, no network, and it runs where nested virtualisation does not.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::{self, KernelTest};
use crate::setup;
use crate::tally::Tally;
use crate::times::Times;
use crate::workspace::Workspace;
use image::Job;
use kernels::Kernel;
use qemu::{Boot, Verdict};

mod apt;
mod cpio;
mod image;
mod kernels;
mod qemu;

/// A VM that takes longer hangs: a boot takes seconds.
const TIMEOUT: u64 = 2400;

/// Arguments of `vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series, such as 6.12 [default: 5.10 6.1 6.12 7.2]
    kernels: Vec<String>,
    /// Instead of the tests run this command line, and end with its status
    #[arg(long, value_name = "COMMAND", conflicts_with = "filter")]
    exec: Option<String>,
    /// qemu's accelerator: tcg works everywhere, kvm only where it is not itself emulated
    #[arg(long, default_value = "tcg")]
    accel: String,
    /// Kill a VM after so many seconds
    #[arg(long, default_value_t = TIMEOUT)]
    timeout: u64,
    /// Run only the tests whose name contains this
    #[arg(last = true)]
    filter: Option<String>,
}

/// `cargo xtask vm`.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Vm)?;
    let workspace = Workspace::find()?;
    let machine = Machine::new(&workspace, &args.accel, Duration::from_secs(args.timeout))?;
    let series = if args.kernels.is_empty() { kernels::default_series() } else { args.kernels.clone() };
    if let Some(command) = &args.exec {
        return machine.exec(command, &series);
    }
    let tally = machine.test(&build::kernel_tests(&workspace)?, args.filter.as_deref(), &series)?;
    Ok(tally.conclude(args.filter.is_some()))
}

/// Runs the kernel tests on every default kernel.
pub fn all(workspace: &Workspace, tests: &[KernelTest], filter: Option<&str>) -> Result<Tally> {
    let machine = Machine::new(workspace, "tcg", Duration::from_secs(TIMEOUT))?;
    machine.test(tests, filter, &kernels::default_series())
}

/// What all boots have in common.
struct Machine<'a> {
    cache: PathBuf,
    scratch: PathBuf,
    iotrace: PathBuf,
    tapes: PathBuf,
    accel: &'a str,
    timeout: Duration,
    downloading: Mutex<()>,
}

impl<'a> Machine<'a> {
    fn new(workspace: &Workspace, accel: &'a str, timeout: Duration) -> Result<Self> {
        if env::consts::ARCH != "x86_64" {
            bail!("the VM tests know only x86_64 kernels");
        }
        let scratch = workspace.target.join("vm");
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let (cache, iotrace) = (cache(workspace), build::release(workspace)?);
        let (tapes, downloading) = (workspace.tapes(), Mutex::new(()));
        Ok(Self { cache, scratch, iotrace, tapes, accel, timeout, downloading })
    }

    /// Runs the tests on each kernel, in one VM for each of our CPUs at a time: under emulation it keeps one busy.
    /// Where its clock is ours, what it measures is the worse the more it has to share: one for every two CPUs.
    /// A kernel that cannot be had, or a VM that gives no verdict, counts as one failure, and the others still
    /// run.
    fn test(&self, tests: &[KernelTest], filter: Option<&str>, series: &[String]) -> Result<Tally> {
        let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let parts = parts(tests, filter.is_some());
        let boots = parts.iter().enumerate().flat_map(|(index, (tests, copies_bytes))| {
            let (number, copies_bytes) = (index + 1, *copies_bytes);
            series.iter().map(move |series| Part { series, number, tests, filter, copies_bytes })
        });
        let mut all: Vec<Part> = boots.collect();
        // The lanes end together if what comes last is short: the self-test, and the oldest kernels.
        let age = |part: &Part| series.iter().rev().position(|series| series == part.series);
        all.sort_by_key(|part| (part.copies_bytes, age(part), part.number));
        let all = VecDeque::from(all);
        let lanes = if self.accel == "tcg" { cpus } else { cpus / 2 }.clamp(1, all.len().max(1));
        let (waiting, total) = (Mutex::new(all), Mutex::new(Tally::default()));
        thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| {
                    while let Some(part) = next(&waiting) {
                        let tally = self.test_part(&part);
                        *total.lock().unwrap_or_else(PoisonError::into_inner) += tally;
                    }
                });
            }
        });
        Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn test_part(&self, part: &Part<'_>) -> Tally {
        let start = Instant::now();
        let mut tally = Tally::default();
        let mut times = Times::new(start);
        let name = format!("{}/{}", part.series, part.number);
        let outcome = self.kernel(part.series).and_then(|kernel| {
            println!("== VM {name}: {}", kernel.release);
            let chosen = part.filter.is_some();
            let runs =
                |test: &&KernelTest| chosen || !test.runs_at_the_ends() || kernels::is_an_end(part.series);
            let tests: Vec<&KernelTest> = part.tests.iter().copied().filter(runs).collect();
            let job = Job::Tests { tests: &tests, filter: part.filter };
            let verdict = self.boot(&kernel, part.number, part.copies_bytes, job, |line| {
                tally.take(line);
                times.take(line, Instant::now());
                println!("[{name}] {line}");
            })?;
            Ok((kernel.release, verdict))
        });
        let said = match outcome {
            Ok((release, Verdict::Success)) if tally.is_success() => format!("{release}: ok"),
            Ok((release, verdict)) => {
                let why = if tally.passed + tally.failed == 0 { ", no test ran" } else { "" };
                tally.failed = tally.failed.max(1);
                format!("{release}: FAILED ({verdict}{why})")
            }
            Err(error) => {
                tally.failed = tally.failed.max(1);
                format!("FAILED: {error:#}")
            }
        };
        let report = times.report(Instant::now());
        println!("== VM {name}: {said}, {tally}, {:.1} s", start.elapsed().as_secs_f64());
        report.iter().for_each(|line| println!("[{name}] {line}"));
        tally
    }

    /// The kernel of a series; two VMs of one series may begin at the same time, and one downloads it.
    fn kernel(&self, series: &str) -> Result<Kernel> {
        let _one = self.downloading.lock().unwrap_or_else(PoisonError::into_inner);
        kernels::get(&self.cache, series)
    }

    /// Runs one command on each kernel; the status is the first that is not 0.
    fn exec(&self, command: &str, series: &[String]) -> Result<ExitCode> {
        let mut status = 0;
        for series in series {
            let kernel = self.kernel(series)?;
            eprintln!("xtask: booting {}", kernel.release);
            let mut ended = false;
            let verdict = self.boot(&kernel, 1, true, Job::Command(command), |line| {
                // After it the kernel says that it powers off; stdout is to be the command's alone.
                ended |= line.starts_with("init: ");
                if !ended {
                    println!("{line}");
                }
            })?;
            match verdict {
                Verdict::Exit(code) if status == 0 => status = code,
                Verdict::Exit(_) => {}
                other => bail!("{}: {other}", kernel.release),
            }
        }
        Ok(ExitCode::from(status))
    }

    fn boot(
        &self,
        kernel: &Kernel,
        number: usize,
        copies_bytes: bool,
        job: Job<'_>,
        mut each: impl FnMut(&str),
    ) -> Result<Verdict> {
        let scratch = self.scratch.join(format!("{}-{number}-{}", kernel.series, std::process::id()));
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let initrd = scratch.join("initrd");
        let verdict = image::write(&initrd, &scratch, &self.iotrace, &kernel.series, job).and_then(|()| {
            let boot = Boot {
                kernel: &kernel.image,
                initrd: &initrd,
                accel: self.accel,
                cpus: cpus(self.accel, &kernel.series),
                copies_bytes,
                tapes: &scratch.join("tapes"),
                timeout: self.timeout,
            };
            qemu::boot(&boot, |line| {
                if !line.is_empty() {
                    each(line);
                }
            })
        });
        if let Err(error) = self.keep_tapes(&scratch.join("tapes"), &format!("{}-{number}", kernel.series)) {
            eprintln!("xtask: the tapes of {} are lost: {error:#}", kernel.release);
        }
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
        verdict
    }

    /// Keeps what came over the second serial line, if anything did, as `target/tapes/NAME.tar`. What an earlier VM of
    /// this name left is gone.
    fn keep_tapes(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.tapes.join(format!("{name}.tar"));
        let _ = fs::remove_file(&to);
        let size = fs::metadata(from).map_or(0, |metadata| metadata.len());
        if size > 0 {
            fs::create_dir_all(&self.tapes)?;
            fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display()))?;
            println!("== VM {name}: tapes of what failed: {}, {size} bytes", to.display());
        }
        Ok(())
    }
}

/// What one VM does.
struct Part<'a> {
    series: &'a str,
    number: usize,
    tests: &'a [&'a KernelTest],
    filter: Option<&'a str>,
    copies_bytes: bool,
}

/// The test programs that take half of the time of all of them. Each kernel is booted once for them and once for the
/// others: four kernels as they are would leave a CPU idle at the end for minutes, and a boot takes seconds.
const FIRST_HALF: [&str; 2] = ["kernel_trace", "kernel_study"];
/// The one that compares a copy with what else its call does, see `copies_bytes` of [`Boot`]: it has a VM of its own.
const OF_COPIES: &str = "kernel_selftest";

/// The test programs of each VM of a kernel, and whether that VM copies bytes one by one: all in one where only
/// some tests are chosen, so that no VM has none.
fn parts(tests: &[KernelTest], chosen: bool) -> Vec<(Vec<&KernelTest>, bool)> {
    if chosen {
        return vec![(tests.iter().collect(), true)];
    }
    let (copies, others): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.name == OF_COPIES);
    let (first, second) = others.into_iter().partition(|test| FIRST_HALF.contains(&test.name.as_str()));
    vec![(first, false), (second, false), (copies, true)]
}

/// The next VM in the line.
fn next<'a>(waiting: &Mutex<VecDeque<Part<'a>>>) -> Option<Part<'a>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// CPUs of a VM. Emulated ones take turns, so one is the better emulation of a computer: with two, whoever spins
/// on one keeps the others from the processor. But a kernel that preempts (all of them since 6.13 may, 7.2 does)
/// is then preempted in the middle of probes all the time, and skips them for others meanwhile.
fn cpus(accel: &str, series: &str) -> u32 {
    let mut numbers = series.split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if accel == "tcg" && version < (6, 13) { 1 } else { 2 }
}

/// Where downloads are kept: with the user's other caches, so that they outlive a checkout.
fn cache(workspace: &Workspace) -> PathBuf {
    let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("XDG_CACHE_HOME")
        .or_else(|| var("HOME").map(|home| home.join(".cache")))
        .map_or_else(|| workspace.target.join("vm-cache"), |cache| cache.join("iotrace"))
}
