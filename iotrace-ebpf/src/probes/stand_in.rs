//! Before 6.3, where functions can be hooked: what stands in for `sk_data_ready` and `sock_recv_length`.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use iotrace_ebpf::abi::Field;

use super::ready::{readied, received};
use crate::task::{arg, read};

/// `(struct sock *sk)`: called for every kind of socket but those that a kernel user has taken over.
#[fentry(function = "sock_def_readable")]
pub fn sock_def_readable(ctx: FEntryContext) -> i32 {
    readied(arg(&ctx, 0), || read(arg(&ctx, 0), Field::SockQlen))
}

/// `(struct socket *sock, struct msghdr *msg, int flags)`, and behind them what it returned.
#[fexit(function = "sock_recvmsg")]
pub fn sock_recvmsg(ctx: FExitContext) -> i32 {
    received(arg(&ctx, 3) as i32, || read(arg(&ctx, 0), Field::SocketSk), |sock| read(sock, Field::SockQlen))
}
