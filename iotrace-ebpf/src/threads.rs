//! Where the state of threads lies: found by thread id, without a helper call, on every kernel.
//!
//! A hash map would cost a call, a hash and a walk at every enter, exit, switch and wake-up (and task
//! storage came in 5.11); here it is four ids that lie side by side, and an array index. Ids are given out
//! in order, so they spread evenly. A thread whose set is full goes into a hash map after all.

use aya_ebpf::bindings::BPF_NOEXIST;
use iotrace_ebpf::abi::Stat;
use iotrace_ebpf::thread::{Task, WAYS, mark_of, set_of};

use crate::maps::{CLAIMS, NEW_TASK, OVERFLOW, OVERFLOWN, PLACES, TASKS, count};

/// The thread with this id, if it is known.
#[inline(always)]
pub fn find(tid: u32) -> Option<&'static mut Task> {
    let set = set_of(tid);
    let marks = PLACES.get_ptr(set)?;
    // SAFETY: the value lives as long as the map.
    let marks = unsafe { &*marks };
    let mark = mark_of(tid);
    let way = if marks[0] == mark {
        0
    } else if marks[1] == mark {
        1
    } else if marks[2] == mark {
        2
    } else if marks[3] == mark {
        3
    } else {
        return overflown(tid);
    };
    // SAFETY: the value lives as long as the map; no other program writes these fields at the same time
    // (see `Task`).
    TASKS.get_ptr_mut(set * WAYS as u32 + way).map(|task| unsafe { &mut *task })
}

/// A thread that found its set full is elsewhere, even if its set has room by now.
#[inline(always)]
fn overflown(tid: u32) -> Option<&'static mut Task> {
    // SAFETY: one word that changes once.
    if OVERFLOWN.get_ptr(0).is_none_or(|flag| unsafe { *flag } == 0) {
        return None;
    }
    // SAFETY: as above.
    OVERFLOW.get_ptr_mut(tid).map(|task| unsafe { &mut *task })
}

/// Makes room for a thread, zeroed.
#[inline(always)]
pub fn insert(tid: u32) -> Option<&'static mut Task> {
    // SAFETY: the template is only ever read.
    let template = NEW_TASK.get_ptr(0).map(|template| unsafe { &*template })?;
    let set = set_of(tid);
    let marks = PLACES.get_ptr_mut(set)?;
    for way in 0..WAYS {
        let place = set * WAYS as u32 + way as u32;
        // SAFETY: as in `find`; a place belongs to whoever claimed it.
        unsafe {
            if (*marks)[way] == 0 && CLAIMS.insert(place, 0, u64::from(BPF_NOEXIST)).is_ok() {
                // By a helper: an assignment is a loop over its bytes, which the verifier walks in every
                // program that can get here.
                TASKS.set(place, template, 0).ok()?;
                // Last: from here on others find it.
                (*marks)[way] = mark_of(tid);
                return TASKS.get_ptr_mut(place).map(|task| &mut *task);
            }
        }
    }
    if OVERFLOW.insert(tid, template, 0).is_err() {
        count(Stat::TasksFull);
        return None;
    }
    if let Some(flag) = OVERFLOWN.get_ptr_mut(0) {
        // SAFETY: whoever writes it writes the same.
        unsafe { *flag = 1 };
    }
    // SAFETY: as in `find`.
    OVERFLOW.get_ptr_mut(tid).map(|task| unsafe { &mut *task })
}

/// Forgets a thread.
#[inline(always)]
pub fn remove(tid: u32) {
    let set = set_of(tid);
    let Some(marks) = PLACES.get_ptr_mut(set) else { return };
    for way in 0..WAYS {
        // SAFETY: as in `find`.
        unsafe {
            if (*marks)[way] == mark_of(tid) {
                (*marks)[way] = 0;
                // Its place was claimed when it came.
                let _ = CLAIMS.remove(set * WAYS as u32 + way as u32);
                return;
            }
        }
    }
    // Nothing to do where it is not there either.
    let _ = OVERFLOW.remove(tid);
}
