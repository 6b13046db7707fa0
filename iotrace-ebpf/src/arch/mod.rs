//! What differs between architectures: numbers of syscalls, where registers lie, how a call of another ABI is told.
//!
//! One module an architecture, all with the same names; the probes and user space know only these names. To add
//! one: a module with [`x86_64`]'s names, and a line below.

pub mod i386;
pub mod x86_64;
mod x86_64_names;

pub use self::x86_64 as native;
pub use self::x86_64_names::name;

use crate::abi::MAX_SYSCALL;

/// One syscall of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its number.
    pub nr: u32,
    /// The kernel's name for it.
    pub name: &'static str,
    /// What it is: bits of [`crate::abi::traits`].
    pub traits: u32,
}

/// One row of a table.
const fn call(nr: u32, name: &'static str, traits: u32) -> Syscall {
    assert!((nr as usize) < MAX_SYSCALL, "a number that the probes' table has no room for");
    Syscall { nr, name, traits }
}

/// The syscall of this architecture with number `nr`, if it can be traced.
pub fn by_nr(nr: u32) -> Option<&'static Syscall> {
    let place = INDEX.get(nr as usize).copied().filter(|place| *place != UNTRACED)?;
    native::SYSCALLS.get(place as usize)
}

/// Where each number stands in the table.
static INDEX: [u8; MAX_SYSCALL] = {
    assert!(native::SYSCALLS.len() < UNTRACED as usize);
    let mut index = [UNTRACED; MAX_SYSCALL];
    let mut place = 0;
    while place < native::SYSCALLS.len() {
        let nr = native::SYSCALLS[place].nr as usize;
        assert!(index[nr] == UNTRACED, "two syscalls of one number");
        index[nr] = place as u8;
        place += 1;
    }
    index
};

/// A number that is in no table.
const UNTRACED: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::traits::{
        COMPLETION, CONNECTION, DURABLE, IN, OTHER, OUT, READINESS, REQUESTS, SUBMIT, SYNC,
    };

    #[test]
    fn a_syscall_is_found_by_its_number() {
        for syscall in native::SYSCALLS {
            assert_eq!(by_nr(syscall.nr), Some(syscall));
        }
        assert_eq!(by_nr(MAX_SYSCALL as u32), None);
        assert_eq!(by_nr(u32::MAX), None);
    }

    #[test]
    fn a_syscall_has_exactly_one_role() {
        for syscall in native::SYSCALLS {
            let all =
                IN | OUT | READINESS | COMPLETION | SUBMIT | REQUESTS | CONNECTION | DURABLE | SYNC | OTHER;
            // A workload's `futex` waits for completions, any other program's for a lock.
            let both = COMPLETION | SYNC;
            let roles = syscall.traits & all;
            assert!(
                roles.count_ones() == 1 || (syscall.name == "futex" && roles == both),
                "{}",
                syscall.name
            );
        }
    }
}
