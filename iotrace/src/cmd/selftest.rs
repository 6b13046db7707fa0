//! `iotrace selftest`: known truth beside what iotrace makes of it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use iotrace_ebpf::abi::sinks;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::probes::Group;
use crate::bpf::settings::{Per, Settings};
use crate::cli::{ActArgs, SelftestArgs};
use crate::cmd::output;
use crate::cmd::targets::{Outputs, Wanted};
use crate::host::identity::Identity;
use crate::host::launch::{Held, pipe};
use crate::host::running::Whose;
use crate::host::stderr::say;
use crate::host::{check, clock, kernel, proc};
use crate::selftest::account::Account;
use crate::selftest::{self, Observed};
use crate::session::error::Failure;
use crate::session::tape::Items;
use crate::session::watch::{self, End, Limits};
use crate::session::{calibrate, interrupts};
use crate::workload;
use iotrace_core::domain::name::harmless;
use iotrace_core::domain::{Loss, Tier, syscall};
use iotrace_core::messages::signals::SIGIO;
use iotrace_core::summary::{Check, Document, Overhead, Warning};

/// What does not pass is played again: a busy machine may disturb a scene from beginning to end.
const ATTEMPTS: u32 = 5;
/// How long all scenes may take: emulated machines are 20 times slower.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most bytes of the account of the acting process.
const ACCOUNT: usize = 64 << 20;
/// Most records of its calls.
const RECORDS: usize = 1 << 20;
/// Rows of the sums: a few calls of some twenty threads.
const ROWS: u32 = 512;

/// Plays, compares, prints; fails if a check did.
///
/// # Errors
/// Where nothing can be checked here, or a figure is off.
pub fn main(args: &SelftestArgs) -> Result<(), Failure> {
    let mut scenes: Vec<String> = selftest::names()
        .into_iter()
        .filter(|name| args.scenes.is_empty() || args.scenes.iter().any(|wanted| name.contains(wanted)))
        .map(str::to_owned)
        .collect();
    if scenes.is_empty() {
        return Err(Failure::Usage(format!(
            "there is no such scene; known are {}",
            selftest::names().join(", ")
        )));
    }
    let outputs = Outputs::open(&args.output, Wanted::default())?;
    check::prerequisites()?;
    interrupts::catch().map_err(Failure::while_doing("catching Ctrl-C"))?;
    let started = Instant::now();
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let baseline = workload::empty_call_ns().ok();
    let (mut checks, mut loss, mut warnings) = (Vec::new(), Loss::default(), Vec::new());
    let (mut other_call, mut broken) = (None, Broken::default());
    for attempt in 1..=ATTEMPTS {
        say_attempt(args, attempt, scenes.len());
        let found = attempted(&btf, args, &scenes, baseline)?;
        other_call = other_call.or(found.other_call);
        if attempt == 1 || scenes.iter().any(|scene| scene == "whole") {
            (loss, warnings) = (found.loss, found.warnings);
        }
        if args.output.verbose {
            for check in found.checks.iter().filter(|check| check.failed()) {
                say(&format!("attempt {attempt}: {} {check:?}", check.name));
            }
        }
        broken.take(&found.checks);
        checks = merge(checks, found.checks, attempt);
        let failed = checks.iter().filter(|check: &&Check| check.failed()).map(selftest::scene_of);
        scenes = failed.map(str::to_owned).collect();
        scenes.dedup();
        if scenes.is_empty() {
            break;
        }
    }
    broken.put_back(&mut checks);
    let failed = checks.iter().filter(|check| check.failed()).count();
    let document = document(checks, loss, warnings, other_call, started.elapsed(), &btf);
    output::write(&document, &args.output, &outputs);
    outputs.outcome()?;
    if failed > 0 {
        return Err(Failure::Failed(format!(
            "{failed} checks of the self-test failed: figures of iotrace are not to be trusted here. Try again on a \
             quieter machine; if they fail again, report them with the output of `iotrace selftest --format json`"
        )));
    }
    if args.output.strict && !document.complete { Err(Failure::Incomplete) } else { Ok(()) }
}

fn say_attempt(args: &SelftestArgs, attempt: u32, scenes: usize) {
    if !args.output.quiet && std::io::stderr().is_terminal() {
        let again = if attempt > 1 { " again" } else { "" };
        say(&format!("playing {scenes} scenes{again} ..."));
    }
}

/// What must be true of every call. A busy machine does not break it, so that no later attempt makes up for an attempt
/// in which it was broken; once may be the clocks of two CPUs, twice is not.
#[derive(Default)]
struct Broken {
    once: HashSet<String>,
    twice: HashMap<String, Check>,
}

