//! Sends records of fixed size to user space through one ring buffer.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::maps::ring_buf::RingBufEntry;
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

/// Room for a record in the ring buffer, of zeros; `None` (and counted as lost) where it is full. What is asked for must
/// be sent.
#[inline(always)]
pub fn zeroed<T: 'static>() -> Option<RingBufEntry<T>> {
    let Some(mut slot) = RECORDS.reserve::<T>(0) else {
        maps::count(Stat::RecordsLost);
        return None;
    };
    let words = slot.as_mut_ptr().cast::<u64>();
    for n in 0..size_of::<T>() / 8 {
        // SAFETY: the room is as large as a record. Volatile: see `iotrace_ebpf::span::zero`.
        unsafe { words.add(n).write_volatile(0) };
    }
    Some(slot)
}

/// Sends a record that was made in the ring buffer.
#[inline(always)]
pub fn send<T: 'static>(slot: RingBufEntry<T>) {
    slot.submit(u64::from(BPF_RB_NO_WAKEUP));
}
