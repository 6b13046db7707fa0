//! Loads the object, attaches what a question needs, and reads what comes out.

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::BtfTracePoint;
use aya::{Ebpf, EbpfLoader};
use iotrace_ebpf::abi::{STATS, Stat};
use thiserror::Error;

use super::btf::{Btf, BtfError};
use super::probes::{Group, PROBES, Probe, Variant};
use super::prog_info::recursion_misses;
use crate::syscall;

/// The object that `build.rs` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/iotrace.bpf.o"));

/// What is to be observed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The process.
    pub target: u32,
    /// Which probes.
    pub groups: Vec<Group>,
    /// Signals whose life is recorded: bit n-1 for signal n.
    pub signals: u64,
    /// Whether `futex` counts as a completion call.
    pub futex: bool,
    /// Size of the ring buffer; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Probes not to attach, by name: what is lost without them can be tried out.
    pub without: Vec<String>,
}

/// Why nothing can be observed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No BTF.
    #[error("{0}. iotrace needs a kernel with CONFIG_DEBUG_INFO_BTF=y; nothing can be measured without it")]
    Btf(#[from] BtfError),
    /// The object itself was refused.
    #[error("the kernel refused iotrace's maps: {0}. `iotrace doctor` says what is missing here")]
    Object(String),
    /// A probe that nothing works without.
    #[error(
        "cannot attach to {probe} ({why}); without it {lost} is lost. `iotrace doctor` says what is missing here"
    )]
    Required {
        /// Its name.
        probe: &'static str,
        /// The reason.
        why: String,
        /// What it feeds.
        lost: &'static str,
    },
    /// Built with `IOTRACE_SKIP_EBPF=1`.
    #[error("this build has no probes (IOTRACE_SKIP_EBPF was set): build again without it")]
    NoObject,
}

/// An optional probe that is not there.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Which.
    pub probe: &'static Probe,
    /// Why.
    pub why: String,
}

/// Probes attached to a target. Dropping it detaches all of them.
pub struct Observer {
    ebpf: Ebpf,
    records: RingBuf<MapData>,
    attached: Vec<(&'static Probe, &'static Variant)>,
    missing: Vec<Missing>,
}

/// The variant of a probe that fits this kernel, or why none does.
pub fn choose(btf: &Btf, probe: &'static Probe) -> Result<&'static Variant, String> {
    let mut seen = None;
    for variant in probe.variants {
        let Some(args) = btf.tracepoint(variant.tracepoint) else { continue };
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

impl Observer {
    /// Attaches the probes of `settings`.
    ///
    /// # Errors
    /// Only where nothing can be measured; an optional probe that fails is in [`Observer::missing`].
    pub fn attach(btf: &Btf, settings: &Settings) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let mut ebpf = load_object(btf, settings)?;
        let kernel_btf = aya::Btf::from_sys_fs().map_err(|error| LoadError::Object(error.to_string()))?;
        let (mut attached, mut missing) = (Vec::new(), Vec::new());
        for probe in PROBES.iter().filter(|probe| settings.groups.contains(&probe.group)) {
            let outcome = if settings.without.iter().any(|name| name == probe.name) {
                Err("switched off with --without".to_owned())
            } else {
                choose(btf, probe).and_then(|variant| attach_one(&mut ebpf, variant, &kernel_btf))
            };
            match outcome {
                Ok(variant) => attached.push((probe, variant)),
                Err(why) if probe.required => {
                    return Err(LoadError::Required { probe: probe.name, why, lost: probe.lost });
                }
                Err(why) => missing.push(Missing { probe, why }),
            }
        }
        let records = ebpf
            .take_map("RECORDS")
            .and_then(|map| RingBuf::try_from(map).ok())
            .ok_or_else(|| LoadError::Object("the object has no ring buffer".to_owned()))?;
        Ok(Self { ebpf, records, attached, missing })
    }

    /// Hands over every record that is there.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while let Some(item) = self.records.next() {
            each(&item);
        }
    }

    /// Optional probes that are not there.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Names of the tracepoints that are attached.
    pub fn attached(&self) -> impl Iterator<Item = &'static str> {
        self.attached.iter().map(|(_, variant)| variant.tracepoint)
    }

    /// Whether a probe of the table is attached.
    pub fn has(&self, name: &str) -> bool {
        self.attached.iter().any(|(probe, _)| probe.name == name)
    }

    /// The kernel's count of `stat` so far.
    pub fn count(&self, stat: Stat) -> u64 {
        let counters = self.ebpf.map("COUNTERS").and_then(|map| PerCpuArray::<_, u64>::try_from(map).ok());
        let values =
            counters.filter(|_| (stat as u32) < STATS).and_then(|map| map.get(&(stat as u32), 0).ok());
        values.map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    /// Probe runs the kernel skipped; `None` where it does not count them.
    pub fn recursion_misses(&self) -> Option<u64> {
        self.attached
            .iter()
            .map(|(_, variant)| {
                let program = self.ebpf.program(variant.program)?;
                recursion_misses(std::os::fd::AsFd::as_fd(program.fd().ok()?))
            })
            .sum()
    }
}

fn load_object(btf: &Btf, settings: &Settings) -> Result<Ebpf, LoadError> {
    let roles = syscall::roles(settings.futex);
    // Absent fields stay 0: the variants that read them are chosen only where they exist.
    let offset =
        |structure, paths: &[&str]| paths.iter().find_map(|path| btf.offset_of(structure, path)).unwrap_or(0);
    let task_state = offset("task_struct", &["__state", "state"]);
    let req_ctx = offset("io_kiocb", &["ctx"]);
    let req_user_data = offset("io_kiocb", &["cqe.user_data", "user_data"]);
    EbpfLoader::new()
        .override_global("TARGET_TGID", &settings.target, true)
        .override_global("ROLES", &roles[..], true)
        .override_global("SIGNALS", &settings.signals, true)
        .override_global("TASK_STATE", &task_state, true)
        .override_global("REQ_CTX", &req_ctx, true)
        .override_global("REQ_USER_DATA", &req_user_data, true)
        .map_max_entries("RECORDS", settings.ring_bytes)
        .load(OBJECT)
        .map_err(|error| LoadError::Object(with_causes(&error)))
}

fn attach_one(
    ebpf: &mut Ebpf,
    variant: &'static Variant,
    btf: &aya::Btf,
) -> Result<&'static Variant, String> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(variant.program)
        .ok_or_else(|| format!("the object has no program {}", variant.program))?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| with_causes(&error))?;
    program.load(variant.tracepoint, btf).map_err(|error| with_causes(&error))?;
    program.attach().map_err(|error| with_causes(&error))?;
    Ok(variant)
}

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
