//! `--tier`.

use clap::ValueEnum;

use crate::bpf::settings::Wish;

/// Which hooks time the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// Function hooks where the kernel takes them, else tracepoints.
    #[default]
    Auto,
    /// Function hooks, or an error that says why not.
    Exact,
    /// Tracepoints; function hooks are not tried.
    Tracepoint,
}

impl TierArg {
    /// As the loader takes it.
    pub fn wish(self) -> Wish {
        match self {
            TierArg::Auto => Wish::Auto,
            TierArg::Exact => Wish::Exact,
            TierArg::Tracepoint => Wish::Tracepoint,
        }
    }
}
