//! The fields of `struct bpf_prog_info` that aya does not hand out.

use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_OBJ_GET_INFO_BY_FD`
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
/// Offset of `recursion_misses` in `struct bpf_prog_info` (`include/uapi/linux/bpf.h`): user ABI.
const RECURSION_MISSES: usize = 208;
/// Offset of `jited_prog_len`; `xlated_prog_len` follows it.
const JITED_LEN: usize = 16;

#[repr(C)]
struct Attr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The size of a loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Instructions after the verifier has dropped what is never reached and inlined helpers.
    pub instructions: u32,
    /// Bytes of machine code; 0 without a JIT.
    pub machine_bytes: u32,
}

/// `struct bpf_prog_info` of a program, and how many bytes of it the kernel has filled in.
fn info(program: BorrowedFd<'_>) -> Option<([u64; 64], usize)> {
    let mut info = [0u64; 64];
    let mut attr = Attr {
        fd: program.as_raw_fd() as u32,
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `attr` is the head of `union bpf_attr` for this command and `info` is as long as it says.
    let rc = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, std::ptr::from_mut(&mut attr), size_of::<Attr>())
    };
    (rc == 0).then_some((info, attr.info_len as usize))
}

/// Runs of the program that the kernel skipped because it was running already on that CPU.
/// `None` where the kernel does not count them (before 5.12).
pub fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    let (info, filled) = info(program)?;
    (filled >= RECURSION_MISSES + 8).then(|| info[RECURSION_MISSES / 8])
}

/// The size of a loaded program.
pub fn size(program: BorrowedFd<'_>) -> Option<Size> {
    let (info, _) = info(program)?;
    let word = info[JITED_LEN / 8].to_ne_bytes();
    let half = |at: usize| u32::from_ne_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]]);
    // Eight bytes an instruction, `struct bpf_insn`.
    Some(Size { instructions: half(4) / 8, machine_bytes: half(0) })
}
