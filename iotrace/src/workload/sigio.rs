//! Signal-driven I/O: `SIGIO` says that data is there, and its handler calls `recv`.
//!
//! ```text
//! sigaction(SIGIO, handler, SA_RESTART)
//! for each fd:  fcntl(fd, F_SETOWN, getpid());  fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK)
//! meanwhile compute:  own work until all messages are there
//!     handler:  for each fd:  recv(fd, ...) until EAGAIN
//! meanwhile wait:     SIGIO is blocked;  rt_sigtimedwait({SIGIO});  then the same reads, outside a handler
//! ```
//!
//! fcntl(2), signal(7), sigwaitinfo(2). A plain `SIGIO` does not say which descriptor it is for, and does not queue:
//! signals that come while one is pending are lost (`send_sigio`, `legacy_queue`), so a run of the handler must read
//! all data that is there. The handler makes async-signal-safe calls only (signal-safety(7)): `recv` or `read`, and
//! clock_gettime. It takes no lock and allocates nothing.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr};

use super::Stage;
use super::epoll::drain;
use super::log::{Recorder, bump};
use super::reader::{Inbox, Reader};
use super::sys::{Stop, add_flags, errno, own_work};
use iotrace_core::domain::model::Meanwhile;

/// Everything that the handler works with. While SIGIO is unblocked, only the handler uses `reading`.
struct Handling<'a> {
    recorder: &'a Recorder<'a>,
    reading: UnsafeCell<(Reader<'a>, &'a mut [Inbox])>,
    stop: UnsafeCell<Option<Stop>>,
    stopped: AtomicBool,
}

/// What the handler works with while the loop runs; null at other times.
static HANDLING: AtomicPtr<Handling<'static>> = AtomicPtr::new(ptr::null_mut());

/// Runs the loop until all messages have been received.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    let waits = stage.spec.meanwhile == Some(Meanwhile::Wait);
    let sigio = sigio_set();
    // Blocked until the loop begins, so that the handler does not run before.
    mask(libc::SIG_BLOCK, &sigio)?;
    for inbox in &stage.inboxes {
        // SAFETY: F_SETOWN takes a plain integer.
        if unsafe { libc::fcntl(inbox.fd, libc::F_SETOWN, libc::getpid()) } != 0 {
            return Err(Stop::call("fcntl(F_SETOWN)"));
        }
        add_flags(inbox.fd, libc::O_ASYNC | libc::O_NONBLOCK)?;
    }
    let recorder = stage.recorder;
    let mut reader = Reader::new(recorder);
    // No signal comes for data that arrived before O_ASYNC was set, so read once: it finds nothing, or the end of a
    // connection whose sender was killed.
    for inbox in &mut stage.inboxes {
        drain(recorder, &mut reader, inbox)?;
    }
    stage.peer.go();
    if waits { wait(reader, &mut stage.inboxes, &sigio) } else { compute(reader, &mut stage.inboxes, &sigio) }
}

/// Meanwhile compute: the thread does its own work, and the handler reads.
fn compute(mut reader: Reader, inboxes: &mut [Inbox], sigio: &libc::sigset_t) -> Result<(), Stop> {
    let recorder = reader.recorder;
    install()?;
    reader.begin();
    let handling = Handling {
        recorder,
        reading: UnsafeCell::new((reader, inboxes)),
        stop: UnsafeCell::new(None),
        stopped: AtomicBool::new(false),
    };
    HANDLING.store((&raw const handling).cast_mut().cast(), Release);
    mask(libc::SIG_UNBLOCK, sigio)?;
    while !recorder.done() && !handling.stopped.load(Acquire) {
        own_work(1);
        bump(&recorder.live.units);
    }
    mask(libc::SIG_BLOCK, sigio)?;
    HANDLING.store(ptr::null_mut(), Release);
    handling.stop.into_inner().map_or(Ok(()), Err)
}

extern "C" fn on_sigio(_: libc::c_int) {
    let handling = HANDLING.load(Acquire);
    if handling.is_null() {
        return;
    }
    // SAFETY: set by `compute`, which keeps it alive until it has blocked SIGIO again; SIGIO is blocked
    // while its handler runs, so nothing else touches `reading` and `stop`.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let handling = &*handling;
        let (reader, inboxes) = &mut *handling.reading.get();
        if !handling.stopped.load(Relaxed)
            && let Err(stop) = read_all(handling.recorder, reader, inboxes)
        {
            *handling.stop.get() = Some(stop);
            handling.stopped.store(true, Release);
        }
        *errno = before;
    }
}

/// Meanwhile wait: the thread sleeps until the signal comes, and then reads outside a handler.
fn wait(mut reader: Reader, inboxes: &mut [Inbox], sigio: &libc::sigset_t) -> Result<(), Stop> {
    let recorder = reader.recorder;
    reader.begin();
    while !recorder.done() {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the kernel reads eight bytes of a valid set; no information and no timeout are asked for.
        let signal =
            unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, ptr::from_ref(sigio), none, none, 8usize) };
        if signal < 0 {
            if errno() == libc::EINTR {
                continue;
            }
            return Err(Stop::call("rt_sigtimedwait"));
        }
        read_all(recorder, &mut reader, inboxes)?;
    }
    Ok(())
}

/// Reads all data that is there, on all descriptors. Counts as one run of the handler.
fn read_all(recorder: &Recorder, reader: &mut Reader, inboxes: &mut [Inbox]) -> Result<(), Stop> {
    bump(&recorder.live.handler_runs);
    let mut taken = 0;
    for inbox in inboxes {
        taken += drain(recorder, reader, inbox)?;
    }
    if taken == 0 {
        bump(&recorder.live.handler_spurious);
    }
    Ok(())
}

/// The set of signals with only SIGIO in it.
fn sigio_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; SIGIO is a valid signal.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGIO);
        set.assume_init()
    }
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> Result<(), Stop> {
    // SAFETY: `set` is initialised; the old mask is not asked for.
    let error = unsafe { libc::pthread_sigmask(how, ptr::from_ref(set), ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(Stop::Call("pthread_sigmask", error)) }
}

fn install() -> Result<(), Stop> {
    // SAFETY: all-zero is a valid sigaction with an empty mask; the handler has the right signature.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigio as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGIO, &raw const action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(Stop::call("sigaction")) }
}
