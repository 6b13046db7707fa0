//! Function hooks that replace the tracepoints `sk_data_ready` and `sock_recv_length` on kernels before 6.3.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use iotrace_ebpf::abi::Field;

use super::ready::{Sock, readied, received};
use crate::memory::{arg, read};

/// `(struct sock *sk)`: the default `sk->sk_data_ready` (`net/core/sock.c`), which only sockets used inside the kernel
/// replace.
#[fentry(function = "sock_def_readable")]
pub fn sock_def_readable(ctx: FEntryContext) -> i32 {
    readied(&sock_at(arg(&ctx, 0)))
}

/// `(struct socket *sock, struct msghdr *msg, int flags)`, and behind them what it returned.
#[fexit(function = "sock_recvmsg")]
pub fn sock_recvmsg(ctx: FExitContext) -> i32 {
    received(arg(&ctx, 3) as i32, arg(&ctx, 2), || sock_at(read(arg(&ctx, 0), Field::SocketSk)))
}

/// The socket at an address. Programs on functions have no helper for its cookie before 5.11: the number of its inode
/// serves, which a connection has once it was accepted.
#[inline(always)]
fn sock_at(address: u64) -> Sock<impl Fn() -> u32, impl Fn() -> u8, impl Fn() -> u64> {
    let file: u64 = read(read(address, Field::SockSocket), Field::SocketFile);
    Sock {
        address,
        cookie: read(read(file, Field::FileInode), Field::InodeIno),
        queued: move || read(address, Field::SockQlen),
        state: move || read(address, Field::SockState),
        owner: move || read(address, Field::SockSocket),
    }
}
