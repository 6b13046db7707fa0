//! The syscalls iotrace knows: number, name, role. x86-64 numbers (`arch/x86/entry/syscalls/syscall_64.tbl`).

use iotrace_ebpf::abi::{MAX_SYSCALL, role};

use crate::domain::{Direction, Role};

/// One syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Number on this architecture.
    pub nr: u32,
    /// The kernel's name.
    pub name: &'static str,
    /// What it is for. [`RawRole::Request`] splits into submit and completion by its arguments.
    pub role: RawRole,
}

/// The role as far as the number alone tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawRole {
    /// Moves data to the process.
    Data,
    /// Moves data from the process.
    Output,
    /// Waits for readiness.
    Readiness,
    /// Waits for completions.
    Completion,
    /// Hands work over.
    Submit,
    /// Either of the last two: `io_uring_enter`.
    Request,
}

const fn call(nr: u32, name: &'static str, role: RawRole) -> Syscall {
    Syscall { nr, name, role }
}

use RawRole::{Completion, Data, Output, Readiness, Request, Submit};

/// Every traced syscall.
pub const TABLE: &[Syscall] = &[
    call(0, "read", Data),
    call(17, "pread64", Data),
    call(19, "readv", Data),
    call(45, "recvfrom", Data),
    call(47, "recvmsg", Data),
    call(295, "preadv", Data),
    call(299, "recvmmsg", Data),
    call(327, "preadv2", Data),
    call(1, "write", Output),
    call(18, "pwrite64", Output),
    call(20, "writev", Output),
    call(40, "sendfile", Output),
    call(44, "sendto", Output),
    call(46, "sendmsg", Output),
    call(275, "splice", Output),
    call(296, "pwritev", Output),
    call(307, "sendmmsg", Output),
    call(328, "pwritev2", Output),
    call(7, "poll", Readiness),
    call(23, "select", Readiness),
    call(232, "epoll_wait", Readiness),
    call(270, "pselect6", Readiness),
    call(271, "ppoll", Readiness),
    call(281, "epoll_pwait", Readiness),
    call(441, "epoll_pwait2", Readiness),
    call(34, "pause", Completion),
    call(128, "rt_sigtimedwait", Completion),
    call(130, "rt_sigsuspend", Completion),
    call(202, "futex", Completion),
    call(208, "io_getevents", Completion),
    call(333, "io_pgetevents", Completion),
    call(209, "io_submit", Submit),
    call(426, "io_uring_enter", Request),
];

/// `splice`: out of a socket it moves the buffers themselves, or copies.
pub const SPLICE: u32 = 275;
/// `io_submit`
pub const IO_SUBMIT: u32 = 209;
/// `io_uring_enter`
pub const IO_URING_ENTER: u32 = 426;
/// `rt_sigtimedwait`
pub const RT_SIGTIMEDWAIT: u32 = 128;
/// `recvmmsg`: returns messages, not bytes.
pub const RECVMMSG: u32 = 299;
/// `futex`: the wait of `aio_suspend`, and every lock.
pub const FUTEX: u32 = 202;

/// `IORING_ENTER_GETEVENTS`: this `io_uring_enter` waits.
const ENTER_GETEVENTS: u64 = 1;

/// The syscall with number `nr`, if it is traced.
pub fn by_nr(nr: u32) -> Option<&'static Syscall> {
    TABLE.iter().find(|syscall| syscall.nr == nr)
}

/// The name of syscall `nr`; `syscall_N` for one that is not in the table.
pub fn name(nr: u32) -> String {
    by_nr(nr).map_or_else(|| format!("syscall_{nr}"), |syscall| syscall.name.to_owned())
}

/// What a finished call was for, from its number and arguments (`min_complete` third, flags fourth).
pub fn role_of(nr: u32, arg2: u64, arg3: u64) -> Role {
    match by_nr(nr).map(|syscall| syscall.role) {
        Some(Data | Output) | None => Role::Data,
        Some(Readiness) => Role::Readiness,
        Some(Completion) => Role::Completion,
        Some(Submit) => Role::Submit,
        Some(Request) if arg3 & ENTER_GETEVENTS != 0 && arg2 > 0 => Role::Completion,
        Some(Request) => Role::Submit,
    }
}

/// Which way a data call moves data.
pub fn direction(nr: u32) -> Option<Direction> {
    match by_nr(nr)?.role {
        Data => Some(Direction::In),
        Output => Some(Direction::Out),
        _ => None,
    }
}

