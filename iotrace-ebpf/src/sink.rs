//! Sends records of fixed size to user space through one ring buffer.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use iotrace_ebpf::abi::Stat;

use crate::maps::{self, RECORDS};

/// Sends one record, or counts it as lost. Never wakes the reader: it drains on a timer, because a
/// wake-up costs the traced thread more than all of the rest.
#[inline(always)]
pub fn emit<T: 'static>(record: T) {
    match RECORDS.reserve::<T>(0) {
        Some(mut slot) => {
            slot.write(record);
            slot.submit(u64::from(BPF_RB_NO_WAKEUP));
        }
        None => maps::count(Stat::RecordsLost),
    }
}
