//! `sk_data_ready` and `sock_recv_length` (both from 6.3): when data became ready, and when a receive ended.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use iotrace_ebpf::abi::{Kind, ReadyRecord, RecvRecord, Stat, role};

use super::copy::ended;
use crate::maps::{LAST_READY, LastReady, SOCKS, count};
use crate::sink;
use crate::task::{arg, current, current_address, now};

/// `(const struct sock *sk)`: data was queued; the sleepers are woken right after it.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    let sock = arg(&ctx, 0);
    let at = now();
    if let Some(last) = LAST_READY.get_ptr_mut(0) {
        // SAFETY: the slot belongs to this CPU.
        unsafe { *last = LastReady { sock, at, task: current_address() } };
    }
    if SOCKS.get_ptr(sock).is_some() {
        let pid_tgid = aya_ebpf::helpers::bpf_get_current_pid_tgid();
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
    let at = now();
    let Some(task) = current() else { return 0 };
    let sock = arg(&ctx, 0);
    let ret = arg(&ctx, 1) as i32;
    if SOCKS.get_ptr(sock).is_none() && SOCKS.insert(sock, task.tgid, 0).is_err() {
        count(Stat::SocksFull);
    }
    // An skb that was not used up (AF_UNIX), or was freed elsewhere (UDP), left its copy open.
    ended(task, at, sock);
    task.sock = sock;
    task.recv_at = at;
    if ret > 0 {
        task.recv_bytes += ret as u64;
    }
    if !task.span.is_open() || task.role != u32::from(role::DATA) {
        let (last_in, nr) = (task.span.last_in, task.open_nr());
        sink::emit(RecvRecord { head: task.head(Kind::Recv, at), sock, last_in, ret, nr });
    }
    0
}
