//! Which end a call that moves pages between two files slept on (`splice`, `sendfile`): the one that it reads from, or
//! the one that it writes to.

use iotrace_ebpf::abi::Field;
use iotrace_ebpf::abi::kernel::file_type;
use iotrace_ebpf::abi::traits::FROM_FIRST;

use crate::file;
use crate::memory::read;
use crate::task::Task;

/// Value of [`Task::slept_on`]: it slept until there was something to read.
pub const INPUT: u32 = 1;
/// Value of [`Task::slept_on`]: it slept until there was room.
pub const OUTPUT: u32 = 2;

/// The end on which the current thread goes to sleep. One end of a splice is a pipe: `splice_from_pipe_next` sleeps
/// while it is empty, `wait_for_space` while it is full (`fs/splice.c`), and every other sleep is for the other end.
#[inline(never)]
pub fn sleeping_on(task: &Task) -> u32 {
    if task.traits & FROM_FIRST == 0 {
        return OUTPUT; // the source of sendfile is a file, which never makes it sleep interruptibly
    }
    let from = file::of_descriptor(task.fd);
    if is_pipe(from) {
        return if used(from) == 0 { INPUT } else { OUTPUT };
    }
    let to = file::of_descriptor(task.arg2 as i32);
    if is_pipe(to) && used(to) >= read::<u32>(pipe_of(to), Field::PipeMax) { OUTPUT } else { INPUT }
}

/// Whether a call that has returned was input: by the end that it slept on, else by whether it took from a pipe.
#[inline(never)]
pub fn is_input(task: &Task) -> bool {
    match task.slept_on {
        INPUT => true,
        OUTPUT => false,
        _ => task.traits & FROM_FIRST != 0 && !is_pipe(file::of_descriptor(task.fd)),
    }
}

#[inline(always)]
fn is_pipe(file: u64) -> bool {
    file::kind(file) == file_type::FIFO
}

#[inline(always)]
fn pipe_of(file: u64) -> u64 {
    read(file, Field::FilePrivate)
}

/// Buffers in use of a pipe.
#[inline(always)]
fn used(file: u64) -> u32 {
    let pipe = pipe_of(file);
    read::<u32>(pipe, Field::PipeHead).wrapping_sub(read(pipe, Field::PipeTail))
}
