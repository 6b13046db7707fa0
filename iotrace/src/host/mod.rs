//! What libc and `/proc` tell of this machine and its processes, and how a command is started.

pub mod accounts;
pub mod bounded;
pub mod check;
pub mod clock;
pub mod cpus;
pub mod diag;
pub mod fd;
pub mod identity;
pub mod inherited;
pub mod kallsyms;
pub mod kernel;
pub mod launch;
pub mod namespaces;
pub mod networks;
pub mod output;
pub mod priority;
pub mod privileges;
pub mod proc;
pub mod quota;
pub mod running;
pub mod signals;
pub mod sockets;
pub mod stderr;
pub mod terminal;

/// Property tests of parsers take the same inputs every time: a failure can be had again, and none comes by chance.
#[cfg(test)]
pub(crate) fn fixed() -> proptest::prelude::ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(12);
    proptest::prelude::ProptestConfig { rng_seed, failure_persistence: None, ..Default::default() }
}
