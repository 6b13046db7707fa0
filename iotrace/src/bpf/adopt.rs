//! Begins to account for the whole time of threads that are there already: the probes see those that are born later.
//!
//! A thread is taken over first and looked at afterwards: what happens to it in between, its probes tell.

use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun};
use iotrace_ebpf::abi::{LifeKey, adopt};
use iotrace_ebpf::span::Off;

use super::attach::LoadError;
use super::btf::Btf;
use super::hook::with_causes;
use super::ids;
use super::loader::Observer;
use crate::host::proc::{self, Doing};

impl Observer {
    /// Loads the program that takes threads over.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn begin_lives(&mut self) -> Result<(), LoadError> {
        self.adopter()
            .and_then(RawTracePoint::load)
            .map_err(|error| LoadError::Object(format!("accounting for threads: {}", with_causes(&error))))
    }

    /// Accounts for the time of a thread from now on.
    ///
    /// # Errors
    /// The kernel refuses the program that does so, or the one that translates ids.
    pub fn adopt(&mut self, btf: &Btf, pid: u32, tid: u32) -> Result<(), LoadError> {
        if proc::doing(pid, tid).is_none() {
            return Ok(());
        }
        let Some(kernel) = ids::kernel_id(btf, tid)? else { return Ok(()) };
        let failed = |error: ProgramError| {
            LoadError::Object(format!("accounting for threads: {}", with_causes(&error)))
        };
        self.run([adopt::BEGIN, kernel.into(), tid.into(), pid.into()]).map_err(failed)?;
        let (off, what) = match proc::doing(pid, tid) {
            // It has ended, perhaps before it was taken over: then no probe tells so any more.
            None => return self.run([adopt::FORGET, kernel.into(), 0, 0]).map_err(failed),
            Some(Doing::Runs) => return Ok(()),
            Some(Doing::Stopped) => (Off::Stopped, None),
            Some(Doing::Sleeps(nr)) => (Off::Wait, nr),
            // `/proc` does not tell the disk from a lock.
            Some(Doing::SleepsDeep(nr)) => (Off::Disk, nr),
        };
        let what = what.unwrap_or(LifeKey::NONE);
        self.run([adopt::SETTLE, kernel.into(), off as u64, what.into()]).map_err(failed)
    }

    fn adopter(&mut self) -> Result<&mut RawTracePoint, ProgramError> {
        self.program_mut("adopt").ok_or(ProgramError::NotLoaded)?.try_into()
    }

    fn run(&mut self, arguments: [u64; 4]) -> Result<(), ProgramError> {
        let mut options = RawTracePointRunOptions::new();
        options.args[..4].copy_from_slice(&arguments);
        self.adopter()?.test_run(options).map(drop)
    }
}
