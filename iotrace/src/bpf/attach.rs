//! Attaches one program: the variant of a probe that fits this kernel, and why it could not be.

use std::fmt;
use std::sync::OnceLock;

use aya::Ebpf;
use aya::maps::MapError;
use aya::programs::Program;
use iotrace_ebpf::abi::{PROCESSES_ROOM, THREADS_ROOM};
use thiserror::Error;

use super::btf::{Btf, BtfError};
use super::hook::{Link, with_causes};
use super::probes::{Probe, Variant};
use super::settings::{Settings, Wish};
use crate::host::check;

/// The object that `build.rs` made.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/iotrace.bpf.o"));

/// Why nothing can be observed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// BTF of the kernel cannot be read.
    #[error("{0}. iotrace needs a kernel with CONFIG_DEBUG_INFO_BTF=y; nothing can be measured without it")]
    Btf(#[from] BtfError),
    /// The kernel refused to create the maps of the object.
    #[error("the kernel refused iotrace's maps: {0}. `iotrace doctor` says what is missing here")]
    Object(String),
    /// A probe that every question needs cannot be attached.
    #[error(
        "cannot attach to {probe} ({why}); without it {lost} is lost. `iotrace doctor` says what is missing here"
    )]
    Required {
        /// Name of the probe.
        probe: &'static str,
        /// Why the kernel or this build refused it.
        why: String,
        /// What is not measured without it.
        lost: &'static str,
    },
    /// The exact tier was asked for, and this kernel does not let programs hook its functions.
    #[error("--tier exact: {0}")]
    Exact(Refused),
    /// More is to be observed than there is room for.
    #[error(
        "the target has more than {room} {what}, which is the most that iotrace observes by number. Observe fewer, or a \
         whole cgroup (--cgroup), a name (--comm) or the system (-a), which have no such limit"
    )]
    Full {
        /// Processes or threads.
        what: &'static str,
        /// The limit.
        room: u32,
    },
    /// Built with `IOTRACE_SKIP_EBPF=1`.
    #[error("this build has no probes (IOTRACE_SKIP_EBPF was set): build again without it")]
    NoObject,
}

/// That the list of processes or threads has no room (E2BIG, `htab_map_update_elem` in `kernel/bpf/hashtab.c`).
pub(super) fn full(error: &MapError, map: &str) -> Option<LoadError> {
    let MapError::SyscallError(refused) = error else { return None };
    let (what, room) = match map {
        "TGIDS" => ("processes", PROCESSES_ROOM),
        "TIDS" => ("threads", THREADS_ROOM),
        _ => return None,
    };
    (refused.io_error.raw_os_error() == Some(libc::E2BIG)).then_some(LoadError::Full { what, room })
}

/// An optional probe that is not attached.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The probe.
    pub probe: &'static Probe,
    /// Why it is not attached.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probe, why } = self;
        write!(f, "{} is not attached: {why}. Without it: {}", probe.name(), probe.lost)
    }
}

/// Why a function cannot be hooked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("cannot hook {function} ({why}; lockdown: {}). {REMEDY}", check::lockdown())]
pub struct Refused {
    /// The function.
    pub function: &'static str,
    /// The answer of the kernel.
    pub why: String,
}

/// What makes a kernel take function hooks.
pub const REMEDY: &str = "Function hooks need a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y (Debian, Fedora, Ubuntu have it), and no lockdown that forbids them; without them --tier tracepoint measures the copy \
     by tracepoints";

/// The variant of a probe that fits this kernel. Function hooks are left out where only tracepoints are asked for.
///
/// # Errors
/// No variant fits; the text says why.
pub fn choose(btf: &Btf, probe: &'static Probe, tier: Wish) -> Result<&'static Variant, String> {
    let mut seen = None;
    let allowed = |variant: &&Variant| tier != Wish::Tracepoint || !variant.hook.is_function();
    for variant in probe.variants.iter().filter(allowed) {
        let Some(args) = variant.hook.arguments(btf, variant.tracepoint) else { continue };
        if variant.shape.fits(&args) {
            return Ok(variant);
        }
        seen = Some(args);
    }
    Err(match seen {
        Some(args) => format!("its arguments here are {args:?}, which no program of this build reads"),
        None => format!("this kernel does not have it (since {})", probe.since),
    })
}

/// aya's view of the kernel's BTF, read once: that takes tens of milliseconds, and a run attaches twice.
pub(super) fn kernel_btf() -> Result<&'static aya::Btf, LoadError> {
    static BTF: OnceLock<Result<aya::Btf, String>> = OnceLock::new();
    let btf = BTF.get_or_init(|| aya::Btf::from_sys_fs().map_err(|error| with_causes(&error)));
    btf.as_ref().map_err(|why| LoadError::Object(why.clone()))
}

/// Loads the variant of a probe that fits, unless it was switched off; a second chance goes with the first.
pub(super) fn load_probe(
    ebpf: &mut Ebpf,
    btf: &Btf,
    kernel_btf: &aya::Btf,
    settings: &Settings,
    probe: &'static Probe,
) -> Result<&'static Variant, String> {
    if settings.without.iter().any(|&id| id == probe.id || Some(id) == probe.again_of) {
        return Err("switched off with --without".to_owned());
    }
    let variant = choose(btf, probe, settings.tier)?;
    variant.hook.load(program_of(ebpf, variant)?, variant.tracepoint, kernel_btf)?;
    Ok(variant)
}

/// Attaches a variant that is loaded.
pub(super) fn attach_loaded(ebpf: &mut Ebpf, variant: &'static Variant) -> Result<Link, String> {
    variant.hook.attach(program_of(ebpf, variant)?, variant.tracepoint)
}

/// Loads a variant and attaches it.
pub(super) fn attach_one(ebpf: &mut Ebpf, variant: &'static Variant, btf: &aya::Btf) -> Result<Link, String> {
    variant.hook.load(program_of(ebpf, variant)?, variant.tracepoint, btf)?;
    attach_loaded(ebpf, variant)
}

fn program_of<'a>(ebpf: &'a mut Ebpf, variant: &Variant) -> Result<&'a mut Program, String> {
    ebpf.program_mut(variant.program).ok_or_else(|| format!("the object has no program {}", variant.program))
}
