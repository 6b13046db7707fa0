//! Stores the state of threads, found by thread id without a helper call.
//!
//! A hash map would cost a helper call, a hash and a walk at every enter, exit, switch and wake-up, and storage per
//! task (`BPF_MAP_TYPE_TASK_STORAGE`) serves tracing programs only from 5.11. Here a look-up compares four ids that lie
//! side by side in `PLACES` and indexes an array. The kernel gives out thread ids in order, so they spread evenly over
//! the sets. A thread whose set is full lives in `OVERFLOW`.

use aya_ebpf::bindings::BPF_NOEXIST;
use iotrace_ebpf::abi::Stat;
use iotrace_ebpf::thread::{Task, WAYS, mark_of, set_of};

use crate::maps::{CLAIMS, NEW_TASK, OVERFLOW, OVERFLOWN, PLACES, TASKS, count};

/// The state of the thread with this id, if it has one.
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

/// The state of a thread that found its set full: it stays in `OVERFLOW`, even if its set has room by now.
#[inline(always)]
fn overflown(tid: u32) -> Option<&'static mut Task> {
    // SAFETY: one word that changes once.
    if OVERFLOWN.get_ptr(0).is_none_or(|flag| unsafe { *flag } == 0) {
        return None;
    }
    // SAFETY: as above.
    OVERFLOW.get_ptr_mut(tid).map(|task| unsafe { &mut *task })
}

/// Makes a zeroed state for a thread; `None` (and counted) where neither its set nor `OVERFLOW` has room.
#[inline(always)]
pub fn insert(tid: u32) -> Option<&'static mut Task> {
    // SAFETY: the template is only ever read.
    let template = NEW_TASK.get_ptr(0).map(|template| unsafe { &*template })?;
    let set = set_of(tid);
    let marks = PLACES.get_ptr_mut(set)?;
    for way in 0..WAYS {
        let place = set * WAYS as u32 + way as u32;
        // SAFETY: as in `find`; a place belongs to the one caller whose insert succeeded.
        unsafe {
            if (*marks)[way] == 0 && CLAIMS.insert(place, 0, u64::from(BPF_NOEXIST)).is_ok() {
                // By a helper: the compiler turns an assignment into a loop over bytes, and the verifier follows
                // every round of it in every program that can get here.
                TASKS.set(place, template, 0).ok()?;
                // Last, because `find` succeeds from here on.
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
        // SAFETY: one word, and every writer writes the same value.
        unsafe { *flag = 1 };
    }
    // SAFETY: as in `find`.
    OVERFLOW.get_ptr_mut(tid).map(|task| unsafe { &mut *task })
}

/// Removes the state of a thread, if it has one.
#[inline(always)]
pub fn remove(tid: u32) {
    let set = set_of(tid);
    let Some(marks) = PLACES.get_ptr_mut(set) else { return };
    for way in 0..WAYS {
        // SAFETY: as in `find`.
        unsafe {
            if (*marks)[way] == mark_of(tid) {
                (*marks)[way] = 0;
                // It cannot fail: `insert` made the claim.
                let _ = CLAIMS.remove(set * WAYS as u32 + way as u32);
                return;
            }
        }
    }
    // It fails for a thread that never had a state.
    let _ = OVERFLOW.remove(tid);
}
