//! The end of a call: its time goes to the sinks.

use iotrace_ebpf::abi::errno::EAGAIN;
use iotrace_ebpf::abi::kernel::protocol;
use iotrace_ebpf::abi::traits::{FD, FLAGS_FOURTH, FLAGS_THIRD, IN, OUT, PAST, message, moves_in};
use iotrace_ebpf::abi::{CallRecord, Field, Kind, PollRecord, Wake, call_flags, sinks};
use iotrace_ebpf::book;

use crate::aggregate::{self, Closed};
use crate::ends;
use crate::file;
use crate::maps::sinks_to;
use crate::memory::{pass, peek_user, read};
use crate::sink;
use crate::task::{Task, find, now};

/// Ends the open call of a thread, with what the program got from it.
#[inline(always)]
pub fn close(task: &mut Task, ret: i64, now: u64) {
    let call = ended(task, ret, now);
    if sinks_to(sinks::AGGREGATES) {
        aggregate::add(task, &call);
    }
    if sinks_to(sinks::RECORDS) {
        record(task, &call);
    }
}

/// The open call of a thread as it ended; its span is closed then.
#[inline(always)]
fn ended(task: &mut Task, ret: i64, now: u64) -> Closed {
    let (ret, now) = (pass(task, 0, ret as u64) as i64, pass(task, 1, now));
    let span = &task.span;
    let (enter, last_in, woken) = (span.enter, span.last_in, span.woken);
    let parts = task.span.exit(now);
    if ret > 0 && book::message_flags(task.traits, task.arg2, task.arg3) & message::TRUNC != 0 {
        truncated(u64::from(task.id), ret as u64);
    }
    task.flags |= learned(task);
    Closed { enter, exit: now, ret, parts, last_in, woken }
}

/// What else a call that ends was. Only one that slept for a disk, or moved pages past the process, is looked at more
/// closely.
#[inline(always)]
fn learned(task: &Task) -> u32 {
    if task.traits & PAST != 0 {
        if ends::is_input(task) { call_flags::INPUT } else { 0 }
    } else if task.span.disks != 0 {
        learned_of_disk(u64::from(task.id)) as u32
    } else {
        0
    }
}

/// Whether the disk moved the data of a call itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn learned_of_disk(tid: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    let data = task.traits & FD != 0 && task.traits & (IN | OUT) != 0;
    if data && file::is_direct(file::of_descriptor(task.fd)) { u64::from(call_flags::DIRECT) } else { 0 }
}

/// [`close`] where it is rare, in global functions (`main.rs`), one after the other: before 6.13 the frames of functions
/// that call each other must fit into 512 bytes.
#[inline(always)]
pub fn close_rarely(task: &Task, ret: i64, now: u64) {
    let (tid, ret) = (u64::from(task.id), ret as u64);
    let enter = end_apart(tid, ret, now);
    if sinks_to(sinks::AGGREGATES) {
        sum_apart(tid, enter, now, ret);
    }
    if sinks_to(sinks::RECORDS) {
        record_apart(tid, enter, now, ret);
    }
}

/// [`close_rarely`] at this moment.
#[inline(always)]
pub fn close_now(task: &Task, ret: i64) {
    close_rarely(task, ret, now());
}

/// [`ended`] by [`Task::id`]: when the call began, ns.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn end_apart(tid: u64, ret: u64, now: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    ended(task, ret as i64, now).enter
}

/// Adds a call to the sums whose span was closed just now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum_apart(tid: u64, enter: u64, exit: u64, ret: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    let call = closed(task, enter, exit, ret);
    aggregate::add(task, &call);
    1
}

/// Sends the record of a call whose span was closed just now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record_apart(tid: u64, enter: u64, exit: u64, ret: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    record(task, &closed(task, enter, exit, ret));
    1
}

/// What [`ended`] told of a call, by what its closed span still has.
#[inline(always)]
fn closed(task: &Task, enter: u64, exit: u64, ret: u64) -> Closed {
    let span = &task.span;
    let parts = span.parts(enter, exit);
    Closed { enter, exit, ret: ret as i64, parts, last_in: span.last_in, woken: span.woken }
}

/// Corrects the bytes of a receive with `MSG_TRUNC`, which returns more than it copied: on TCP it copies nothing and
/// drops the bytes, and elsewhere it returns the length of the datagram.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn truncated(tid: u64, ret: u64) -> u64 {
    let Some(task) = find(tid as u32) else { return 0 };
    // `tcp_rcv_space_adjust` names the socket on every kernel.
    if task.sock != 0 && read::<u16>(task.sock, Field::SockProtocol) == protocol::TCP {
        task.recv_bytes = 0;
        return 0;
    }
    let room = match task.traits & (FLAGS_THIRD | FLAGS_FOURTH) {
        FLAGS_FOURTH => task.arg2,
        _ => room(task.arg1),
    };
    task.recv_bytes = if ret < room { ret } else { room };
    0
}

/// Room in the buffers of a `struct user_msghdr` of the program: its `msg_iov` is at 16, `msg_iovlen` at 24. The first
/// eight buffers count.
#[inline(always)]
fn room(message: u64) -> u64 {
    let (buffers, count): (u64, u64) = (peek_user(message + 16), peek_user(message + 24));
    let mut room = 0;
    for n in 0..8 {
        if n < count {
            room += peek_user::<u64>(buffers + 16 * n + 8);
        }
    }
    room
}

#[inline(always)]
fn record(task: &Task, call: &Closed) {
    let span = &task.span;
    let parts = call.parts;
    let undisturbed = parts.total == parts.work && span.before_runq == 0 && span.before_sleep == 0;
    let as_usual = task.flags == 0 && task.restarts == 0;
    if call.ret == -EAGAIN && moves_in(task.traits) && undisturbed && as_usual {
        let head = task.head(Kind::Poll, call.exit);
        sink::emit(PollRecord { head, enter: call.enter, nr: task.nr, fd: task.fd });
        return;
    }
    let known = call.woken != 0 && task.wake.at == call.woken;
    sink::emit(CallRecord {
        head: task.head(Kind::Call, call.exit),
        enter: call.enter,
        parts,
        ret: call.ret,
        nr: task.nr,
        fd: task.fd,
        arg2: task.arg2,
        arg3: task.arg3,
        first_out: span.first_out,
        last_in: if call.last_in > call.enter { call.last_in } else { call.enter },
        copy_first: span.copy_first,
        copy_last: span.copy_last,
        copy_bytes: span.copy_bytes,
        recv_at: task.recv_at,
        sock: task.sock,
        wake: if known { task.wake } else { Wake { at: call.woken, ..Wake::default() } },
        sleeps: span.sleeps,
        disks: span.disks,
        locks: span.locks,
        preempts: span.preempts,
        copies: span.copies,
        recv_bytes: task.recv_bytes,
        before_runq: span.before_runq,
        before_sleep: span.before_sleep,
        pickup: task.pickup,
        floors: task.floors,
        arg1: task.arg1,
        restarts: task.restarts,
        flags: task.flags,
        reserved: 0,
    });
}
