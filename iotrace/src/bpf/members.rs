//! Members of the target, before anything is attached.

use aya::Ebpf;
use aya::maps::{Array, HashMap};
use iotrace_ebpf::abi::MAYBE;

use super::attach::{LoadError, full};
use super::btf::Btf;
use super::hook::with_causes;
use super::ids;

/// The ids of processes or threads in both pid namespaces; those that are gone by now are left out.
pub(super) fn kernel_ids(btf: &Btf, shown: &[u32]) -> Result<Vec<Member>, LoadError> {
    let mut members = Vec::new();
    for &shown in shown {
        members.extend(ids::kernel_id(btf, shown)?.map(|kernel| Member { kernel, shown }));
    }
    Ok(members)
}

/// A process or thread of the target.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Its id in the initial pid namespace.
    pub(super) kernel: u32,
    /// Its id in that of iotrace.
    pub(super) shown: u32,
}

/// Puts members of the target into a set, before anything looks there.
pub(super) fn fill(ebpf: &mut Ebpf, map: &str, members: &[Member]) -> Result<(), LoadError> {
    let found = ebpf.map_mut(map).ok_or_else(|| LoadError::Object(format!("the object has no map {map}")))?;
    let mut set =
        HashMap::<_, u32, u32>::try_from(found).map_err(|error| LoadError::Object(with_causes(&error)))?;
    for member in members {
        set.insert(member.kernel, member.shown, 0)
            .map_err(|error| full(&error, map).unwrap_or_else(|| LoadError::Object(with_causes(&error))))?;
    }
    Ok(())
}

/// Sets the filter before the list of processes.
pub(super) fn mark(ebpf: &mut Ebpf, members: &[Member]) -> Result<(), LoadError> {
    let name = "MAYBE_TGIDS";
    let found =
        ebpf.map_mut(name).ok_or_else(|| LoadError::Object(format!("the object has no map {name}")))?;
    let mut filter =
        Array::<_, u8>::try_from(found).map_err(|error| LoadError::Object(with_causes(&error)))?;
    for member in members {
        filter
            .set(member.kernel & (MAYBE - 1), 1, 0)
            .map_err(|error| LoadError::Object(with_causes(&error)))?;
    }
    Ok(())
}
