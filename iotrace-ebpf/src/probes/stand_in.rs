//! Function hooks that replace the tracepoints `sk_data_ready` and `sock_recv_length` on kernels before 6.3.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use iotrace_ebpf::abi::Field;

use super::ready::{readied, received};
use crate::task::{arg, read};

/// `(struct sock *sk)`: the default `sk->sk_data_ready` (`net/core/sock.c`), which only sockets used inside the kernel
/// replace.
#[fentry(function = "sock_def_readable")]
pub fn sock_def_readable(ctx: FEntryContext) -> i32 {
    readied(arg(&ctx, 0), || read(arg(&ctx, 0), Field::SockQlen))
}

/// `(struct socket *sock, struct msghdr *msg, int flags)`, and behind them what it returned.
#[fexit(function = "sock_recvmsg")]
pub fn sock_recvmsg(ctx: FExitContext) -> i32 {
    received(arg(&ctx, 3) as i32, || read(arg(&ctx, 0), Field::SocketSk), |sock| read(sock, Field::SockQlen))
}
