//! `iotrace doctor`: what works here, what does not, why, and what to do.
//!
//! One row a capability and one a probe. Probes are judged by attaching them, all at once, to this very
//! process; nothing is inferred from the kernel's version.

use std::io;

use crate::bpf::btf::Btf;
use crate::bpf::exact;
use crate::bpf::loader::Observer;
use crate::bpf::probes::{Group, PROBES, Probe};
use crate::bpf::settings::{Settings, Wish};
use crate::cli::{DoctorArgs, DoctorFormat};
use crate::cmd::output;
use crate::host::check::programs_are_preemptible;
use crate::host::check::{self, Missing};
use crate::host::namespaces;
use crate::host::privileges::{self, Work};
use crate::session::error::Failure;
use iotrace_core::domain::{Loss, Tier};
use iotrace_core::report::Format;
use iotrace_core::summary::{Document, Finding, Overhead, Standing};

/// Looks at everything and prints what it found.
///
/// # Errors
/// Where nothing can be measured here (exit code 1), or the result cannot be written.
pub fn main(args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = machine();
    let (rows, tier) = probes();
    findings.extend(rows);
    let ok = findings.iter().all(|finding| finding.status != Standing::Missing);
    let mut document = Document::new("doctor", check::host(tier), Loss::NOTHING, Overhead::default(), 0);
    document.ok = Some(ok);
    document.findings = findings;
    let format = match args.format {
        DoctorFormat::Table => Format::Table,
        DoctorFormat::Json => Format::Json,
    };
    output::show(&document, format)?;
    if ok {
        Ok(())
    } else {
        Err(Failure::Failed("iotrace cannot measure here: see the rows marked missing".to_owned()))
    }
}

fn row(name: &str, status: Standing, reason: impl Into<String>) -> Finding {
    Finding { name: name.to_owned(), status, reason: reason.into(), remedy: None, lost: None }
}

/// What a finding says beside its reason.
trait Says {
    fn remedy(self, text: &str) -> Self;
    fn lost(self, text: &str) -> Self;
}

impl Says for Finding {
    fn remedy(mut self, text: &str) -> Self {
        self.remedy = Some(text.to_owned());
        self
    }

    fn lost(mut self, text: &str) -> Self {
        self.lost = Some(text.to_owned());
        self
    }
}

/// The row about what is needed to attach.
fn privileges() -> Finding {
    match check::prerequisites() {
        Ok(()) => row("privileges", Standing::Ok, "BPF programs may be loaded"),
        Err(missing @ Missing::Capabilities(_)) => row("privileges", Standing::Missing, missing.to_string())
            .remedy("sudo iotrace doctor")
            .lost("everything"),
        Err(missing @ Missing::UserNamespace) => row("privileges", Standing::Missing, missing.to_string())
            .remedy("run it as root outside of the user namespace")
            .lost("everything"),
        Err(missing @ Missing::NoProc) => row("privileges", Standing::Missing, missing.to_string())
            .remedy("mount -t proc proc /proc")
            .lost("everything"),
        Err(_) => row("privileges", Standing::Ok, "the capabilities are there"),
    }
}

/// The rows about the capabilities that iotrace keeps after attaching, when it has given up the others.
fn kept() -> Vec<Finding> {
    let mut rows = Vec::new();
    for need in privileges::needs(Work::ALL) {
        let name = need.capability.to_string().to_lowercase();
        rows.push(if privileges::has(need.capability) {
            row(&name, Standing::Ok, need.to_string())
        } else {
            let remedy = format!("sudo, or setcap {name}+ep beside those that attaching needs");
            row(&name, Standing::Degraded, format!("not there, and would be {need}"))
                .remedy(&remedy)
                .lost(need.lost)
        });
    }
    rows
}

/// The rows about the machine.
fn machine() -> Vec<Finding> {
    let mut rows = vec![privileges()];
    rows.extend(kept());
    rows.push(match check::lockdown().as_str() {
        "confidentiality" => row("lockdown", Standing::Missing, Missing::Lockdown.to_string())
            .remedy("boot with lockdown=integrity or without")
            .lost("everything"),
        "unknown" => row(
            "lockdown",
            Standing::Ok,
            "/sys/kernel/security is not mounted, so its level is not known; loading shows what it allows",
        ),
        level => row("lockdown", Standing::Ok, format!("{level}: tracepoints may be observed")),
    });
    rows.push(match Btf::of_kernel() {
        Ok(_) => row("btf", Standing::Ok, check::VMLINUX),
        Err(error) => row("btf", Standing::Missing, error.to_string())
            .remedy("a kernel with CONFIG_DEBUG_INFO_BTF=y")
            .lost("everything"),
    });
    rows.extend(namespaces());
    rows.push(io_uring());
    rows.push(native_aio());
    rows
}