impl Broken {
    /// Takes the checks of an attempt.
    fn take(&mut self, checks: &[Check]) {
        for check in checks.iter().filter(|check| check.failed() && selftest::is_invariant(check)) {
            if !self.once.insert(check.name.clone()) {
                self.twice.insert(check.name.clone(), check.clone());
            }
        }
    }

    /// Puts those that were broken twice back in the places of those that passed later.
    fn put_back(mut self, checks: &mut [Check]) {
        for check in checks {
            if let Some(broken) = self.twice.remove(&check.name) {
                *check = broken;
            }
        }
    }
}

/// What one attempt found.
struct Found {
    checks: Vec<Check>,
    loss: Loss,
    warnings: Vec<Warning>,
    other_call: Option<u64>,
}

/// Plays scenes once: those that are judged by records, and those that are judged by sums alone.
fn attempted(
    btf: &Btf,
    args: &SelftestArgs,
    scenes: &[String],
    baseline: Option<u64>,
) -> Result<Found, Failure> {
    let (of_sums, of_records): (Vec<String>, Vec<String>) =
        scenes.iter().cloned().partition(|scene| selftest::is_of_sums(scene));
    let mut found: Option<Found> = None;
    for (scenes, sink) in [(of_records, sinks::RECORDS | sinks::AGGREGATES), (of_sums, sinks::AGGREGATES)] {
        if scenes.is_empty() {
            continue;
        }
        let more = observed(btf, args, &scenes, sink, baseline)?;
        match &mut found {
            Some(found) => found.checks.extend(more.checks),
            None => found = Some(more),
        }
    }
    found.ok_or_else(|| Failure::Failed("there is no scene to play".to_owned()))
}

fn observed(
    btf: &Btf,
    args: &SelftestArgs,
    scenes: &[String],
    sinks: u32,
    baseline: Option<u64>,
) -> Result<Found, Failure> {
    let (control, keep) = pipe().map_err(Failure::while_doing("making the control pipe"))?;
    let (fd, list) = (keep.as_raw_fd().to_string(), scenes.join(","));
    let argv = ["/proc/self/exe", "act", "--control", &fd, "--scenes", &list].map(OsStr::new);
    let identity = Identity::of_command(None)?;
    let held = Held::spawn(&argv, identity.as_ref(), Some(&keep))
        .map_err(Failure::while_doing("starting the acting process"))?;
    drop(keep);
    let groups = if sinks & sinks::RECORDS == 0 {
        vec![Group::Core, Group::Exec, Group::Follow]
    } else {
        vec![Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix, Group::Signals, Group::Uring]
    };
    let settings = Settings {
        sinks,
        per: Per::Thread,
        // futex would be every lock and every join of a thread.
        traits: syscall::table(|one| !syscall::is_on_request(one)),
        signals: 1 << (SIGIO - 1),
        rows: ROWS,
        without: args.without.clone(),
        fault: args.fault.unwrap_or_default(),
        ..Settings::records(held.pid(), groups)
    };
    let kernel = kernel::running().unwrap_or_default();
    let (mut observer, summed) = attach(btf, settings, kernel)?;
    let other_call = calibrate::others(baseline);
    if interrupts::interrupted() {
        return Err(Failure::Interrupted);
    }
    let mut running =
        held.release(Whose::Ours).map_err(Failure::while_doing("executing the acting process"))?;
    let limits = Limits { patience: PATIENCE, report_bytes: ACCOUNT, records: RECORDS };
    let mut watched = watch::watch(&mut observer, &mut running, control, limits, &mut Items::dropped())
        .map_err(Failure::while_doing("watching the acting process"))?;
    match watched.end {
        End::Interrupted => return Err(Failure::Interrupted),
        End::Stalled => {
            return Err(Failure::Failed(format!(
                "the acting process did not end within {PATIENCE:?} and was killed in scene {}: a wake-up was lost, or \
                 the machine is overloaded",
                harmless(&proc::comm(running.pid()).unwrap_or_default())
            )));
        }
        End::Endless => {
            return Err(Failure::Failed(format!(
                "the account of the acting process is longer than {ACCOUNT} bytes: something else than iotrace wrote it"
            )));
        }
        End::Finished => {}
    }
    let account: Account = serde_json::from_slice(&watched.report)
        .map_err(|_| Failure::Failed("the acting process died without a word".to_owned()))?;
    watched.journal.sort();
    let loss = observer.loss(watched.journal.unknown);
    let snapshot = summed.then(|| observer.snapshot());
    let checks = selftest::judge(&Observed {
        account: &account,
        journal: &watched.journal,
        sums: snapshot.as_ref(),
        loss: &loss,
        attached: &|id| observer.has(id),
        kernel,
    });
    let missing = observer
        .missing()
        .iter()
        .map(|missing| Warning { code: "probe_missing".to_owned(), text: missing.to_string() });
    Ok(Found { checks, loss, warnings: missing.collect(), other_call })
}

