//! An empty program at the enter and exit of every syscall: the least that observing calls can cost. `cargo xtask
//! bench` compares iotrace with it.

use aya::{Ebpf, EbpfLoader};

use super::attach::{LoadError, OBJECT, attach_one, kernel_btf};
use super::hook::with_causes;
use super::probes::{Hook, Shape, Variant};

static PAIR: [Variant; 2] = [empty("floor_exit", "sys_exit"), empty("floor_enter", "sys_enter")];

const fn empty(program: &'static str, tracepoint: &'static str) -> Variant {
    Variant { program, tracepoint, hook: Hook::Tracepoint, shape: Shape::Begins(&[]) }
}

/// The empty pair, attached. Dropping it detaches both.
pub struct Floor {
    _ebpf: Ebpf,
}

impl Floor {
    /// Attaches the pair.
    ///
    /// # Errors
    /// The kernel refuses the object or one of the two programs.
    pub fn attach() -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let object = |error: &dyn std::error::Error| LoadError::Object(with_causes(error));
        // The object's maps come with it: as small as they can be.
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("RECORDS", 4096)
            .map_max_entries("ROWS", 1)
            .load(OBJECT)
            .map_err(|error| object(&error))?;
        let btf = kernel_btf()?;
        for variant in &PAIR {
            attach_one(&mut ebpf, variant, btf).map_err(|why| LoadError::Required {
                probe: variant.tracepoint,
                why,
                lost: "the floor",
            })?;
        }
        Ok(Self { _ebpf: ebpf })
    }
}
