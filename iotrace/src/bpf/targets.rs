//! The processes and threads of the target, as the probes have them: they add children and take out who has ended.

use std::collections::HashSet;

use aya::maps::{Array, HashMap as BpfHashMap};
use iotrace_ebpf::abi::MAYBE;

use super::attach::{LoadError, full};
use super::btf::Btf;
use super::hook::with_causes;
use super::ids;
use super::loader::Observer;

/// Members of the target that have not ended, by their ids in the pid namespace of iotrace; 0 stands for an id that was
/// not to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Processes that were named, and followed ones.
    pub processes: HashSet<u32>,
    /// Threads that were named.
    pub threads: HashSet<u32>,
}

/// The map of processes, and that of threads.
const PROCESSES: &str = "TGIDS";
const THREADS: &str = "TIDS";

impl Observer {
    /// Members of the target that have not ended.
    pub fn members(&self) -> Members {
        let of = |name| {
            let map = self.map(name).and_then(|map| BpfHashMap::<_, u32, u32>::try_from(map).ok());
            map.map_or_else(HashSet::new, |map| map.iter().flatten().map(|(_, shown)| shown).collect())
        };
        Members { processes: of(PROCESSES), threads: of(THREADS) }
    }

    /// Adds processes to the target; those that are gone are left out.
    ///
    /// # Errors
    /// The list of processes is full, or the kernel refuses the program that translates ids.
    pub fn add_processes(&mut self, btf: &Btf, shown: &[u32]) -> Result<(), LoadError> {
        for &shown in shown {
            let Some(kernel) = ids::kernel_id(btf, shown)? else { continue };
            let refused = |error: &dyn std::error::Error| LoadError::Object(with_causes(error));
            let map = self.map_mut(PROCESSES).map(BpfHashMap::<_, u32, u32>::try_from);
            let mut list = map
                .ok_or_else(|| LoadError::Object(format!("the object has no map {PROCESSES}")))?
                .map_err(|error| refused(&error))?;
            list.insert(kernel, shown, 0)
                .map_err(|error| full(&error, PROCESSES).unwrap_or_else(|| refused(&error)))?;
            let filter = self.map_mut("MAYBE_TGIDS").map(Array::<_, u8>::try_from);
            if let Some(Ok(mut filter)) = filter {
                filter.set(kernel & (MAYBE - 1), 1, 0).map_err(|error| refused(&error))?;
            }
        }
        Ok(())
    }

    /// Takes processes and threads out of the target that it does not mean: their numbers were given to others.
    pub fn remove_members(&mut self, strangers: &HashSet<u32>) {
        for name in [PROCESSES, THREADS] {
            let map = self.map_mut(name).map(BpfHashMap::<_, u32, u32>::try_from);
            let Some(Ok(mut map)) = map else { continue };
            let theirs: Vec<u32> = map
                .iter()
                .flatten()
                .filter(|(_, shown)| strangers.contains(shown))
                .map(|(kernel, _)| kernel)
                .collect();
            for kernel in theirs {
                // One that has ended meanwhile is gone already.
                let _ = map.remove(&kernel);
            }
        }
    }
}