/// Attaches with both sinks where that is possible; says whether. Two at once are more than a probe of `run` or of
/// `trace` has: before 6.13 the verifier has no room for both on the stack, which takes it long to find out.
fn attach(btf: &Btf, settings: Settings, kernel: (u32, u32)) -> Result<(Observer, bool), Failure> {
    if settings.sinks & sinks::RECORDS == 0 {
        return Ok((Observer::attach(btf, &settings)?, true));
    }
    if kernel >= selftest::BOTH_SINKS
        && let Ok(observer) = Observer::attach(btf, &settings)
    {
        return Ok((observer, true));
    }
    Ok((Observer::attach(btf, &Settings { sinks: sinks::RECORDS, ..settings })?, false))
}

/// The newer checks of scenes that were played again take the places of the older ones.
fn merge(older: Vec<Check>, newer: Vec<Check>, attempt: u32) -> Vec<Check> {
    if older.is_empty() {
        return newer;
    }
    let again = |check: &Check| newer.iter().any(|one| selftest::scene_of(one) == selftest::scene_of(check));
    let mut merged: Vec<Check> = older.into_iter().filter(|check| !again(check)).collect();
    merged.extend(newer.iter().cloned().map(|check| Check { attempts: attempt, ..check }));
    let place = |check: &Check| {
        selftest::names().iter().position(|name| *name == selftest::scene_of(check)).unwrap_or(usize::MAX)
    };
    merged.sort_by_key(place);
    merged
}

fn document(
    checks: Vec<Check>,
    loss: Loss,
    warnings: Vec<Warning>,
    other_call: Option<u64>,
    elapsed: Duration,
    btf: &Btf,
) -> Document {
    // Of the same time as `elapsed`.
    let iotrace_cpu_ns = clock::own_cpu_ns();
    let cost = calibrate::measure(btf);
    let overhead = Overhead {
        per_call_ns: cost.per_call_ns,
        per_other_call_ns: other_call,
        per_switch_ns: cost.per_switch_ns,
        iotrace_cpu_ns,
        iotrace_loading_cpu_ns: None,
        // Only differences of copies are compared.
        copy_floors_ns: None,
    };
    let host = check::host(Tier::Tracepoint);
    let mut document = Document::new("selftest", host, loss, overhead, elapsed.as_nanos() as u64);
    document.checks = checks;
    document.warnings = warnings;
    document
}

/// `iotrace act`: the observed side, started by the other one and held until the probes are attached.
///
/// # Errors
/// Where the control pipe is not open, or cannot be written.
pub fn act(args: &ActArgs) -> Result<(), Failure> {
    // SAFETY: F_GETFD only asks whether the number is an open descriptor.
    if args.control < 3 || unsafe { libc::fcntl(args.control, libc::F_GETFD) } < 0 {
        return Err(Failure::Usage(
            "--control is not an open descriptor; `iotrace selftest` starts this".to_owned(),
        ));
    }
    // SAFETY: open, handed over by the parent for this very use, and owned by nothing else here.
    let control = unsafe { OwnedFd::from_raw_fd(args.control) };
    selftest::act(&args.scenes, control).map_err(Failure::while_doing("reporting to iotrace selftest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, pass: bool) -> Check {
        Check {
            name: name.to_owned(),
            oracle: String::new(),
            expected: Some(0),
            measured: Some(i64::from(!pass)),
            error: Some(i64::from(!pass)),
            allowed: Some(0),
            unit: "calls".to_owned(),
            pass: Some(pass),
            skipped: None,
            since: None,
            attempts: 1,
        }
    }

    #[test]
    fn what_is_true_of_every_call_may_be_broken_once_and_not_twice() {
        for (attempts, passes) in [(&[false, true][..], true), (&[false, false, true], false)] {
            let mut broken = Broken::default();
            for pass in attempts {
                broken.take(&[check("whole/order", *pass), check("wait-pipe/wait", *pass)]);
            }
            let mut checks = [check("whole/order", true), check("wait-pipe/wait", true)];
            broken.put_back(&mut checks);
            assert_eq!(checks[0].failed(), !passes);
            assert!(!checks[1].failed(), "a busy machine may delay a wait");
        }
    }
}
