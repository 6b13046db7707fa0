//! The one field of `struct bpf_prog_info` that aya does not hand out.

use std::os::fd::{AsRawFd, BorrowedFd};

/// `BPF_OBJ_GET_INFO_BY_FD`
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
/// Offset of `recursion_misses` in `struct bpf_prog_info` (`include/uapi/linux/bpf.h`): user ABI.
const RECURSION_MISSES: usize = 208;

#[repr(C)]
struct Attr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// Runs of the program that the kernel skipped because it was running already on that CPU.
/// `None` where the kernel does not count them (before 5.12).
pub fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
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
    (rc == 0 && attr.info_len as usize >= RECURSION_MISSES + 8).then(|| info[RECURSION_MISSES / 8])
}
