//! Constants of the kernel's user interface that both sides need. They stand here and nowhere else.

/// Families of sockets, `include/linux/socket.h`.
pub mod family {
    /// `AF_UNIX`
    pub const UNIX: u16 = 1;
    /// `AF_INET`
    pub const INET: u16 = 2;
    /// `AF_INET6`
    pub const INET6: u16 = 10;
    /// `AF_NETLINK`
    pub const NETLINK: u16 = 16;
}

/// Protocols of internet sockets, `include/uapi/linux/in.h`.
pub mod protocol {
    /// `IPPROTO_TCP`
    pub const TCP: u16 = 6;
    /// `IPPROTO_UDP`
    pub const UDP: u16 = 17;
    /// `IPPROTO_MPTCP`
    pub const MPTCP: u16 = 262;
}

/// States of sockets, `include/net/tcp_states.h`.
pub mod tcp_state {
    /// `TCP_ESTABLISHED`
    pub const ESTABLISHED: u8 = 1;
    /// `TCP_LISTEN`, of AF_UNIX too
    pub const LISTEN: u8 = 10;
}

/// Flags of `task_struct.flags`, `include/linux/sched.h`.
pub mod task_flag {
    /// `PF_IO_WORKER`: a worker of io_uring, or the thread that polls a submission queue.
    pub const IO_WORKER: u32 = 0x10;
    /// `PF_KTHREAD`: a thread of the kernel.
    pub const KTHREAD: u32 = 0x20_0000;
}

/// Kinds of files: the upper bits of `i_mode`, `include/uapi/linux/stat.h`.
pub mod file_type {
    /// `S_IFMT`: the bits that tell the kind.
    pub const MASK: u32 = 0xf000;
    /// `S_IFSOCK`
    pub const SOCKET: u32 = 0xc000;
    /// `S_IFREG`
    pub const REGULAR: u32 = 0x8000;
    /// `S_IFBLK`
    pub const BLOCK: u32 = 0x6000;
    /// `S_IFDIR`
    pub const DIRECTORY: u32 = 0x4000;
    /// `S_IFCHR`
    pub const CHARACTER: u32 = 0x2000;
    /// `S_IFIFO`
    pub const FIFO: u32 = 0x1000;
}
