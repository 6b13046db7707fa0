//! Maps and the constants that user space sets before loading.
//!
//! Constants live in `.rodata`: the verifier knows their values and drops the branches they rule out.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use iotrace_ebpf::abi::{MAX_SYSCALL, STATS, Stat};

use crate::task::Task;

/// The process that is observed.
#[unsafe(no_mangle)]
pub static TARGET_TGID: Global<u32> = Global::new(0);

/// Role of every syscall number, see `abi::role`.
#[unsafe(no_mangle)]
pub static ROLES: Global<[u8; MAX_SYSCALL]> = Global::new([0; MAX_SYSCALL]);

/// Signals whose life is recorded: bit n-1 for signal n.
#[unsafe(no_mangle)]
pub static SIGNALS: Global<u64> = Global::new(0);

/// Offset of `task_struct.state` (before 5.14) or `.__state`, for `sched_switch` without `prev_state`.
#[unsafe(no_mangle)]
pub static TASK_STATE: Global<u32> = Global::new(0);

/// Offset of `io_kiocb.ctx`.
#[unsafe(no_mangle)]
pub static REQ_CTX: Global<u32> = Global::new(0);

/// Offset of `io_kiocb.cqe.user_data` (before 5.19: `.user_data`).
#[unsafe(no_mangle)]
pub static REQ_USER_DATA: Global<u32> = Global::new(0);

/// Threads of the target, by the address of their `task_struct`: an address costs no read of a kernel
/// field, and a hash found in place serves every kernel (task storage came in 5.11).
#[map]
pub static TASKS: HashMap<u64, Task> = HashMap::with_max_entries(16_384, 0);

/// A zeroed [`Task`] to insert from: too large for the stack of a probe.
#[map]
pub static NEW_TASK: Array<Task> = Array::with_max_entries(1, 0);

/// Sockets that threads of the target receive from.
#[map]
pub static SOCKS: HashMap<u64, u32> = HashMap::with_max_entries(16_384, 0);

/// Rings that threads of the target submit to.
#[map]
pub static RINGS: HashMap<u64, u32> = HashMap::with_max_entries(1024, 0);

/// The last `sk_data_ready` on this CPU: the wake-up that follows it in the same context is its doing.
#[map]
pub static LAST_READY: PerCpuArray<LastReady> = PerCpuArray::with_max_entries(1, 0);

/// Records on their way to user space. The size is set at load time.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Loss counters, see `abi::Stat`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATS, 0);

/// See [`LAST_READY`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastReady {
    /// The socket.
    pub sock: u64,
    /// When.
    pub at: u64,
    /// `current` then.
    pub task: u64,
}

/// Counts one loss.
#[inline(always)]
pub fn count(stat: Stat) {
    if let Some(counter) = COUNTERS.get_ptr_mut(stat as u32) {
        // SAFETY: the slot belongs to this CPU; a probe nested in an interrupt may at worst lose one
        // count between load and store.
        unsafe { *counter += 1 };
    }
}

/// The role of syscall `nr`.
#[inline(always)]
pub fn role_of(nr: u64) -> u8 {
    if nr >= MAX_SYSCALL as u64 {
        return 0;
    }
    // SAFETY: `nr` is inside the table. Volatile, because user space overwrites the initial value.
    unsafe { core::ptr::from_ref(&ROLES).cast::<u8>().add(nr as usize).read_volatile() }
}
