//! Which call a number and registers stand for: native, of a 32-bit program, or the continuation of another.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use iotrace_ebpf::abi::traits::{WAITS, futex_waits, traced};
use iotrace_ebpf::abi::{Field, Stat};
use iotrace_ebpf::arch::i386::{self, SOCKETCALLS_ROOM, code};
use iotrace_ebpf::arch::native;

use crate::maps::{COMPAT, TYPED, count, offset, traits_of};
use crate::memory::{current_address, read};

/// Number of arguments that are decoded.
const ARGUMENTS: usize = 4;

/// Where the arguments of a call are read from.
pub trait Registers {
    /// Argument `n` of a call by this ABI.
    fn argument(&self, n: usize, compat: bool) -> u64;
    /// The program's stack pointer.
    fn stack(&self) -> u64;
}

/// A call, in terms of native syscalls.
pub struct Called {
    /// Its number; [`native::RESTART_NUMBER`]: the thread's interrupted call goes on.
    pub nr: u32,
    /// Its traits.
    pub traits: u32,
    /// Its first arguments.
    pub arguments: [u64; ARGUMENTS],
}

/// A register of the current call.
#[inline(always)]
pub fn register(regs: *const u8, offset: usize) -> u64 {
    // SAFETY: the verifier knows the pointer as `struct pt_regs *` and checks the offset.
    unsafe { regs.add(offset).cast::<u64>().read() }
}

/// The registers that a tracepoint hands over.
#[derive(Clone, Copy)]
pub struct Handed(pub *const u8);

impl Registers for Handed {
    #[inline(always)]
    fn argument(&self, n: usize, compat: bool) -> u64 {
        register(self.0, if compat { i386::ARGUMENT_OFFSETS[n] } else { native::ARGUMENT_OFFSETS[n] })
    }

    #[inline(always)]
    fn stack(&self) -> u64 {
        register(self.0, native::STACK_OFFSET)
    }
}

/// The registers that the kernel saved as the current thread entered it, by `bpf_task_pt_regs` (5.15).
#[inline(always)]
pub fn saved() -> Handed {
    // SAFETY: no preconditions; the verifier knows the results by their types.
    Handed(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8)
}

/// Whether the current thread is in a call by the 32-bit ABI. The entry code sets the bit and the exit code clears it
/// (`arch/x86/entry/common.c`), so it is right in `sys_enter` and in `sys_exit`.
#[inline(always)]
pub fn is_compat() -> bool {
    if COMPAT.load() == 0 {
        return false;
    }
    let status: u32 = if TYPED.load() != 0 {
        // SAFETY: the verifier knows the result as `struct task_struct *`, and checks the load against BTF.
        unsafe {
            (bpf_get_current_task_btf() as *const u8)
                .add(offset(Field::TaskStatus) as usize)
                .cast::<u32>()
                .read()
        }
    } else {
        read(current_address(), Field::TaskStatus)
    };
    status & native::COMPAT_STATUS != 0
}

/// Whether `entry`, that of a number in the table that is looked up first, leaves nothing to decode: no call of that
/// number is traced, or a native one that waits only, and this operation does not. Without looking at the thread.
#[inline(always)]
pub fn is_plain(entry: u8, regs: &impl Registers) -> bool {
    entry == 0 || (entry == traced::NATIVE | traced::WAITS && !futex_waits(regs.argument(1, false)))
}

/// The call, if it is traced; `entry` is its number's in the table that is looked up first.
#[inline(always)]
pub fn decode(nr: u64, entry: u8, regs: &impl Registers) -> Option<Called> {
    if is_compat() {
        return if entry & traced::I386 != 0 { compat(nr, regs) } else { None };
    }
    if entry & traced::NATIVE == 0 {
        return None;
    }
    called(nr as u32, core::array::from_fn(|n| regs.argument(n, false)))
}

/// The call of a native number, if it is traced with these arguments.
#[inline(always)]
fn called(nr: u32, arguments: [u64; ARGUMENTS]) -> Option<Called> {
    let traits = traits_of(u64::from(nr));
    let is_traced = if traits & WAITS != 0 { futex_waits(arguments[1]) } else { traits != 0 };
    (is_traced || nr == native::RESTART_NUMBER).then_some(Called { nr, traits, arguments })
}

/// A call by the 32-bit ABI.
#[inline(always)]
fn compat(nr: u64, regs: &impl Registers) -> Option<Called> {
    let means = *i386::TABLE.get(nr as usize)?;
    let plain = || core::array::from_fn(|n| regs.argument(n, true));
    match means {
        code::NONE => None,
        code::RESTART => called(native::RESTART_NUMBER, plain()),
        code::SOCKETCALL => {
            let which = regs.argument(0, true) as usize;
            let means = if which < SOCKETCALLS_ROOM { i386::SOCKETCALL_TABLE[which] } else { code::NONE };
            if means == code::NONE || traits_of(u64::from(means) - 1) == 0 {
                return None;
            }
            called(u32::from(means) - 1, in_memory(regs.argument(1, true)))
        }
        code::OLD_SELECT => called(i386::SELECT, in_memory(regs.argument(0, true))),
        native => called(u32::from(native) - 1, plain()),
    }
}

/// Arguments that a 32-bit program keeps in its memory. Where they cannot be read (the page is not there yet), they are
/// those of no descriptor, and the call is counted as not decoded.
#[inline(always)]
fn in_memory(address: u64) -> [u64; ARGUMENTS] {
    // SAFETY: a probe read of an address of the program fails, it does not fault.
    match unsafe { bpf_probe_read_user(address as *const [u32; ARGUMENTS]) } {
        Ok(words) => words.map(u64::from),
        Err(_) => {
            count(Stat::NotDecoded);
            [u64::from(u32::MAX), 0, 0, 0]
        }
    }
}
