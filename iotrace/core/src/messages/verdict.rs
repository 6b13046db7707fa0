//! The verdict on a model: derived from what was measured, never from its name.

use crate::domain::{Meant, Phase1};
use crate::messages::operation::Operation;
use crate::messages::transfer::Transfer;
use crate::summary::Verdict;

/// Phase 1 is what the thread did for the largest part of it; phase 2 is blocked when the application's
/// own thread did more of the copying (by number of transfers where no time was left after the floors).
/// An operation is synchronous when either phase blocked the thread.
pub fn verdict(operations: &[Operation]) -> Verdict {
    let phase1 = total_phase1(operations);
    let largest = [
        (phase1.blocked_ns, Meant::Blocked),
        (phase1.polling_ns, Meant::Polling),
        (phase1.free_ns, Meant::Free),
    ];
    // max_by_key takes the last of equals; all zero (data was always there) means no thread was blocked.
    let phase1 = largest.into_iter().max_by_key(|(ns, _)| *ns).map_or(Meant::Free, |(_, meant)| meant);
    let blocked: u64 = operations.iter().map(|operation| operation.copy_blocked).sum();
    let free: u64 = operations.iter().map(|operation| operation.copy_free).sum();
    let transfers = operations.iter().flat_map(|operation| &operation.transfers);
    let (own, others): (Vec<&Transfer>, Vec<&Transfer>) =
        transfers.partition(|transfer| transfer.place.is_app());
    let app_paid = if blocked == free { own.len() >= others.len() } else { blocked > free };
    let phase2 = if app_paid { Meant::Blocked } else { Meant::Free };
    Verdict { phase1, phase2, synchronous: phase1 == Meant::Blocked || phase2 == Meant::Blocked }
}

/// Phase 1 over all operations.
pub fn total_phase1(operations: &[Operation]) -> Phase1 {
    operations.iter().fold(Phase1::default(), |sum, operation| Phase1 {
        blocked_ns: sum.blocked_ns + operation.phase1.blocked_ns,
        polling_ns: sum.polling_ns + operation.phase1.polling_ns,
        free_ns: sum.free_ns + operation.phase1.free_ns,
    })
}
