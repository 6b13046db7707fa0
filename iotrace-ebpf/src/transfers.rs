//! Counts transfers to a process by the way they came, which is what its I/O models are recognised by: whether the read
//! slept, and if not, which readiness call told of the descriptor.
//!
//! A descriptor that is registered with an epoll instance is found by the file behind it, so it does not matter which
//! thread waits and which one reads. `select` and `poll` register nothing: what they report is kept with their thread.

use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::traits::{FD, FD_SETS, READINESS, REQUESTS, moves_in};
use iotrace_ebpf::abi::{Field, WAYS_ALL, WAYS_EVERY, WayKey, per, ways};

use crate::file;
use crate::maps::{EPOLL_LISTED, PER, TRANSFERS};
use crate::memory::{peek, peek_user, read};
use crate::task::{Task, find};

/// Words of eight bytes that are read of what a `select` or `poll` reported: all of an `fd_set`, or this many entries
/// of `poll`.
const WORDS: u64 = 16;
/// Where `revents` is in a `struct pollfd`, bits.
const REVENTS: u32 = 48;
/// `EPOLLET`
const EDGE_TRIGGERED: u32 = 1 << 31;

/// Whether a call is a `select` or a `poll`: a readiness call without a descriptor of its own.
#[inline(always)]
pub fn reports(traits: u32) -> bool {
    traits & (READINESS | FD) == READINESS
}

/// Notes which descriptors a `select` or `poll` reported as readable. The kernel has written the result into the memory
/// of the process by now, and leaves the registers of the arguments as they were.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reported(tid: u64, ret: u64, first: u64, second: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    task.reported = 0;
    if ret as i64 <= 0 {
        return 0;
    }
    // select(int n, fd_set *readable, ...), poll(struct pollfd *entries, unsigned n, ...)
    let of_select = task.traits & FD_SETS != 0;
    let (start, count) = if of_select { (second, (first + 63) >> 6) } else { (first, second) };
    task.reported_by = u32::from(if of_select { ways::SELECT } else { ways::POLL });
    if count > WORDS {
        task.reported = u64::MAX;
        return 0;
    }
    let (mut set, mut entries) = (0, 0);
    for n in 0..WORDS {
        if n >= count {
            break;
        }
        let word = peek_user(start + 8 * n);
        set |= word;
        entries |= entry(word);
    }
    task.reported = if of_select { set } else { entries };
    0
}

/// The bit of the descriptor of a `struct pollfd` that has more to tell than `POLLOUT` and `POLLWRNORM`. Without a branch:
/// the verifier would follow each combination of those of 16 entries.
#[inline(always)]
fn entry(word: u64) -> u64 {
    const WRITABLE: u64 = 0x104;
    // The lowest bit tells whether any is set: the others are folded onto it.
    let mut told = word >> REVENTS & !WRITABLE;
    told |= told >> 8;
    told |= told >> 4;
    told |= told >> 2;
    told |= told >> 1;
    (told & 1) << (word & 63)
}

/// The bit of a descriptor in [`Task::reported`].
#[inline(always)]
fn bit(fd: i32) -> u64 {
    1 << (fd as u64 & 63)
}

/// Counts a call that read, if it brought data. `calls` is how many calls its row has on this CPU, `exit` when the call
/// ended, ns.
#[inline(always)]
pub fn read_by(task: &mut Task, ret: i64, exit: u64, calls: u64) {
    if !moves_in(task.traits) {
        return;
    }
    if ret == -EAGAIN {
        task.reported &= !bit(task.fd);
        return;
    }
    if ret <= 0 {
        return;
    }
    // Sleeping costs far more than looking. Of the others, the time tells which are looked at: the high bits of a
    // product with the golden ratio are as good as random.
    let mut weight = 1;
    if task.span.sleeps == 0 && calls > WAYS_ALL {
        if exit.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - WAYS_EVERY.trailing_zeros()) != 0 {
            return;
        }
        weight = WAYS_EVERY;
    }
    looked_at(u64::from(task.id), weight);
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn looked_at(tid: u64, weight: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    let file = if PER.load() == per::FD { task.file } else { file::of_descriptor(task.fd) };
    let way = if task.span.sleeps > 0 {
        if file::is_regular(file) { ways::FILE } else { ways::SLEPT }
    } else {
        told_by(task, file)
    };
    add(WayKey { tgid: task.tgid, nr: task.nr as u16, way }, weight);
    0
}

/// Which readiness call told of the data that a call read without a sleep.
#[inline(always)]
fn told_by(task: &Task, file: u64) -> u16 {
    let item = epoll_item(file);
    if item != 0 {
        let events: u32 = read(item, Field::EpitemEvents);
        return if events & EDGE_TRIGGERED != 0 { ways::EDGE } else { ways::LEVEL };
    }
    if file::is_regular(file) {
        ways::FILE
    } else if task.reported & bit(task.fd) != 0 {
        task.reported_by as u16
    } else {
        ways::UNTOLD
    }
}

/// Address of the `struct epitem` by which a file is registered with an epoll instance; of several, that of the last
/// registration; 0: it is not registered.
///
/// From 5.12 `file.f_ep` points to a `struct hlist_head`; before, `file.f_ep_links` is a `struct list_head` (both in
/// `ep_insert`, `fs/eventpoll.c`).
#[inline(always)]
fn epoll_item(file: u64) -> u64 {
    if file == 0 {
        return 0;
    }
    let head = file + crate::maps::offset(Field::FileEp);
    let mut link: u64 = peek(head);
    if EPOLL_LISTED.load() != 0 {
        if link == head {
            return 0;
        }
    } else if link != 0 {
        link = peek(link);
    }
    if link == 0 { 0 } else { link - crate::maps::offset(Field::EpitemLink) }
}

/// Counts an io_uring request that the current thread submits: in a call, or as the kernel's SQ thread, which makes
/// none.
#[inline(always)]
pub fn submitted(task: &Task) {
    let by_call = task.span.is_open() && task.traits & REQUESTS != 0;
    let way = if by_call { ways::SUBMITTED } else { ways::SQPOLL };
    add(WayKey { tgid: task.tgid, nr: 0, way }, 1);
}

#[inline(always)]
fn add(key: WayKey, weight: u64) {
    match TRANSFERS.get_ptr_mut(key) {
        // SAFETY: the value belongs to this CPU.
        Some(times) => unsafe { *times += weight },
        // Full: the models of this process stay unknown, its calls are counted all the same.
        None => drop(TRANSFERS.insert(key, weight, 0)),
    }
}
