//! Maps and the constants that user space sets before loading.
//!
//! Constants live in `.rodata`: the verifier knows their values and drops the branches they rule out.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use iotrace_ebpf::abi::{
    Agg, AggKey, ERRORS_ROOM, ErrorKey, FIELDS, FLOORS_OF, Field, LIVES_ROOM, LifeKey, LifeSum, MAX_SYSCALL,
    MAYBE, PEERS_ROOM, PROCESSES_ROOM, PeerKey, STATS, SockState, Stat, TAKEN_ROOM, THREADS_ROOM, TakenKey,
    WAKES_ROOM, WAYS_ROOM, WakeKey, WayKey, mode, sinks,
};
use iotrace_ebpf::span::Window;
use iotrace_ebpf::thread::{ParkedKey, SETS, Task, WAYS};

/// How threads of the target are recognised: bits of `abi::mode`.
#[unsafe(no_mangle)]
pub static MODE: Global<u32> = Global::new(mode::ONE);

/// Where finished calls go: bits of `abi::sinks`.
#[unsafe(no_mangle)]
pub static SINKS: Global<u32> = Global::new(sinks::RECORDS);

/// What each row of [`ROWS`] stands for: process, thread or descriptor, a number of `abi::per`.
#[unsafe(no_mangle)]
pub static PER: Global<u32> = Global::new(0);

/// Mode `ONE`: id of the process that is observed.
#[unsafe(no_mangle)]
pub static TARGET_TGID: Global<u32> = Global::new(0);

/// Process id of iotrace itself, which the modes `ALL`, `COMM` and `CGROUP` leave out.
#[unsafe(no_mangle)]
pub static SELF_TGID: Global<u32> = Global::new(0);

/// Depth of iotrace's pid namespace; 0: the initial one, and ids need no translation.
#[unsafe(no_mangle)]
pub static NS_LEVEL: Global<u32> = Global::new(0);

/// Address of iotrace's pid namespace, where [`NS_LEVEL`] is not 0.
#[unsafe(no_mangle)]
pub static NS: Global<u64> = Global::new(0);

/// Mode `COMM`: name of the threads that are observed, padded with zeros.
#[unsafe(no_mangle)]
pub static TARGET_COMM: Global<[u64; 2]> = Global::new([0; 2]);

/// Mode `CGROUP`: id of the cgroup that is observed, with those below it.
#[unsafe(no_mangle)]
pub static TARGET_CGROUP: Global<u64> = Global::new(0);

/// Mode `CGROUP`: depth of that cgroup below the root.
#[unsafe(no_mangle)]
pub static CGROUP_LEVEL: Global<u32> = Global::new(0);

/// Whether a syscall number is traced, see `abi::traits::traced`.
#[unsafe(no_mangle)]
pub static TRACED: Global<[u8; MAX_SYSCALL]> = Global::new([0; MAX_SYSCALL]);

/// Traits of every syscall number, see `abi::traits`.
#[unsafe(no_mangle)]
pub static TRAITS: Global<[u32; MAX_SYSCALL]> = Global::new([0; MAX_SYSCALL]);

/// Calls shorter than this are not added to the sums, ns.
#[unsafe(no_mangle)]
pub static MIN_NS: Global<u64> = Global::new(0);

/// 1: `__bpf_trace_run` leaves preemption on (from 7.0), so the kernel skips a probe that a preempted thread is in the
/// middle of on this CPU.
#[unsafe(no_mangle)]
pub static PREEMPTIBLE: Global<u32> = Global::new(0);

/// 1: this kernel runs 32-bit programs (`CONFIG_IA32_EMULATION`).
#[unsafe(no_mangle)]
pub static COMPAT: Global<u32> = Global::new(0);

/// 1: the helper `bpf_get_current_task_btf` is there (5.11).
#[unsafe(no_mangle)]
pub static TYPED: Global<u32> = Global::new(0);

/// 1: the helper `bpf_task_pt_regs` is there (5.15).
#[unsafe(no_mangle)]
pub static REGS: Global<u32> = Global::new(0);

