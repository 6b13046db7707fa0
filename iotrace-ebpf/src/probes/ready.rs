//! `sk_data_ready` and `sock_recv_length` (both from 6.3): when data became ready, and when a receive ended.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::kernel::{family, protocol};
use iotrace_ebpf::abi::traits::moves_in;
use iotrace_ebpf::abi::{Field, Kind, ReadyRecord, RecvRecord, SockState, Stat, fault, queues, sinks};

use super::copy::{Floor, ended};
use crate::ids;
use crate::maps::{LAST_READY, LastReady, SOCKS, count, sinks_to};
use crate::sink;
use crate::task::{Task, arg, current, current_address, field_of, mark, now, read};

/// `(const struct sock *sk)`: data was queued; the sleepers are woken right after it.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    readied(arg(&ctx, 0), || field_of(&ctx, 0, Field::SockQlen))
}

/// Notes that data was queued on a socket, and sends a record of it.
#[inline(always)]
pub(super) fn readied(sock: u64, receive_queue: impl FnOnce() -> u32) -> i32 {
    let at = mark(fault::READY, now());
    if let Some(last) = LAST_READY.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU.
        unsafe { *last = LastReady { sock, at, task: current_address() } };
    }
    let Some(state) = SOCKS.get_ptr_mut(sock) else { return 0 };
    // SAFETY: the value stays valid while the probe runs; a reader that drains the socket at this very
    // moment may clear `ready`, and then this data counts as taken by it.
    let state = unsafe { &mut *state };
    // A reader on another CPU may have taken the data already, since it is queued before `sk_data_ready`.
    if state.ready == 0 && (state.queues == queues::OTHER || has_data(sock, state, receive_queue())) {
        state.ready = at;
    }
    state.last = at;
    if sinks_to(sinks::RECORDS) {
        let pid_tgid = ids::current(aya_ebpf::helpers::bpf_get_current_pid_tgid());
        let mut head = iotrace_ebpf::abi::Head { kind: Kind::Ready as u32, at, ..Default::default() };
        head.tid = pid_tgid as u32;
        head.tgid = (pid_tgid >> 32) as u32;
        sink::emit(ReadyRecord { head, sock });
    }
    0
}

/// `(struct sock *sk, int ret, int flags)`: after every `sock_recvmsg`, failed ones too.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    received(arg(&ctx, 1) as i32, || arg(&ctx, 0), |_| field_of(&ctx, 0, Field::SockQlen))
}

/// Notes that a receive has returned: what it read, and the end of its copy.
#[inline(always)]
pub(super) fn received(ret: i32, sock: impl FnOnce() -> u64, receive_queue: impl FnOnce(u64) -> u32) -> i32 {
    // No data: of use only to records, which tell of failed copies too.
    if ret <= 0 && !sinks_to(sinks::RECORDS) {
        return 0;
    }
    let Some(task) = current() else { return 0 };
    let at = now();
    let sock = sock();
    match SOCKS.get_ptr_mut(sock) {
        // SAFETY: as in `readied`.
        Some(state) if ret > 0 => picked_up(task, sock, unsafe { &mut *state }, receive_queue(sock)),
        Some(_) => {}
        None => remember(sock, 0, Some(receive_queue(sock))),
    }
    // An skb that was not used up (AF_UNIX), or was freed elsewhere (UDP), left its copy open.
    ended(task, at, sock, Floor::Receive);
    task.sock = sock;
    task.recv_at = at;
    if ret > 0 {
        task.recv_bytes += ret as u64;
    }
    if sinks_to(sinks::RECORDS) && (!task.span.is_open() || !moves_in(task.traits)) {
        let (last_in, nr) = (task.span.last_in, task.open_nr());
        sink::emit(RecvRecord { head: task.head(Kind::Recv, at), sock, last_in, ret, nr });
    }
    0
}

/// A call reads from a socket: notes how long the data had been ready when that call started. Data that it leaves
/// behind has been there at least since the last `sk_data_ready`.
#[inline(always)]
fn picked_up(task: &mut Task, sock: u64, state: &mut SockState, receive_queue: u32) {
    if state.ready != 0 && task.span.is_open() {
        let (enter, last_in) = (task.span.enter, task.span.last_in);
        let come = if enter >= state.ready || last_in < enter { enter } else { last_in };
        task.pickup = come.saturating_sub(state.ready) + 1;
    } else if state.emptied != 0 && state.last != 0 && task.span.is_open() {
        // The kernel queues data before it calls `sk_data_ready`, and the reader took it in between: no delay.
        task.pickup = 1;
    }
    left(sock, state, receive_queue);
}

/// Notes whether a read has left data in the socket.
#[inline(always)]
fn left(sock: u64, state: &mut SockState, receive_queue: u32) {
    if has_data(sock, state, receive_queue) {
        state.ready = state.last;
    } else {
        state.ready = 0;
        state.emptied = u32::from(state.queues != queues::OTHER);
    }
}

/// Whether data waits in a socket, one of whose queues holds this many buffers.
#[inline(always)]
fn has_data(sock: u64, state: &SockState, receive_queue: u32) -> bool {
    receive_queue != 0 || state.queues == queues::UDP && read::<u32>(sock, Field::UdpReaderQlen) != 0
}

/// Makes a socket known in which data has waited since `ready` (0: none does). A reader knows how many
/// buffers it left in the receive queue.
#[inline(always)]
pub(super) fn remember(sock: u64, ready: u64, receive_queue: Option<u32>) {
    let queues = match (read(sock, Field::SockFamily), read(sock, Field::SockProtocol)) {
        (family::INET | family::INET6, protocol::UDP) => queues::UDP,
        (family::INET | family::INET6, protocol::TCP) | (family::UNIX, _) => queues::RECEIVE,
        _ => queues::OTHER,
    };
    let mut state = SockState { ready, last: ready, queues, emptied: 0 };
    if let Some(receive_queue) = receive_queue {
        left(sock, &mut state, receive_queue);
    }
    if SOCKS.insert(sock, state, 0).is_err() {
        count(Stat::SocksFull);
    }
}
