//! `sk_data_ready` and `sock_recv_length` (both from 6.3): when data became ready, and when a receive ended.
//!
//! What is known of a socket ends with it. Its address is given out again at once, so each socket is told by its cookie
//! (`__sock_gen_cookie`, `net/core/sock_diag.c`), which no other has until the machine restarts.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::errno::{EAGAIN, EINTR, is_restart};
use iotrace_ebpf::abi::kernel::{family, protocol, tcp_state};
use iotrace_ebpf::abi::traits::{message, moves_in};
use iotrace_ebpf::abi::{Field, Kind, ReadyRecord, RecvRecord, SockState, Stat, fault, queues, sinks};

use super::copy::{Floor, ended};
use crate::ids;
use crate::maps::{ACCEPTS, LAST_READY, LastReady, SOCKS, count, sinks_to};
use crate::memory::{arg, byte_of, current_address, field_of, read, word_of};
use crate::sink;
use crate::task::{Task, current, mark, now};

/// A socket as a probe sees it. The closures read what most calls do not need.
pub(super) struct Sock<L, S, O> {
    /// Address of the `struct sock`.
    pub address: u64,
    /// What no other socket has.
    pub cookie: u64,
    /// Buffers in its receive queue.
    pub queued: L,
    /// `skc_state`.
    pub state: S,
    /// `sk_socket`: 0 until it is accepted.
    pub owner: O,
}

/// The socket that is argument 0 of a tracepoint.
#[inline(always)]
fn sock_of(ctx: &BtfTracePointContext) -> Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64> {
    let address = arg(ctx, 0);
    // SAFETY: argument 0 is a `struct sock *`, which the helper takes.
    let cookie = unsafe { bpf_get_socket_cookie(address as *mut _) };
    Sock {
        address,
        cookie,
        queued: || field_of(ctx, 0, Field::SockQlen),
        state: || byte_of(ctx, 0, Field::SockState),
        owner: || word_of(ctx, 0, Field::SockSocket),
    }
}

/// `(const struct sock *sk)`: data was queued; the sleepers are woken right after it.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    readied(&sock_of(&ctx))
}

/// Notes that data was queued on a socket, and sends a record of it.
#[inline(always)]
pub(super) fn readied(sock: &Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64>) -> i32 {
    let at = mark(fault::READY, now());
    if let Some(last) = LAST_READY.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU.
        unsafe {
            *last = LastReady { sock: sock.address, at, task: current_address(), cookie: sock.cookie };
        }
    }
    let Some(state) = SOCKS.get_ptr_mut(sock.address) else {
        if (sock.owner)() == 0 {
            await_accept(sock, at);
        }
        return 0;
    };
    // SAFETY: the value stays valid while the probe runs; a reader that drains the socket at this very
    // moment may clear `ready`, and then this data counts as taken by it.
    let state = unsafe { &mut *state };
    if state.cookie != sock.cookie {
        forget(sock.address);
        if (sock.owner)() == 0 {
            await_accept(sock, at);
        }
        return 0;
    }
    // A reader on another CPU may have taken the data already, since it is queued before `sk_data_ready`.
    if state.ready == 0 && (state.queues == queues::OTHER || has_data(sock, state)) {
        state.ready = at;
    }
    state.last = at;
    if sinks_to(sinks::RECORDS) {
        let pid_tgid = ids::current(aya_ebpf::helpers::bpf_get_current_pid_tgid());
        let mut head = iotrace_ebpf::abi::Head { kind: Kind::Ready as u32, at, ..Default::default() };
        head.tid = pid_tgid as u32;
        head.tgid = (pid_tgid >> 32) as u32;
        sink::emit(ReadyRecord { head, sock: sock.address });
    }
    0
}

/// Data has come to a connection that nobody has accepted yet: if the target accepts such, it is known from here on.
/// Without this a server that is busy when a connection comes would seem to pick nothing up.
#[inline(always)]
fn await_accept(sock: &Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64>, at: u64) {
    if (sock.state)() == tcp_state::ESTABLISHED && is_accepted_at(read(sock.address, Field::SockNum)) {
        remember(sock.address, sock.cookie, at, |_| {});
    }
}

/// Whether the target accepts connections at a local port.
#[inline(always)]
fn is_accepted_at(port: u16) -> bool {
    // SAFETY: one byte that changes once.
    ACCEPTS.get_ptr(u32::from(port)).is_some_and(|flag| unsafe { *flag } != 0)
}

/// `(struct sock *sk, int ret, int flags)`: after every `sock_recvmsg`, failed ones too.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    received(arg(&ctx, 1) as i32, arg(&ctx, 2), || sock_of(&ctx))
}

