//! The syscalls iotrace knows, as user space asks for them: by number, by name, by role.
//!
//! The table itself, with the traits of each, is the architecture's (`iotrace-ebpf/src/arch`).

use iotrace_ebpf::abi::MAX_SYSCALL;
use iotrace_ebpf::abi::errno;
use iotrace_ebpf::abi::traits::traced;
use iotrace_ebpf::abi::traits::{
    COMPLETION, CONNECTION, DURABLE, FD, IN, ON_REQUEST, OTHER, OUT, READINESS, REQUESTS, SUBMIT, SYNC,
    WAITS, enter_waits,
};
use iotrace_ebpf::arch::native::{RESTART_NUMBER, SYSCALLS};
use iotrace_ebpf::arch::{self, i386};
pub use iotrace_ebpf::arch::{Syscall, by_nr};

use crate::domain::{Direction, Role};

/// Every syscall that can be traced.
pub fn all() -> impl Iterator<Item = &'static Syscall> {
    SYSCALLS.iter()
}

/// Traits of syscall `nr`, bits of [`iotrace_ebpf::abi::traits`]; 0 for one that is not traced.
pub fn traits_of(nr: u32) -> u32 {
    by_nr(nr).map_or(0, |syscall| syscall.traits)
}

/// Whether syscall `nr` has any of these traits.
pub fn is(nr: u32, traits: u32) -> bool {
    traits_of(nr) & traits != 0
}

/// The kernel's name of syscall `nr`; `syscall_N` for one that is newer than this build.
pub fn name(nr: u32) -> String {
    arch::name(nr).map_or_else(|| format!("syscall_{nr}"), str::to_owned)
}

/// The name of syscall `nr` of the 32-bit table: that of the native one that does the same; `syscall_N` for one that is
/// never traced, but for the few that programs sleep in.
pub fn name_of_32_bit(nr: u32) -> String {
    let few = match nr {
        7 => Some("waitpid"),
        221 => Some("fcntl64"),
        _ => i386::native_of(nr).and_then(arch::name),
    };
    few.map_or_else(|| format!("syscall_{nr}"), str::to_owned)
}

/// What a finished call was for, from its number and arguments (`min_complete` third, flags fourth).
pub fn role_of(nr: u32, arg2: u64, arg3: u64) -> Role {
    match traits_of(nr) {
        traits if traits & READINESS != 0 => Role::Readiness,
        traits if traits & COMPLETION != 0 => Role::Completion,
        traits if traits & SUBMIT != 0 => Role::Submit,
        traits if traits & CONNECTION != 0 => Role::Connection,
        traits if traits & DURABLE != 0 => Role::Durable,
        traits if traits & SYNC != 0 => Role::Sync,
        traits if traits & OTHER != 0 => Role::Other,
        traits if traits & REQUESTS != 0 && enter_waits(arg2, arg3) => Role::Completion,
        traits if traits & REQUESTS != 0 => Role::Submit,
        _ => Role::Data,
    }
}

/// Which way a data call moves data; `None` for calls that move none.
pub fn direction(nr: u32) -> Option<Direction> {
    match traits_of(nr) {
        traits if traits & IN != 0 => Some(Direction::In),
        traits if traits & OUT != 0 => Some(Direction::Out),
        _ => None,
    }
}

/// Which way the data call of this name moves data; `None` for calls that move none.
pub fn direction_of_name(name: &str) -> Option<Direction> {
    all().find(|syscall| syscall.name == name).and_then(|syscall| direction(syscall.nr))
}

/// What the call of this name is for, where its arguments do not decide that.
pub fn role_of_name(name: &str) -> Option<Role> {
    all().find(|syscall| syscall.name == name).map(|syscall| role_of(syscall.nr, 0, 0))
}

/// Whether the first argument of a call is a descriptor.
pub fn has_descriptor(nr: u32) -> bool {
    is(nr, FD)
}

/// The table that the probes read, by number: traits of the syscalls that `wanted` picks, 0 for all others.
pub fn table(wanted: impl Fn(&Syscall) -> bool) -> [u32; MAX_SYSCALL] {
    let mut table = [0; MAX_SYSCALL];
    for syscall in SYSCALLS.iter().filter(|syscall| wanted(syscall)) {
        table[syscall.nr as usize] = syscall.traits;
    }
    table
}

