//! i386: syscalls of 32-bit programs, and of `int 0x80` in 64-bit ones (`arch/x86/entry/syscalls/syscall_32.tbl`).
//!
//! A call is translated to the native syscall that does the same as soon as it is seen, so that nothing else knows of
//! numbers of this table. The kernel has two of some, for times of 32 and of 64 bits; both are the native one.

use super::x86_64::SYSCALLS;
use crate::abi::MAX_SYSCALL;
use crate::abi::traits::traced;

/// What a number of this table stands for: a native syscall of this name, or one of the special ones.
#[derive(Clone, Copy)]
enum Is {
    /// The native syscall of this name, with the same arguments.
    Native(&'static str),
    /// One of the `code`s below.
    Special(u16),
}

use Is::{Native, Special};

/// Every number of this table that stands for a syscall that can be traced.
const CALLS: &[(u32, Is)] = &[
    (0, Special(code::RESTART)),
    (3, Native("read")),
    (4, Native("write")),
    (5, Native("open")),
    (6, Native("close")),
    (7, Native("wait4")),
    (10, Native("unlink")),
    (29, Native("pause")),
    (38, Native("rename")),
    (72, Native("rt_sigsuspend")),
    (82, Special(code::OLD_SELECT)),
    (102, Special(code::SOCKETCALL)),
    (142, Native("select")),
    (93, Native("ftruncate")),
    (114, Native("wait4")),
    (118, Native("fsync")),
    (143, Native("flock")),
    (144, Native("msync")),
    (145, Native("readv")),
    (148, Native("fdatasync")),
    (146, Native("writev")),
    (162, Native("nanosleep")),
    (168, Native("poll")),
    (177, Native("rt_sigtimedwait")),
    (179, Native("rt_sigsuspend")),
    (180, Native("pread64")),
    (181, Native("pwrite64")),
    (187, Native("sendfile")),
    (194, Native("ftruncate")),
    (220, Native("getdents64")),
    (239, Native("sendfile")),
    (240, Native("futex")),
    (247, Native("io_getevents")),
    (248, Native("io_submit")),
    (256, Native("epoll_wait")),
    (267, Native("clock_nanosleep")),
    (284, Native("waitid")),
    (295, Native("openat")),
    (301, Native("unlinkat")),
    (308, Native("pselect6")),
    (309, Native("ppoll")),
    (313, Native("splice")),
    (319, Native("epoll_pwait")),
    (314, Native("sync_file_range")),
    (324, Native("fallocate")),
    (333, Native("preadv")),
    (334, Native("pwritev")),
    (337, Native("recvmmsg")),
    (344, Native("syncfs")),
    (345, Native("sendmmsg")),
    (353, Native("renameat2")),
    (355, Native("getrandom")),
    (362, Native("connect")),
    (364, Native("accept4")),
    (369, Native("sendto")),
    (370, Native("sendmsg")),
    (371, Native("recvfrom")),
    (372, Native("recvmsg")),
    (378, Native("preadv2")),
    (379, Native("pwritev2")),
    (385, Native("io_pgetevents")),
    (407, Native("clock_nanosleep")),
    (413, Native("pselect6")),
    (414, Native("ppoll")),
    (416, Native("io_pgetevents")),
    (417, Native("recvmmsg")),
    (420, Native("semtimedop")),
    (421, Native("rt_sigtimedwait")),
    (422, Native("futex")),
    (426, Native("io_uring_enter")),
    (437, Native("openat2")),
    (441, Native("epoll_pwait2")),
    (449, Native("futex_waitv")),
    (455, Native("futex_wait")),
];

/// What the first argument of `socketcall` stands for (`include/uapi/linux/net.h`, `SYS_*`), by that argument.
const SOCKETCALLS: &[(u32, &str)] = &[
    (3, "connect"),
    (5, "accept"),
    (9, "sendto"),
    (10, "recvfrom"),
    (11, "sendto"),
    (12, "recvfrom"),
    (16, "sendmsg"),
    (17, "recvmsg"),
    (18, "accept4"),
    (19, "recvmmsg"),
    (20, "sendmmsg"),
];

/// Codes of [`TABLE`] that are no native syscall.
pub mod code {
    /// Not traced.
    pub const NONE: u16 = 0;
    /// `restart_syscall`: the thread's interrupted call goes on.
    pub const RESTART: u16 = 1 << 12;
    /// `socketcall`: which call is in the first argument, and its arguments lie where the second one points.
    pub const SOCKETCALL: u16 = RESTART + 1;
    /// The first `select`, whose arguments lie where the first one points.
    pub const OLD_SELECT: u16 = RESTART + 2;
}

/// The native number of `select`.
pub const SELECT: u32 = native("select");

/// Numbers of `socketcall` are below this.
pub const SOCKETCALLS_ROOM: usize = 32;

/// What each number stands for: the native number plus one, or a [`code`].
pub static TABLE: [u16; MAX_SYSCALL] = {
    let mut table = [code::NONE; MAX_SYSCALL];
    let mut place = 0;
    while place < CALLS.len() {
        let (nr, is) = CALLS[place];
        assert!(table[nr as usize] == code::NONE, "two syscalls of one number");
        table[nr as usize] = match is {
            Native(name) => native(name) as u16 + 1,
            Special(code) => code,
        };
        place += 1;
    }
    table
};

/// The native number of the syscall that does the same, if there is one that can be traced.
pub fn native_of(nr: u32) -> Option<u32> {
    let means =
        TABLE.get(nr as usize).copied().filter(|&means| means != code::NONE && means < code::RESTART)?;
    Some(u32::from(means) - 1)
}

/// What each number of `socketcall` stands for: the native number plus one, or 0.
pub static SOCKETCALL_TABLE: [u16; SOCKETCALLS_ROOM] = {
    let mut table = [code::NONE; SOCKETCALLS_ROOM];
    let mut place = 0;
    while place < SOCKETCALLS.len() {
        table[SOCKETCALLS[place].0 as usize] = native(SOCKETCALLS[place].1) as u16 + 1;
        place += 1;
    }
    table
};

/// The native number of the syscall of this name, which must be there.
const fn native(name: &str) -> u32 {
    let mut place = 0;
    while place < SYSCALLS.len() {
        if same(SYSCALLS[place].name.as_bytes(), name.as_bytes()) {
            return SYSCALLS[place].nr;
        }
        place += 1;
    }
    panic!("no native syscall of this name")
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Marks in the table of the probes each number of this table that may be a traced call: `native` says so of native
/// numbers.
pub fn mark(table: &mut [u8; MAX_SYSCALL], native: impl Fn(u32) -> bool) {
    let of = |code: u16| code != code::NONE && native(u32::from(code) - 1);
    for (entry, &means) in table.iter_mut().zip(&TABLE) {
        let wanted = match means {
            code::RESTART => true,
            code::SOCKETCALL => SOCKETCALL_TABLE.iter().any(|&code| of(code)),
            code::OLD_SELECT => native(SELECT),
            code => of(code),
        };
        if wanted {
            *entry |= traced::I386;
        }
    }
}

/// Where `struct pt_regs` of a 64-bit kernel keeps the first four arguments of such a call: `bx`, `cx`, `dx`, `si`,
/// in bytes. The kernel has cut them to 32 bits.
pub const ARGUMENT_OFFSETS: [usize; 4] = [5 * 8, 11 * 8, 12 * 8, 13 * 8];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::by_nr;

    fn meant(nr: usize) -> &'static str {
        by_nr(u32::from(TABLE[nr]) - 1).expect("a native syscall").name
    }

