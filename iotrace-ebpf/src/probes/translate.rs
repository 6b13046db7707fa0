//! Answers questions of iotrace about itself and its targets. Attached to nothing: user space runs it in its own thread
//! by `BPF_PROG_TEST_RUN`, which raw tracepoint programs allow from 5.10.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::RawTracePointContext;
use iotrace_ebpf::abi::{Field, UPID_BYTES, question};

use crate::file;
use crate::maps::offset;
use crate::memory::{arg, peek, read};

/// `(u64 question, u64 fd)`, see `abi::question`. aya's macro for such programs drops what they return, hence none here.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_enter")]
pub fn translate(ctx: *mut c_void) -> u32 {
    answer(&RawTracePointContext::new(ctx))
}

/// The answer; 0 where the descriptor is none of a directory `/proc/PID`.
#[inline(always)]
fn answer(ctx: &impl EbpfContext) -> u32 {
    let (asked, fd) = (arg(ctx, 0), arg(ctx, 1) as i32);
    let file = file::of_descriptor(fd);
    if file == 0 {
        return 0;
    }
    // `proc_pid` (`fs/proc/internal.h`): the inode lies in a `struct proc_inode`, which holds the `struct pid`.
    let inode: u64 = read(file, Field::FileInode);
    let pid: u64 = peek(inode - offset(Field::ProcInode) + offset(Field::ProcPid));
    if pid == 0 {
        return 0;
    }
    let numbers = pid + offset(Field::PidNumbers);
    let level: u32 = read(pid, Field::PidLevel);
    if asked == question::ID {
        return peek(numbers + offset(Field::UpidNr));
    }
    if asked == question::LEVEL {
        return level;
    }
    let namespace: u64 = peek(numbers + u64::from(level) * UPID_BYTES + offset(Field::UpidNs));
    (if asked == question::NAMESPACE_LOW { namespace } else { namespace >> 32 }) as u32
}