/// The table that the probes look at first: of each number whether a call of it is traced, see
/// [`iotrace_ebpf::abi::traits::traced`]; `compat`: of 32-bit programs, too.
pub fn traced(table: &[u32; MAX_SYSCALL], compat: bool) -> [u8; MAX_SYSCALL] {
    let mut traced = table.map(|traits| match traits {
        0 => 0,
        traits if traits & WAITS != 0 => traced::NATIVE | traced::WAITS,
        _ => traced::NATIVE,
    });
    traced[RESTART_NUMBER as usize] |= traced::NATIVE;
    if compat {
        i386::mark(&mut traced, |nr| table[nr as usize] != 0);
    }
    traced
}

/// The table of a built-in workload: everything that brings data in. `futex` only where asked for, since it is
/// every lock of a program.
pub fn input_table(with_futex: bool) -> [u32; MAX_SYSCALL] {
    let futex = |syscall: &Syscall| with_futex && syscall.traits & WAITS != 0;
    table(|syscall| syscall.traits & OUT == 0 && (futex(syscall) || !is_on_request(syscall)))
}

/// Whether a syscall is traced only where it is asked for: the locks of a program, and what brings no data.
pub fn is_on_request(syscall: &Syscall) -> bool {
    syscall.traits & ON_REQUEST != 0
}

/// The numbers of the syscalls that one word of `-e trace=` names: a syscall, or a family of them.
pub fn named(word: &str) -> Vec<u32> {
    let of = |wanted: &dyn Fn(&Syscall) -> bool| {
        SYSCALLS.iter().filter(|syscall| wanted(syscall)).map(|syscall| syscall.nr).collect()
    };
    let family = |traits: u32| of(&|syscall| syscall.traits & traits != 0);
    match word {
        "all" => of(&|_| true),
        "data" => family(IN | OUT),
        "in" => family(IN),
        "out" => family(OUT),
        "readiness" => family(READINESS),
        "connection" => family(CONNECTION),
        "durable" => family(DURABLE),
        "sync" => family(SYNC),
        "other" => family(OTHER),
        "completion" | "submit" => family(COMPLETION | SUBMIT | REQUESTS),
        name => of(&|syscall| syscall.name == name),
    }
}

/// The name of error `errno` (positive); `E123` for a number that has none.
pub fn errno_name(errno: i64) -> String {
    errno::name(errno).map_or_else(|| format!("E{errno}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nr(name: &str) -> u32 {
        named(name)[0]
    }

    #[test]
    fn an_enter_that_waits_is_a_completion_call() {
        let enter = nr("io_uring_enter");
        assert_eq!(role_of(enter, 1, 1), Role::Completion);
        assert_eq!(role_of(enter, 0, 1), Role::Submit);
        assert_eq!(role_of(enter, 0, 0), Role::Submit);
    }

    #[test]
    fn futex_is_traced_on_request_only() {
        let futex = nr("futex") as usize;
        assert_eq!(input_table(false)[futex], 0);
        assert_ne!(input_table(true)[futex], 0);
        assert_eq!(input_table(true)[nr("write") as usize], 0, "write brings nothing in");
    }

    #[test]
    fn a_word_names_a_call_or_a_family() {
        assert_eq!(named("recvfrom"), [45]);
        assert!(named("out").contains(&nr("write")) && !named("out").contains(&nr("read")));
        assert_eq!(named("all").len(), SYSCALLS.len());
        assert!(named("getpid").is_empty());
    }

    #[test]
    fn what_sleeps_for_no_data_is_traced_on_request_only() {
        for (name, role) in [
            ("nanosleep", Role::Other),
            ("clock_nanosleep", Role::Other),
            ("wait4", Role::Other),
            ("waitid", Role::Other),
            ("openat", Role::Other),
            ("open", Role::Other),
            ("flock", Role::Sync),
            ("semop", Role::Sync),
            ("futex_waitv", Role::Sync),
            ("syncfs", Role::Durable),
        ] {
            let nr = nr(name);
            assert_eq!(role_of(nr, 0, 0), role, "{name}");
            assert!(by_nr(nr).is_some_and(is_on_request), "{name}");
            assert_eq!(input_table(true)[nr as usize], 0, "{name} brings nothing in");
        }
        for name in ["accept", "connect", "fsync", "io_getevents", "read"] {
            assert!(!by_nr(nr(name)).is_some_and(is_on_request), "{name}");
        }
        assert!(named("sync").contains(&nr("futex")) && named("sync").contains(&nr("flock")));
        assert!(named("other").contains(&nr("wait4")) && !named("other").contains(&nr("flock")));
    }

    #[test]
    fn an_error_without_a_name_has_its_number() {
        assert_eq!((errno_name(errno::EAGAIN).as_str(), errno_name(9999).as_str()), ("EAGAIN", "E9999"));
    }
}
