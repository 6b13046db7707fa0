//! The words that everything speaks: models, syscalls, roles, descriptors, probes, losses, distributions, and what a
//! workload is asked and answers. Imports no other room.

pub mod dist;
mod fd;
mod loss;
pub mod model;
pub mod name;
mod probe;
mod ready;
mod role;
pub mod spec;
pub mod syscall;
mod tier;
pub mod traffic;

pub use self::fd::{Fd, Triggers, WaitsFor};
pub use self::loss::Loss;
pub use self::probe::ProbeId;
pub use self::ready::{Meant, Phase1, ReadySource};
pub use self::role::{CopySource, Direction, Role, ThreadRole};
pub use self::tier::Tier;
