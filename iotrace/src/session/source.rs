//! Where the batches of a trace come from. Those of a tape are read by `iotrace_core::messages::replay`.

use iotrace_core::rows::batch::{Batch, Closes};
use iotrace_core::rows::ledger::Ledger;

/// What a batch is to have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Records only.
    Records,
    /// Records, and what keeps the room for sums.
    Sums,
    /// What the first interval begins with.
    Begin,
    /// What the result of an interval needs.
    Interval,
    /// What the whole result needs.
    Whole,
}

impl Want {
    /// The result that such a batch closes, if it closes one.
    pub fn closes(self) -> Option<Closes> {
        match self {
            Want::Records | Want::Sums => None,
            Want::Begin => Some(Closes::Begin),
            Want::Interval => Some(Closes::Interval),
            Want::Whole => Some(Closes::Whole),
        }
    }
}

/// Gives batches of a trace that is going on.
pub trait Source {
    /// Everything since the last batch. The ledger says what is known already.
    fn batch(&mut self, want: Want, ledger: &Ledger) -> Batch;

    /// Whether there is nothing left to observe.
    fn is_over(&self) -> bool;
}