/// Notes that a receive has returned: what it read, and the end of its copy.
#[inline(always)]
pub(super) fn received<L: Fn() -> u32, S: Fn() -> u8, O: Fn() -> u64>(
    ret: i32,
    flags: u64,
    sock: impl FnOnce() -> Sock<L, S, O>,
) -> i32 {
    if flags & message::ERRQUEUE != 0 {
        return 0; // what is in the queue of errors is no data
    }
    let over = has_ended(i64::from(ret));
    // No data: of use only to records, which tell of failed copies too.
    if ret <= 0 && !over && !sinks_to(sinks::RECORDS) {
        return 0;
    }
    let sock = sock();
    if over {
        forget(sock.address);
    }
    if ret <= 0 && !sinks_to(sinks::RECORDS) {
        return 0;
    }
    let Some(task) = current() else { return 0 };
    let at = now();
    if ret > 0 {
        match SOCKS.get_ptr_mut(sock.address) {
            // SAFETY: as in `readied`.
            Some(state) if unsafe { (*state).cookie == sock.cookie } => {
                // SAFETY: as in `readied`.
                let state = unsafe { &mut *state };
                picked_up(task, state);
                left(&sock, state);
                if flags & message::PEEK != 0 && state.ready != 0 {
                    // Somebody has come: what a later read finds has waited for that read since now.
                    state.ready = at;
                }
            }
            _ => remember(sock.address, sock.cookie, 0, |state| left(&sock, state)),
        }
    }
    // An skb that was not used up (AF_UNIX), or was freed elsewhere (UDP), left its copy open.
    ended(task, at, sock.address, Floor::Receive);
    task.sock = sock.address;
    task.recv_at = at;
    if ret > 0 {
        task.recv_bytes += ret as u64;
    }
    if sinks_to(sinks::RECORDS) && (!task.span.is_open() || !moves_in(task.traits)) {
        let (last_in, nr) = (task.span.last_in, task.open_nr());
        sink::emit(RecvRecord { head: task.head(Kind::Recv, at), sock: sock.address, last_in, ret, nr });
    }
    0
}

/// `(struct sock *sk)`: a TCP socket ends.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    forget(arg(&ctx, 0));
    0
}

/// Whether a receive says that the connection is over: the end of the stream, or an error that stays. The end of a
/// stream of AF_UNIX and a reset come without `sk_data_ready`, and the end of one of TCP with one that brings no data.
#[inline(always)]
fn has_ended(ret: i64) -> bool {
    ret <= 0 && ret != -EAGAIN && ret != -EINTR && !is_restart(ret)
}

/// Drops what is known of a socket.
#[inline(always)]
fn forget(address: u64) {
    // It fails for a socket of which nothing is known.
    let _ = SOCKS.remove(address);
}

/// A call reads from a socket: notes how long the data had been ready when somebody came for it: when that call
/// started, or, where the thread slept in it, when it first ran again.
#[inline(always)]
fn picked_up(task: &mut Task, state: &SockState) {
    // A call that reads in pieces (MSG_WAITALL) has come once.
    if task.pickup != 0 || !task.span.is_open() {
        return;
    }
    if state.ready != 0 {
        let (enter, last_in, came) = (task.span.enter, task.span.last_in, task.came);
        let come = if enter >= state.ready {
            enter
        } else if came >= state.ready {
            came
        } else if last_in >= enter {
            last_in
        } else {
            enter
        };
        task.pickup = come.saturating_sub(state.ready) + 1;
    } else if state.emptied != 0 && state.last != 0 {
        // The kernel queues data before it calls `sk_data_ready`, and the reader took it in between: no delay.
        task.pickup = 1;
    }
}

/// Notes whether a read has left data in the socket. Data that it leaves behind has been there at least since the last
/// `sk_data_ready`.
#[inline(always)]
fn left(sock: &Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64>, state: &mut SockState) {
    if has_data(sock, state) {
        state.ready = state.last;
    } else {
        state.ready = 0;
        state.emptied = u32::from(state.queues != queues::OTHER);
    }
}

/// Whether data waits in a socket.
#[inline(always)]
fn has_data(sock: &Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64>, state: &SockState) -> bool {
    let queued = (sock.queued)() != 0;
    if queued && state.queues == queues::TCP && (sock.state)() != tcp_state::ESTABLISHED {
        // `tcp_fin` queues the end of the stream, which has a number of the sequence and no byte.
        let received: u32 = read(sock.address, Field::TcpRcvNxt);
        return received.wrapping_sub(read(sock.address, Field::TcpCopiedSeq)) > 1;
    }
    queued || state.queues == queues::UDP && read::<u32>(sock.address, Field::UdpReaderQlen) != 0
}

/// Makes a socket known in which data has waited since `ready` (0: none does).
#[inline(always)]
pub(super) fn remember(address: u64, cookie: u64, ready: u64, more: impl FnOnce(&mut SockState)) {
    let queues = match (read(address, Field::SockFamily), read(address, Field::SockProtocol)) {
        (family::INET | family::INET6, protocol::UDP) => queues::UDP,
        (family::INET | family::INET6, protocol::TCP) => queues::TCP,
        (family::UNIX, _) => queues::RECEIVE,
        _ => queues::OTHER,
    };
    accepts_at(address);
    let mut state = SockState { ready, last: ready, queues, emptied: 0, watch: 0, cookie };
    more(&mut state);
    if SOCKS.insert(address, state, 0).is_err() {
        count(Stat::SocksFull);
    }
}

/// Makes a socket known whose data woke a thread of the target. What wakes the thread that listens is a connection, and
/// no data.
#[inline(always)]
pub(super) fn woke(ready: &LastReady, watch: u64) {
    if read::<u8>(ready.sock, Field::SockState) == tcp_state::LISTEN {
        accepts_at(ready.sock);
    } else {
        remember(ready.sock, ready.cookie, ready.at, |state| state.watch = watch);
    }
}

/// Notes that the target may accept connections at the local port of a socket: it listens there, or reads from a
/// connection of that port, which it has accepted or made.
#[inline(always)]
fn accepts_at(sock: u64) {
    if let Some(flag) = ACCEPTS.get_ptr_mut(u32::from(read::<u16>(sock, Field::SockNum))) {
        // SAFETY: one byte, and every writer writes the same value.
        unsafe { *flag = 1 };
    }
}
