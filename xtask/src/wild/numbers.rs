//! Syscalls by name and number: bpftrace counts by number, iotrace shows names.

use libc::c_long;

/// Calls that bring data in.
pub const INPUT: &[(&str, c_long)] = &[
    ("read", libc::SYS_read),
    ("pread64", libc::SYS_pread64),
    ("readv", libc::SYS_readv),
    ("preadv", libc::SYS_preadv),
    ("preadv2", libc::SYS_preadv2),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
];

/// Calls that send data.
pub const OUTPUT: &[(&str, c_long)] = &[
    ("write", libc::SYS_write),
    ("pwrite64", libc::SYS_pwrite64),
    ("writev", libc::SYS_writev),
    ("pwritev", libc::SYS_pwritev),
    ("pwritev2", libc::SYS_pwritev2),
    ("sendto", libc::SYS_sendto),
    ("sendmsg", libc::SYS_sendmsg),
    ("sendfile", libc::SYS_sendfile),
    ("splice", libc::SYS_splice),
];

/// Calls that wait until descriptors are ready.
pub const READINESS: &[(&str, c_long)] = &[
    ("select", libc::SYS_select),
    ("pselect6", libc::SYS_pselect6),
    ("poll", libc::SYS_poll),
    ("ppoll", libc::SYS_ppoll),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("epoll_pwait", libc::SYS_epoll_pwait),
    ("epoll_pwait2", libc::SYS_epoll_pwait2),
];

/// Other calls that iotrace shows, by default or where they are asked for.
pub const OTHER: &[(&str, c_long)] = &[
    ("accept", libc::SYS_accept),
    ("accept4", libc::SYS_accept4),
    ("connect", libc::SYS_connect),
    ("fsync", libc::SYS_fsync),
    ("fdatasync", libc::SYS_fdatasync),
    ("futex", libc::SYS_futex),
    ("nanosleep", libc::SYS_nanosleep),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("io_submit", libc::SYS_io_submit),
    ("io_getevents", libc::SYS_io_getevents),
    ("io_pgetevents", 333),
    ("io_uring_enter", libc::SYS_io_uring_enter),
];

/// All of them.
pub fn all() -> impl Iterator<Item = (&'static str, c_long)> {
    [INPUT, OUTPUT, READINESS, OTHER].into_iter().flatten().copied()
}

/// Whether a list has the name.
pub fn has(list: &[(&str, c_long)], name: &str) -> bool {
    list.iter().any(|&(one, _)| one == name)
}