    #[test]
    fn numbers_are_those_of_the_other_table() {
        assert_eq!(
            (meant(3), meant(4), meant(145), meant(168), meant(142)),
            ("read", "write", "readv", "poll", "select")
        );
        assert_eq!(meant(422), "futex", "times of 64 bits are another number of the same call");
        for untraced in [19, 20, 45, 47] {
            assert_eq!(
                TABLE[untraced],
                code::NONE,
                "lseek, getpid, brk, getgid: native numbers of traced calls"
            );
        }
        assert_eq!(SOCKETCALL_TABLE[10], SOCKETCALL_TABLE[12], "recv is recvfrom without an address");
        assert_eq!(SOCKETCALL_TABLE[0], code::NONE);
    }

    #[test]
    fn only_numbers_of_wanted_calls_are_marked() {
        let marked = |wanted: &'static str| {
            let mut table = [traced::NATIVE; MAX_SYSCALL];
            mark(&mut table, |nr| by_nr(nr).is_some_and(|one| one.name == wanted));
            (0..MAX_SYSCALL).filter(|&nr| table[nr] & traced::I386 != 0).collect::<Vec<_>>()
        };
        assert_eq!(marked("recvmsg"), [0, 102, 372], "0 may continue any of them");
        assert_eq!(marked("select"), [0, 82, 142]);
        assert_eq!(marked("futex"), [0, 240, 422]);
    }
}
