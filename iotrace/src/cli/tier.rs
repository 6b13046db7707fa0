//! The values of `--tier`: which hooks time the copy.

use clap::ValueEnum;

use crate::bpf::settings::Wish;

/// Hooks that time the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// Function hooks where the kernel allows them, else tracepoints.
    #[default]
    Auto,
    /// Function hooks; an error says why if the kernel does not allow them.
    Exact,
    /// Tracepoints only.
    Tracepoint,
}

impl TierArg {
    /// The wish of the loader that this value stands for.
    pub fn wish(self) -> Wish {
        match self {
            TierArg::Auto => Wish::Auto,
            TierArg::Exact => Wish::Exact,
            TierArg::Tracepoint => Wish::Tracepoint,
        }
    }
}