/// When observing began, `CLOCK_MONOTONIC` in ns: the earliest start that is known of a call that was open then.
#[unsafe(no_mangle)]
pub static STARTED: Global<u64> = Global::new(0);

/// Estimated cost of a copy that no marks time, ns per KiB: first out of a socket, then out of or into a file or pipe.
#[unsafe(no_mangle)]
pub static PER_KIB: Global<[u64; 2]> = Global::new([0; 2]);

/// Signals whose life is recorded: bit n-1 for signal n.
#[unsafe(no_mangle)]
pub static SIGNALS: Global<u64> = Global::new(0);

/// 1: copies that function hooks time become records of their own, beside the copies that tracepoints mark, so that the
/// two can be compared.
#[unsafe(no_mangle)]
pub static BESIDE: Global<u32> = Global::new(0);

/// 1: `file.f_ep_links` is a list of epoll items in the file itself, as before 5.12.
#[unsafe(no_mangle)]
pub static EPOLL_LISTED: Global<u32> = Global::new(0);

/// Number of rows from which on new files share rows, see `abi::FOLDED`.
#[unsafe(no_mangle)]
pub static FOLD_AT: Global<u64> = Global::new(u64::MAX);

/// Offsets of kernel fields, by `abi::Field`.
#[unsafe(no_mangle)]
pub static OFFSETS: Global<[u32; FIELDS]> = Global::new([0; FIELDS]);

/// The bit of `task_struct.in_iowait` in the four bytes at its place in [`OFFSETS`]; 0: unknown.
#[unsafe(no_mangle)]
pub static IOWAIT_MASK: Global<u32> = Global::new(0);

/// A deliberate fault, see `abi::fault`.
#[unsafe(no_mangle)]
pub static FAULT: Global<u32> = Global::new(0);

/// By how much [`FAULT`] shifts its mark, ns, in two's complement.
#[unsafe(no_mangle)]
pub static FAULT_NS: Global<u64> = Global::new(0);

/// Which thread is where: [`mark_of`](iotrace_ebpf::thread::mark_of) its id, in sets of [`WAYS`]; 0: the place is free.
#[map]
pub static PLACES: Array<[u64; WAYS]> = Array::with_max_entries(SETS, 0);

/// State of the threads of the target, at the place that their id has in [`PLACES`].
#[map]
pub static TASKS: Array<Task> = Array::with_max_entries(SETS * WAYS as u32, 0);

/// Places that are taken: inserting a key that is there fails, which makes a claim atomic.
#[map]
pub static CLAIMS: HashMap<u32, u32> = HashMap::with_max_entries(SETS * WAYS as u32, 0);

/// State of the threads that found all [`WAYS`] places of their set in [`PLACES`] taken.
#[map]
pub static OVERFLOW: HashMap<u32, Task> = HashMap::with_max_entries(4096, 0);

/// 1 as soon as any thread is in [`OVERFLOW`]: until then no look-up there is needed.
#[map]
pub static OVERFLOWN: Array<u32> = Array::with_max_entries(1, 0);

/// A zeroed [`Task`] to insert from: too large for the stack of a probe.
#[map]
pub static NEW_TASK: Array<Task> = Array::with_max_entries(1, 0);

/// When all probes were attached, ns; 0: they are not yet.
#[map]
pub static ATTACHED: Array<u64> = Array::with_max_entries(1, 0);

/// Calls that handlers of signals interrupted, and that are entered again when these return. The oldest make room for
/// others: a handler may leave by `longjmp`.
#[map]
pub static PARKED: LruHashMap<ParkedKey, Task> = LruHashMap::with_max_entries(4096, 0);

/// Calls that began before they were observed and ended in `restart_syscall`, by the address of the function that it went
/// on in (`task_struct.restart_block.fn`).
#[map]
pub static RESUMED: HashMap<u64, u64> = HashMap::with_max_entries(16, 0);

/// Processes of the target (modes `ONE` and `TGIDS`) that have not ended, by their id in the initial pid namespace; the
/// value is their id in that of iotrace, or 0 where that was not to be had.
#[map]
pub static TGIDS: HashMap<u32, u32> = HashMap::with_max_entries(PROCESSES_ROOM, 0);

