//! `iotrace doctor`: what works here, what does not, why, and what to do.
//!
//! One row a capability and one a probe. Probes are judged by attaching them, all at once, to this very
//! process; nothing is inferred from the kernel's version.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::bpf::btf::Btf;
use crate::bpf::exact;
use crate::bpf::loader::{Observer, programs_are_preemptible};
use crate::bpf::probes::{Group, PROBES, Probe};
use crate::bpf::settings::{Settings, Wish};
use crate::cli::{DoctorArgs, DoctorFormat};
use crate::host::check;
use crate::session::error::Failure;
use iotrace_core::domain::Tier;
use iotrace_core::summary::{Host, SCHEMA};

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Degraded,
    Missing,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
struct Row {
    name: String,
    status: Status,
    reason: String,
    remedy: Option<String>,
    lost: Option<String>,
}

/// What the doctor found.
#[derive(Debug, Serialize)]
struct Finding {
    schema: &'static str,
    command: &'static str,
    host: Host,
    ok: bool,
    checks: Vec<Row>,
}

/// Looks at everything; fails (exit code 1) when nothing can be measured here.
pub fn main(args: &DoctorArgs) -> Result<(), Failure> {
    let mut checks = machine();
    let (rows, tier) = probes();
    checks.extend(rows);
    let ok = checks.iter().all(|row| row.status != Status::Missing);
    let finding = Finding { schema: SCHEMA, command: "doctor", host: check::host(tier), ok, checks };
    let mut out = io::stdout().lock();
    let written = match args.format {
        DoctorFormat::Table => table(&finding, &mut out),
        DoctorFormat::Json => {
            writeln!(out, "{}", serde_json::to_string_pretty(&finding).unwrap_or_default())
        }
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::while_doing("writing the result")(error))
        }
        _ if ok => Ok(()),
        _ => Err(Failure::Failed("iotrace cannot measure here: see the rows marked missing".to_owned())),
    }
}

fn row(name: &str, status: Status, reason: impl Into<String>) -> Row {
    Row { name: name.to_owned(), status, reason: reason.into(), remedy: None, lost: None }
}

impl Row {
    fn remedy(mut self, text: &str) -> Self {
        self.remedy = Some(text.to_owned());
        self
    }

    fn lost(mut self, text: &str) -> Self {
        self.lost = Some(text.to_owned());
        self
    }
}

/// The rows about the machine.
fn machine() -> Vec<Row> {
    let mut rows = vec![match check::prerequisites() {
        Ok(()) => row("privileges", Status::Ok, "BPF programs may be loaded"),
        Err(missing @ check::Missing::Capabilities(_)) => {
            row("privileges", Status::Missing, missing.to_string())
                .remedy("sudo iotrace doctor")
                .lost("everything")
        }
        Err(_) => row("privileges", Status::Ok, "the capabilities are there"),
    }];
    rows.push(match check::lockdown().as_str() {
        "confidentiality" => row("lockdown", Status::Missing, check::Missing::Lockdown.to_string())
            .remedy("boot with lockdown=integrity or without")
            .lost("everything"),
        "unknown" => row(
            "lockdown",
            Status::Ok,
            "/sys/kernel/security is not mounted, so its level is not known; loading shows what it allows",
        ),
        level => row("lockdown", Status::Ok, format!("{level}: tracepoints may be observed")),
    });
    rows.push(match Btf::of_kernel() {
        Ok(_) => row("btf", Status::Ok, check::VMLINUX),
        Err(error) => row("btf", Status::Missing, error.to_string())
            .remedy("a kernel with CONFIG_DEBUG_INFO_BTF=y")
            .lost("everything"),
    });
    rows.push(io_uring());
    rows.push(native_aio());
    rows
}

fn io_uring() -> Row {
    match io_uring::IoUring::new(1) {
        Ok(_) => row("io_uring", Status::Ok, "rings can be made"),
        Err(error) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            let value = sysctl.map_or("absent".to_owned(), |text| text.trim().to_owned());
            row("io_uring", Status::Degraded, format!("{error}; kernel.io_uring_disabled is {value}"))
                .remedy("sysctl kernel.io_uring_disabled=0; in a container, a seccomp profile that allows it")
                .lost("models io-uring and io-uring-sqpoll")
        }
    }
}

fn native_aio() -> Row {
    let mut context: libc::c_ulong = 0;
    // SAFETY: a valid place for the context; it is destroyed below.
    let rc = unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) };
    if rc != 0 {
        let error = io::Error::last_os_error();
        return row("linux aio", Status::Degraded, format!("io_setup: {error}"))
            .remedy("a kernel with CONFIG_AIO=y; fs.aio-max-nr not used up")
            .lost("models linux-aio and linux-aio-poll");
    }
    // SAFETY: the context that was just made.
    unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    row("linux aio", Status::Ok, "contexts can be made")
}

/// The rows about the probes.
fn probes() -> (Vec<Row>, Tier) {
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
                    return row(probe.name(), Status::Ok, why);
                }
                let missing = observer.missing().iter().find(|missing| missing.probe.id == probe.id);
                judged(probe, missing.map_or(Ok(()), |missing| Err(missing.why.clone())))
            };
            let hooked = exact::GROUPS.iter().any(|group| exact::is_whole(*group, |id| observer.has(id)));
            let tier = if hooked { Tier::Exact } else { Tier::Tracepoint };
            (PROBES.iter().map(row).collect(), tier)
        }
        Err(error) => {
            let row = row("probes", Status::Missing, error.to_string()).lost("everything");
            (vec![row], Tier::Tracepoint)
        }
    }
}

fn judged(probe: &Probe, outcome: Result<(), String>) -> Row {
    match outcome {
        Ok(()) => row(probe.name(), Status::Ok, probe.feeds),
        Err(why) => {
            let status = if probe.required { Status::Missing } else { Status::Degraded };
            let remedy = match exact::GROUPS.contains(&probe.group) {
                true => exact::REMEDY.to_owned(),
                false => format!("Linux {} or later", probe.since),
            };
            row(probe.name(), status, why).remedy(&remedy).lost(probe.lost)
        }
    }
}

fn table(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let host = &finding.host;
    writeln!(
        out,
        "Linux {} on {}, {} CPUs, lockdown {}\n",
        host.kernel, host.arch, host.cpus, host.lockdown
    )?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(100);
    table.set_header(["what", "status", "why; what is lost; what to do"]);
    for row in &finding.checks {
        let status = match row.status {
            Status::Ok => "ok",
            Status::Degraded => "degraded",
            Status::Missing => "missing",
        };
        let mut text = row.reason.clone();
        if let Some(lost) = &row.lost {
            text.push_str(&format!("\nlost: {lost}"));
        }
        if let Some(remedy) = &row.remedy {
            text.push_str(&format!("\nremedy: {remedy}"));
        }
        table.add_row([row.name.as_str(), status, &text]);
    }
    writeln!(out, "{table}\n")?;
    let degraded = finding.checks.iter().filter(|row| row.status == Status::Degraded).count();
    match (finding.ok, degraded) {
        (true, 0) => writeln!(out, "Everything works here."),
        (true, _) => {
            writeln!(out, "iotrace works here; {degraded} of the rows above say what is measured less well.")
        }
        (false, _) => writeln!(out, "iotrace cannot measure here."),
    }
}