/// Whether the first argument of a call is a descriptor.
pub fn has_descriptor(nr: u32) -> bool {
    // poll, select, pause, rt_sigtimedwait, rt_sigsuspend, futex, io_getevents, io_submit, pselect6, ppoll,
    // io_pgetevents
    !matches!(nr, 7 | 23 | 34 | 128 | 130 | 202 | 208 | 209 | 270 | 271 | 333)
}

/// The table the probes read, for the syscalls that `wanted` picks.
pub fn roles(wanted: impl Fn(&Syscall) -> bool) -> [u8; MAX_SYSCALL] {
    let mut roles = [role::NONE; MAX_SYSCALL];
    for syscall in TABLE.iter().filter(|syscall| wanted(syscall)) {
        roles[syscall.nr as usize] = match syscall.role {
            Data => role::DATA,
            Output => role::OUTPUT,
            Readiness => role::READINESS,
            Completion | Submit | Request => role::REQUEST,
        };
    }
    roles
}

/// What a built-in workload needs: everything that brings data in. `futex` only where asked for: it is
/// every lock of a program.
pub fn input_roles(with_futex: bool) -> [u8; MAX_SYSCALL] {
    roles(|syscall| syscall.role != Output && (with_futex || syscall.nr != FUTEX))
}

/// The syscalls named by one word of `-e trace=`: a name, or a family.
pub fn named(word: &str) -> Vec<u32> {
    let family =
        |role: &[RawRole]| TABLE.iter().filter(|one| role.contains(&one.role)).map(|one| one.nr).collect();
    match word {
        "all" => TABLE.iter().map(|one| one.nr).collect(),
        "data" => family(&[Data, Output]),
        "in" => family(&[Data]),
        "out" => family(&[Output]),
        "readiness" => family(&[Readiness]),
        "completion" | "submit" => family(&[Completion, Submit, Request]),
        name => TABLE.iter().filter(|one| one.name == name).map(|one| one.nr).collect(),
    }
}

/// The name of error `errno` (positive), `E123` where it has none here.
pub fn errno_name(errno: i64) -> String {
    const NAMES: &[(i64, &str)] = &[
        (1, "EPERM"),
        (2, "ENOENT"),
        (4, "EINTR"),
        (5, "EIO"),
        (6, "ENXIO"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (21, "EISDIR"),
        (22, "EINVAL"),
        (29, "ESPIPE"),
        (32, "EPIPE"),
        (62, "ETIME"),
        (88, "ENOTSOCK"),
        (95, "EOPNOTSUPP"),
        (104, "ECONNRESET"),
        (107, "ENOTCONN"),
        (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"),
        (125, "ECANCELED"),
    ];
    NAMES
        .iter()
        .find(|(number, _)| *number == errno)
        .map_or_else(|| format!("E{errno}"), |(_, name)| (*name).to_owned())
}

pub use iotrace_ebpf::abi::EAGAIN;

/// Whether a return value is one of the kernel's own restart codes (`ERESTARTSYS` and kin,
/// `include/linux/errno.h`): the call did not finish, user space never sees them.
pub fn is_restart(ret: i64) -> bool {
    matches!(ret, -512 | -513 | -514 | -516)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_fit_the_table() {
        let mut numbers: Vec<u32> = TABLE.iter().map(|syscall| syscall.nr).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
        assert!(numbers.iter().all(|&nr| (nr as usize) < MAX_SYSCALL));
    }

    #[test]
    fn an_enter_that_waits_is_a_completion_call() {
        assert_eq!(role_of(IO_URING_ENTER, 1, ENTER_GETEVENTS), Role::Completion);
        assert_eq!(role_of(IO_URING_ENTER, 0, ENTER_GETEVENTS), Role::Submit);
        assert_eq!(role_of(IO_URING_ENTER, 0, 0), Role::Submit);
    }

    #[test]
    fn futex_is_traced_on_request_only() {
        assert_eq!(input_roles(false)[FUTEX as usize], role::NONE);
        assert_eq!(input_roles(true)[FUTEX as usize], role::REQUEST);
        assert_eq!(input_roles(true)[1], role::NONE, "write brings nothing in");
    }

    #[test]
    fn a_word_names_a_call_or_a_family() {
        assert_eq!(named("recvfrom"), [45]);
        assert!(named("out").contains(&1) && !named("out").contains(&0));
        assert_eq!(named("all").len(), TABLE.len());
        assert!(named("open").is_empty());
    }

    #[test]
    fn restart_codes_are_no_errors() {
        assert!(is_restart(-512) && is_restart(-516) && !is_restart(-515) && !is_restart(-4));
        assert_eq!(errno_name(EAGAIN), "EAGAIN");
        assert_eq!(errno_name(9999), "E9999");
    }
}