/// 1 where a process whose id has these low bits was ever in [`TGIDS`]. Processes that are not observed mostly stop
/// here, without the helper call and the hash of a look-up in [`TGIDS`].
#[map]
pub static MAYBE_TGIDS: Array<u8> = Array::with_max_entries(MAYBE, 0);

/// 1 where a thread whose id has these low bits has woken one of the target: its name is sent when it ends, as nobody
/// can look it up any more then.
#[map]
pub static WAKERS: Array<u8> = Array::with_max_entries(MAYBE, 0);

/// Threads of the target (mode `TIDS`) that have not ended; keys and values as in [`TGIDS`].
#[map]
pub static TIDS: HashMap<u32, u32> = HashMap::with_max_entries(THREADS_ROOM, 0);

/// Sockets that threads of the target receive from.
#[map]
pub static SOCKS: HashMap<u64, SockState> = HashMap::with_max_entries(16_384, 0);

/// 1 for a local port at which the target may accept connections; port 0 stands for all of AF_UNIX.
#[map]
pub static ACCEPTS: Array<u8> = Array::with_max_entries(65_536, 0);

/// Rings that threads of the target submit to.
#[map]
pub static RINGS: HashMap<u64, u32> = HashMap::with_max_entries(1024, 0);

/// The last `sk_data_ready` on this CPU: a wake-up that follows in the same context is attributed to it.
#[map]
pub static LAST_READY: PerCpuArray<LastReady> = PerCpuArray::with_max_entries(1, 0);

/// Where this CPU's preemption count lies; 0: not known yet.
#[map]
pub static PREEMPT_COUNT: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Most frames of a stack that are looked at.
pub const FRAMES_OF: usize = 24;

/// The kernel stack of the thread that leaves this CPU.
#[map]
pub static FRAMES: PerCpuArray<[u64; FRAMES_OF]> = PerCpuArray::with_max_entries(1, 0);

/// Sums by row. The number of rows is set at load time.
#[map]
pub static ROWS: PerCpuHashMap<AggKey, Agg> = PerCpuHashMap::with_max_entries(1024, 0);

/// Rows that were made since user space last made room; it begins with those that it left.
#[map]
pub static ROWS_MADE: Array<u64> = Array::with_max_entries(1, 0);

/// TCP ports that are listened on, by `abi::listener`; user space sets it, and its room. The values mean nothing.
#[map]
pub static LISTENING: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

/// A zeroed [`Agg`] to insert from.
#[map]
pub static NEW_ROW: Array<Agg> = Array::with_max_entries(1, 0);

/// Errors other than `EAGAIN`, by row.
#[map]
pub static ERRORS: PerCpuHashMap<ErrorKey, u64> = PerCpuHashMap::with_max_entries(ERRORS_ROOM, 0);

/// Wake-ups that ended a sleep in a call.
#[map]
pub static WAKES: PerCpuHashMap<WakeKey, u64> = PerCpuHashMap::with_max_entries(WAKES_ROOM, 0);

/// Transfers to a process by the way they came, see `abi::ways`.
#[map]
pub static TRANSFERS: PerCpuHashMap<WayKey, u64> = PerCpuHashMap::with_max_entries(WAYS_ROOM, 0);

/// Time of threads outside traced calls, and whole lives of those that have ended.
#[map]
pub static LIVES: PerCpuHashMap<LifeKey, LifeSum> = PerCpuHashMap::with_max_entries(LIVES_ROOM, 0);

/// For how long which process had the CPU while threads of another were runnable, ns.
#[map]
pub static TAKEN: PerCpuHashMap<TakenKey, u64> = PerCpuHashMap::with_max_entries(TAKEN_ROOM, 0);

/// Time that was waited for data on TCP connections, by their ends.
#[map]
pub static PEERS: PerCpuHashMap<PeerKey, LifeSum> = PerCpuHashMap::with_max_entries(PEERS_ROOM, 0);

