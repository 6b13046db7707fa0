//! What libc and `/proc` tell of this machine and its processes, and how a command is started.

pub mod bounded;
pub mod check;
pub mod clock;
pub mod diag;
pub mod fd;
pub mod kallsyms;
pub mod launch;
pub mod namespaces;
pub mod networks;
pub mod priority;
pub mod proc;
pub mod sockets;
pub mod stderr;

/// Property tests of parsers take the same inputs every time: a failure can be had again, and none comes by chance.
#[cfg(test)]
pub(crate) fn fixed() -> proptest::prelude::ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(12);
    proptest::prelude::ProptestConfig { rng_seed, failure_persistence: None, ..Default::default() }
}
