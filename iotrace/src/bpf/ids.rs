//! Ids of processes and threads as the probes know them, which is by the initial pid namespace, from those that `/proc`
//! shows here. In a pid namespace nothing in `/proc` tells the former: a program of ours asks the kernel.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsRawFd;

use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun};
use aya::{Ebpf, EbpfLoader};
use iotrace_ebpf::abi::question;

use super::attach::{LoadError, OBJECT, kernel_btf};
use super::btf::Btf;
use super::hook::with_causes;
use super::settings::offsets;
use crate::host::namespaces;

/// The pid namespace of iotrace, as the probes recognise it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Number of namespaces around it; 0: it is the initial one.
    pub level: u32,
    /// Address of its `struct pid_namespace`; 0 for the initial one, where nobody compares it.
    pub address: u64,
}

thread_local! {
    /// The program that translates, once one is needed. Its maps have a few pages.
    static TRANSLATOR: RefCell<Option<Translator>> = const { RefCell::new(None) };
}

/// The loaded program.
struct Translator {
    ebpf: Ebpf,
}

/// The pid namespace of this process.
///
/// # Errors
/// The kernel refuses the program that asks.
pub fn namespace(btf: &Btf) -> Result<Namespace, LoadError> {
    if namespaces::pid_is_initial() {
        return Ok(Namespace::default());
    }
    let own = std::process::id();
    let level = ask(btf, question::LEVEL, own)?.unwrap_or(0);
    let low = ask(btf, question::NAMESPACE_LOW, own)?.unwrap_or(0);
    let high = ask(btf, question::NAMESPACE_HIGH, own)?.unwrap_or(0);
    if level == 0 || high == 0 {
        return Err(LoadError::Object("the kernel does not tell iotrace's pid namespace".to_owned()));
    }
    Ok(Namespace { level, address: u64::from(high) << 32 | u64::from(low) })
}

/// The id of a process or thread in the initial pid namespace; `None` where it is gone.
///
/// # Errors
/// The kernel refuses the program that asks.
pub fn kernel_id(btf: &Btf, shown: u32) -> Result<Option<u32>, LoadError> {
    if namespaces::pid_is_initial() {
        return Ok(Some(shown));
    }
    ask(btf, question::ID, shown)
}

fn ask(btf: &Btf, asked: u64, shown: u32) -> Result<Option<u32>, LoadError> {
    // Threads have such a directory too, though it is not listed: `proc_pid_lookup` (`fs/proc/base.c`).
    let Ok(directory) = File::open(format!("/proc/{shown}")) else { return Ok(None) };
    TRANSLATOR.with_borrow_mut(|translator| {
        if translator.is_none() {
            *translator = Some(Translator::load(btf)?);
        }
        let Some(Translator { ebpf }) = translator else { return Ok(None) };
        let answer = run(ebpf, asked, directory.as_raw_fd() as u64)
            .map_err(|error| LoadError::Object(format!("asking for ids: {}", with_causes(&error))))?;
        Ok((answer != 0).then_some(answer))
    })
}

impl Translator {
    fn load(btf: &Btf) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let offsets = offsets(btf);
        let mut loader = EbpfLoader::new();
        loader.btf(Some(kernel_btf()?)).override_global("OFFSETS", &offsets[..], true);
        // The object's maps come with it: as small as they can be.
        loader.map_max_entries("RECORDS", 4096);
        for map in [
            "TASKS", "CLAIMS", "OVERFLOW", "TGIDS", "TIDS", "SOCKS", "RINGS", "ROWS", "ERRORS", "WAKES",
            "LIVES", "TAKEN", "PEERS",
        ] {
            loader.map_max_entries(map, 1);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| LoadError::Object(with_causes(&error)))?;
        program(&mut ebpf)
            .and_then(RawTracePoint::load)
            .map_err(|error| LoadError::Object(format!("asking for ids: {}", with_causes(&error))))?;
        Ok(Self { ebpf })
    }
}

fn run(ebpf: &mut Ebpf, asked: u64, fd: u64) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args[..2].copy_from_slice(&[asked, fd]);
    Ok(program(ebpf)?.test_run(options)?.return_value)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, ProgramError> {
    ebpf.program_mut("translate").ok_or(ProgramError::NotLoaded)?.try_into()
}