/// Least time that the marks of a copy measure without any copy, ns, by what ends it (`probes::copy::Floor`);
/// user space sets it after calibration.
#[map]
pub static FLOORS: Array<u64> = Array::with_max_entries(FLOORS_OF as u32, 0);

/// Copies that a function hook has seen begin, by thread id; used where [`BESIDE`] is 1.
#[map]
pub static BESIDES: HashMap<u32, Beside> = HashMap::with_max_entries(256, 0);

/// Records on their way to user space. The size is set at load time.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Loss counters, see `abi::Stat`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATS, 0);

/// The value of [`LAST_READY`]: which socket, and when.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastReady {
    /// Address of the `struct sock`.
    pub sock: u64,
    /// When `sk_data_ready` was, ns.
    pub at: u64,
    /// Address of the `task_struct` that was current then.
    pub task: u64,
    /// Cookie of the socket.
    pub cookie: u64,
}

/// Whether a process is in the list of processes.
#[inline(always)]
pub fn is_listed(tgid: u32) -> bool {
    // SAFETY: one byte that changes once.
    MAYBE_TGIDS.get_ptr(tgid & (MAYBE - 1)).is_some_and(|maybe| unsafe { *maybe } != 0)
        && TGIDS.get_ptr(tgid).is_some()
}

/// The byte of a thread in [`WAKERS`].
#[inline(always)]
pub fn waker(tid: u32) -> Option<&'static mut u8> {
    // SAFETY: the value lives as long as the map; one byte, of which a lost write costs a name.
    WAKERS.get_ptr_mut(tid & (MAYBE - 1)).map(|byte| unsafe { &mut *byte })
}

/// Puts a process on the list of processes; `shown` is its id in the pid namespace of iotrace.
#[inline(always)]
pub fn list(tgid: u32, shown: u32) {
    if TGIDS.insert(tgid, shown, 0).is_err() {
        count(Stat::TargetsFull);
    } else if let Some(maybe) = MAYBE_TGIDS.get_ptr_mut(tgid & (MAYBE - 1)) {
        // SAFETY: one byte, and every writer writes the same value.
        unsafe { *maybe = 1 };
    }
}

/// The value of [`BESIDES`]: a copy that a function hook has seen begin.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Beside {
    /// The copy; `off` is how long its thread had been away, until it ends.
    pub window: Window,
    /// Which function opened it.
    pub by: u64,
}

/// Counts one loss.
#[inline(always)]
pub fn count(stat: Stat) {
    add(stat, 1);
}

/// Adds to a loss counter.
#[inline(always)]
pub fn add(stat: Stat, value: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(stat as u32) {
        // SAFETY: the slot belongs to this CPU. A probe in an interrupt between load and store loses one count, which
        // is cheaper than an atomic addition for every count.
        unsafe { *counter += value };
    }
}

/// Whether syscall `nr` is traced: 0, or one of `abi::traits::traced`.
#[inline(always)]
pub fn traced(nr: u64) -> u8 {
    if nr >= MAX_SYSCALL as u64 {
        return 0;
    }
    // SAFETY: `nr` is inside the table. Volatile, because user space overwrites the initial value.
    unsafe { core::ptr::from_ref(&TRACED).cast::<u8>().add(nr as usize).read_volatile() }
}

/// The traits of syscall `nr`; 0 of one that is not traced.
#[inline(always)]
pub fn traits_of(nr: u64) -> u32 {
    if nr >= MAX_SYSCALL as u64 {
        return 0;
    }
    // SAFETY: `nr` is inside the table. Volatile, because user space overwrites the initial value.
    unsafe { core::ptr::from_ref(&TRAITS).cast::<u32>().add(nr as usize).read_volatile() }
}

/// The offset of a kernel field.
#[inline(always)]
pub fn offset(field: Field) -> u64 {
    // SAFETY: a field is an index into the table. Volatile, as above.
    u64::from(unsafe { core::ptr::from_ref(&OFFSETS).cast::<u32>().add(field as usize).read_volatile() })
}

/// Whether closed spans go to a sink.
#[inline(always)]
pub fn sinks_to(sink: u32) -> bool {
    SINKS.load() & sink != 0
}
