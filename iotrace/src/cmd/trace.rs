//! `iotrace trace`: processes that exist, a cgroup, the whole system, or a command it starts.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::probes::Group;
use crate::bpf::settings::{Fault, Per, Settings, Whom};
use crate::cli::{PerArg, TraceArgs};
use crate::cmd::output;
use crate::host::check;
use crate::host::launch::{Ended, Held, Identity};
use crate::session::error::Failure;
use crate::session::trace::Watch;
use crate::session::until::{self, Until};
use crate::session::{self, calibrate, whom};
use iotrace_core::domain::syscall;
use iotrace_ebpf::abi::traits::{IN, PAST, REQUESTS, SUBMIT};

/// Memory for the aggregates, all CPUs together.
const ROW_BYTES: usize = 32 << 20;

/// Observes and prints.
pub fn main(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let with_command = !args.command.is_empty();
    observe(args).map_err(|failure| match failure {
        Failure::Failed(text) if with_command => Failure::NotTraced(text),
        other => other,
    })
}

fn observe(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let mut whom = whom::resolve(args)?;
    if args.interval.is_some_and(|every| every.is_zero()) {
        return Err(Failure::Usage("-i needs an interval longer than 0, such as 1s".to_owned()));
    }
    output::check(&args.output)?;
    check::prerequisites()?;
    let began = Instant::now();
    let held = hold(args, &mut whom)?;
    // After the fork: a command starts with the signals as they were.
    session::catch_interrupts().map_err(Failure::while_doing("catching Ctrl-C"))?;
    let btf = Btf::of_kernel().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut calibration = calibrate::measure_by(&btf, &HOOKS, args.tier.wish());
    let mut observer = attach(args, &mut whom, &btf)?;
    // Some megabytes that nobody asks again.
    drop(btf);
    observer.set_floors(calibration.floors);
    calibration.of_others();
    let mut watch = Watch::new(args, observer, whom, calibration, rows(args));
    if args.output.verbose {
        let names: Vec<&str> = watch.attached().collect();
        eprintln!("attached in {:.0?}: {}", began.elapsed(), names.join(" "));
        output::say_refused(watch.refused());
    }
    let command = held.map(|held| release(held, args)).transpose()?;
    if command.is_none() && !args.output.quiet && io::stderr().is_terminal() {
        eprintln!("Tracing {} ... Ctrl-C to end.", watch.about());
    }
    let until = Until { duration: args.duration, command };
    let ended = until::trace(until, args.interval, &mut watch).map_err(Failure::while_doing("tracing"))?;
    let document = watch.finish().map_err(Failure::while_doing("writing the result"))?;
    match args.interval {
        Some(_) => output::after_intervals(&document, &args.output)?,
        None => output::write(&document, &args.output)?,
    }
    if args.output.strict && !document.complete {
        return Err(Failure::Incomplete);
    }
    Ok(ended.map_or(ExitCode::SUCCESS, Ended::pass_on))
}

fn hold(args: &TraceArgs, whom: &mut Whom) -> Result<Option<Held>, Failure> {
    if args.command.is_empty() {
        return Ok(None);
    }
    let words: Vec<&OsStr> = args.command.iter().map(std::ffi::OsString::as_os_str).collect();
    let held = Held::spawn(&words, Identity::behind_sudo(), None)
        .map_err(Failure::while_doing("starting the command"))?;
    whom.tgids.push(held.pid());
    whom.follow |= !args.no_follow;
    Ok(Some(held))
}

fn release(held: Held, args: &TraceArgs) -> Result<crate::host::launch::Running, Failure> {
    let name = args.command[0].to_string_lossy().into_owned();
    held.release().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::NotFound(format!("{name}: command not found; nothing was traced"))
        }
        _ => Failure::NotExecutable(format!("{name} cannot be executed: {error}; nothing was traced")),
    })
}

/// Attaches; where the kernel cannot tell a thread's cgroup (5.10 has no such helper for tracing programs),
/// its members of now are taken, and their children, as for a cgroup of the first version.
fn attach(args: &TraceArgs, whom: &mut Whom, btf: &Btf) -> Result<Observer, Failure> {
    let refused = match Observer::attach(btf, &settings(args, whom)) {
        Ok(observer) => return Ok(observer),
        Err(error) => error,
    };
    let (Some(path), Some(_)) = (&args.cgroup, whom.cgroup.take()) else { return Err(refused.into()) };
    whom.tgids.extend(whom::members_below(path)?);
    whom.follow = true;
    Ok(Observer::attach(btf, &settings(args, whom))?)
}

/// What the probes are told for these arguments.
pub fn settings(args: &TraceArgs, whom: &Whom) -> Settings {
    let mut groups = vec![Group::Core, Group::Exec, Group::Sockets];
    if copies_out_of_sockets(args) {
        groups.extend([Group::Copy, Group::CopyUnix]);
        groups.extend(HOOKS);
    }
    if whom.follow {
        groups.push(Group::Follow);
    }
    let (sinks, ring_bytes) = whom::sink(args);
    Settings {
        whom: whom.clone(),
        groups,
        sinks,
        per: match args.per {
            PerArg::Process => Per::Process,
            PerArg::Thread => Per::Thread,
            PerArg::Fd => Per::Fd,
        },
        traits: syscall::table(|one| is_traced(args, one)),
        min_ns: args.min.map_or(0, |min| min.as_nanos() as u64),
        per_kib: calibrate::per_kib(),
        signals: 0,
        ring_bytes,
        rows: rows(args) as u32,
        tier: args.tier.wish(),
        without: args.without.clone(),
        fault: Fault::default(),
    }
}

/// Whether any traced syscall may copy out of a socket: if none does, everybody is spared those probes.
fn copies_out_of_sockets(args: &TraceArgs) -> bool {
    let may = |one: &&syscall::Syscall| one.traits & (IN | SUBMIT | REQUESTS | PAST) != 0;
    syscall::all().filter(may).any(|one| is_traced(args, one))
}

/// Function hooks that sums have a use for.
const HOOKS: [Group; 2] = [Group::ExactSockets, Group::ExactDatagrams];

/// Most rows that the kernel keeps at a time: as asked for, or what fits.
fn rows(args: &TraceArgs) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let fitting = ROW_BYTES / (cpus * size_of::<iotrace_ebpf::abi::Agg>());
    args.rows.map_or(fitting.clamp(512, 4096), |rows| rows as usize)
}

/// Whether a syscall was asked for.
pub fn is_traced(args: &TraceArgs, one: &syscall::Syscall) -> bool {
    args.expression.as_ref().map_or(!syscall::is_lock(one), |wanted| wanted.0.contains(&one.nr))
}