/// The rows about the namespaces that iotrace is in.
fn namespaces() -> Vec<Finding> {
    let trouble = match check::namespaces() {
        Err(missing @ (Missing::NoProc | Missing::ForeignProc | Missing::ForeignTime)) => Some(missing),
        _ => None,
    };
    let pid = match &trouble {
        Some(missing @ (Missing::NoProc | Missing::ForeignProc)) => {
            row("pid namespace", Standing::Missing, missing.to_string()).lost("everything")
        }
        _ if namespaces::pid_is_initial() => {
            row("pid namespace", Standing::Ok, "the initial one: every process is seen")
        }
        _ => row(
            "pid namespace",
            Standing::Ok,
            "one of its own, as in a container: ids are those that /proc shows here, and processes outside of it are \
             not traced",
        ),
    };
    let time = match (&trouble, namespaces::time_offset_ns()) {
        (Some(missing @ Missing::ForeignTime), _) => {
            row("time namespace", Standing::Missing, missing.to_string()).lost("everything")
        }
        (_, Some(offset)) if offset != 0 => row(
            "time namespace",
            Standing::Ok,
            format!("CLOCK_MONOTONIC is {offset} ns ahead here, which is taken off"),
        ),
        _ => row("time namespace", Standing::Ok, "the clock is that of the kernel"),
    };
    vec![pid, time]
}

fn io_uring() -> Finding {
    match io_uring::IoUring::new(1) {
        Ok(_) => row("io_uring", Standing::Ok, "rings can be made"),
        Err(error) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            let value = sysctl.map_or("absent".to_owned(), |text| text.trim().to_owned());
            row("io_uring", Standing::Degraded, format!("{error}; kernel.io_uring_disabled is {value}"))
                .remedy("sysctl kernel.io_uring_disabled=0; in a container, a seccomp profile that allows it")
                .lost("models io-uring and io-uring-sqpoll")
        }
    }
}

fn native_aio() -> Finding {
    let mut context: libc::c_ulong = 0;
    // SAFETY: a valid place for the context; it is destroyed below.
    let rc = unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) };
    if rc != 0 {
        let error = io::Error::last_os_error();
        return row("linux aio", Standing::Degraded, format!("io_setup: {error}"))
            .remedy("a kernel with CONFIG_AIO=y; fs.aio-max-nr not used up")
            .lost("models linux-aio and linux-aio-poll");
    }
    // SAFETY: the context that was just made.
    unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    row("linux aio", Standing::Ok, "contexts can be made")
}

/// The rows about the probes.
fn probes() -> (Vec<Finding>, Tier) {
    if check::prerequisites().is_err() {
        let skipped = "not tried: see above";
        let rows = PROBES.iter().map(|probe| judged(probe, Err(skipped.to_owned()))).collect();
        return (rows, Tier::Tracepoint);
    }
    let Ok(btf) = Btf::of_kernel() else { return (Vec::new(), Tier::Tracepoint) };
    let mut groups: Vec<Group> = PROBES.iter().map(|probe| probe.group).collect();
    groups.dedup();
    // Function hooks beside the tracepoints that they would replace.
    let settings =
        Settings { ring_bytes: 1 << 16, tier: Wish::Both, ..Settings::records(std::process::id(), groups) };
    match Observer::attach(&btf, &settings) {
        Ok(observer) => {
            let row = |probe: &Probe| {
                if probe.again_of.is_some() && !programs_are_preemptible() {
                    let why = "not needed: this kernel runs probes with preemption off";
                    return row(probe.name(), Standing::Ok, why);
                }
                let missing = observer.missing().iter().find(|missing| missing.probe.id == probe.id);
                judged(probe, missing.map_or(Ok(()), |missing| Err(missing.why.clone())))
            };
            let hooked = exact::GROUPS.iter().any(|group| exact::is_whole(*group, |id| observer.has(id)));
            let tier = if hooked { Tier::Exact } else { Tier::Tracepoint };
            (PROBES.iter().map(row).collect(), tier)
        }
        Err(error) => {
            let row = row("probes", Standing::Missing, error.to_string()).lost("everything");
            (vec![row], Tier::Tracepoint)
        }
    }
}

fn judged(probe: &Probe, outcome: Result<(), String>) -> Finding {
    match outcome {
        Ok(()) => row(probe.name(), Standing::Ok, probe.feeds),
        Err(why) => {
            let status = if probe.required { Standing::Missing } else { Standing::Degraded };
            let remedy = match exact::GROUPS.contains(&probe.group) {
                true => exact::REMEDY.to_owned(),
                false => format!("Linux {} or later", probe.since),
            };
            row(probe.name(), status, why).remedy(&remedy).lost(probe.lost)
        }
    }
}
