//! Conditions that the machine must meet before probes are loaded, each with its remedy.

use std::fs;

use thiserror::Error;

use crate::host::namespaces::{self, ProcTrouble};
use crate::host::privileges;
use iotrace_core::domain::Tier;
use iotrace_core::summary::Host;

/// The file in which the kernel shows its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// A condition that is not met, so that nothing can be observed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Missing {
    /// iotrace runs neither as root nor with the capabilities named here.
    #[error(
        "iotrace may not load BPF programs: it lacks {0}. Run it with sudo, or once: \
         sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep $(which iotrace); where it lacks them as root, its \
         container or service took them away. \
         `iotrace doctor`, `iotrace schema` and `--help` need no privileges"
    )]
    Capabilities(String),
    /// The program file has the set-user-ID or set-group-ID bit.
    #[error(
        "iotrace is installed with the set-user-ID or set-group-ID bit, which would let everybody write files and run \
         commands as its owner. Take the bit off (chmod ug-s) and use sudo, or: \
         setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep"
    )]
    SetUserId,
    /// The kernel is locked down to confidentiality.
    #[error(
        "the kernel is locked down to confidentiality (/sys/kernel/security/lockdown): no program may read \
         kernel memory, so nothing can be observed. Boot with lockdown=integrity or without lockdown"
    )]
    Lockdown,
    /// The kernel shows no BTF.
    #[error(
        "{VMLINUX} is missing: this kernel was built without CONFIG_DEBUG_INFO_BTF, and \
         iotrace finds tracepoint arguments by it. Use a distribution kernel (Debian, Fedora, Ubuntu have it)"
    )]
    NoBtf,
    /// `/sys` is not mounted.
    #[error(
        "/sys is not mounted: iotrace reads the kernel's types there ({VMLINUX}). Mount it: \
         mount -t sysfs sysfs /sys"
    )]
    NoSys,
    /// Capabilities of a user namespace.
    #[error(
        "iotrace runs in a user namespace (a rootless container, unshare -r), whose root is none for the kernel: it \
         may not load BPF programs. Run it as root outside of the user namespace"
    )]
    UserNamespace,
    /// `/proc` is not mounted.
    #[error(
        "/proc is not mounted: without it iotrace can find no process and no name. Mount it: \
         mount -t proc proc /proc"
    )]
    NoProc,
    /// `/proc` shows another pid namespace than that of iotrace.
    #[error(
        "/proc shows another pid namespace than the one that iotrace runs in, so ids of processes would be mistaken \
         for those of others. Mount the /proc of the namespace (unshare --mount-proc, or mount -t proc proc /proc in \
         a mount namespace of its own), or enter pid and mount namespace together (nsenter -p -m)"
    )]
    ForeignProc,
    /// The offset of iotrace's clock is not known.
    #[error(
        "iotrace is in another time namespace than its children would be, and the kernel tells only the clock offset \
         of theirs. Start iotrace as a new process (unshare -T --fork)"
    )]
    ForeignTime,
}

/// `CAP_SYS_ADMIN`, `CAP_PERFMON`, `CAP_BPF` as bits of `CapEff`.
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// iotrace writes the files that it is told to, and starts what it is told to: as a set-user-ID program it would do so
/// for everybody. File capabilities (`setcap`) do not have that.
///
/// # Errors
/// This process runs as another user than the one who started it.
pub fn not_set_user_id() -> Result<(), Missing> {
    let same =
        nix::unistd::getuid() == nix::unistd::geteuid() && nix::unistd::getgid() == nix::unistd::getegid();
    if same { Ok(()) } else { Err(Missing::SetUserId) }
}

/// Checks capabilities, lockdown and BTF.
///
/// # Errors
/// The first condition that is not met.
pub fn prerequisites() -> Result<(), Missing> {
    // What is the reason first, what follows from it later: in a user namespace capabilities are there or not, and
    // count for nothing; without /proc it is not known whether this is one.
    if namespaces::proc_trouble() == Some(ProcTrouble::Absent) {
        return Err(Missing::NoProc);
    }
    if !namespaces::user_is_initial() {
        return Err(Missing::UserNamespace);
    }
    capabilities(privileges::effective())?;
    if lockdown() == "confidentiality" {
        return Err(Missing::Lockdown);
    }
    if !fs::exists(VMLINUX).unwrap_or(false) {
        return Err(if fs::exists("/sys/kernel").unwrap_or(false) { Missing::NoBtf } else { Missing::NoSys });
    }
    namespaces()
}

/// Checks that ids and times of this process can be compared with those of the kernel.
///
/// # Errors
/// What is in the way.
pub fn namespaces() -> Result<(), Missing> {
    match namespaces::proc_trouble() {
        Some(ProcTrouble::Absent) => return Err(Missing::NoProc),
        Some(ProcTrouble::Elsewhere | ProcTrouble::Outer) => return Err(Missing::ForeignProc),
        None => {}
    }
    if namespaces::time_offset_ns().is_none() {
        return Err(Missing::ForeignTime);
    }
    Ok(())
}

/// Whether the kernel runs 32-bit programs. `arch/x86/entry/vdso/vdso32-setup.c` has this setting only then; where `/proc`
/// does not show it, the probes look for such calls in vain.
pub fn runs_32_bit() -> bool {
    fs::exists("/proc/sys/abi/vsyscall32").unwrap_or(true) || !fs::exists("/proc/sys").unwrap_or(false)
}

fn capabilities(effective: u64) -> Result<(), Missing> {
    if effective & SYS_ADMIN != 0 {
        return Ok(());
    }
    let lacking: Vec<&str> = [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(bit, _)| effective & bit == 0)
        .map(|(_, name)| name)
        .collect();
    if lacking.is_empty() { Ok(()) } else { Err(Missing::Capabilities(lacking.join(" and "))) }
}

/// `none`, `integrity`, `confidentiality`; `unknown` where securityfs is not mounted.
pub fn lockdown() -> String {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let chosen = text.split('[').nth(1).and_then(|rest| rest.split(']').next());
    chosen.unwrap_or("unknown").to_owned()
}

/// The description of the machine for the result; `tier` is what timed the copies.
pub fn host(tier: Tier) -> Host {
    let word = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Host {
        kernel: word("/proc/sys/kernel/osrelease"),
        arch: std::env::consts::ARCH.to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32),
        lockdown: lockdown(),
        tier,
    }
}

/// Whether this kernel runs programs of tracepoints with preemption on, as `__bpf_trace_run` does from 7.0. BTF does
/// not tell, so this goes by version. A wrong yes costs time; a wrong no shows as losses.
pub fn programs_are_preemptible() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(capabilities(SYS_ADMIN), Ok(()), "before 5.8 this is the one that counts");
        assert_eq!(capabilities(BPF | PERFMON), Ok(()));
        assert_eq!(capabilities(BPF), Err(Missing::Capabilities("CAP_PERFMON".into())));
        assert_eq!(capabilities(0), Err(Missing::Capabilities("CAP_BPF and CAP_PERFMON".into())));
    }
}
