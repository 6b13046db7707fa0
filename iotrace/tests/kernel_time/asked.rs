//! Calls that block for no data, asked for with `-e`: each is a row with the time that the program itself measured.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iotrace_core::domain::Role;
use iotrace_core::summary::{Call, Document};

use crate::attempts;
use crate::children::{Child, Page};
use crate::places::agrees;
use crate::programs::{nanosleep, now, wait_for, wake};
use crate::trace::{Trace, process};

/// What the thread `doer` does: syscall, how often, and what its time goes to.
const DONE: [(&str, u64, Role); 7] = [
    ("nanosleep", 3, Role::Other),
    ("clock_nanosleep", 2, Role::Other),
    ("futex", 1, Role::Sync),
    ("wait4", 1, Role::Other),
    ("waitid", 1, Role::Other),
    ("flock", 1, Role::Sync),
    ("openat", 1, Role::Other),
];

static WORD: AtomicU32 = AtomicU32::new(0);
static HELD: AtomicU32 = AtomicU32::new(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Does something on a thread that nobody waits for: waiting would be a `futex` of its own.
fn beside(work: impl FnOnce() + Send + 'static) {
    // A new thread has the name of the one that makes it: `doer`, whose rows are looked for.
    drop(std::thread::Builder::new().name("beside".to_owned()).spawn(work).unwrap());
}

/// How long something took, ns, whatever came of it.
fn timed<T>(work: impl FnOnce() -> T) -> u64 {
    let began = now();
    let _ = work();
    now() - began
}

fn clock_nanosleep(long: Duration) {
    let wanted = libc::timespec { tv_sec: 0, tv_nsec: long.subsec_nanos().into() };
    // SAFETY: a valid time to sleep, and no place for what is left.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const wanted, std::ptr::null_mut()) };
}

/// A child that ends after a while.
fn child(long: Duration) -> i32 {
    // SAFETY: the child only sleeps, and ends without any clean-up.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            nanosleep(long);
            libc::_exit(0);
        }
        child
    }
}

fn doer(page: &Page, files: [i32; 2], fifo: &CString) {
    page.note(0, (0..3).map(|_| nanosleep(ms(60))).sum());
    page.note(1, (0..2).map(|_| timed(|| clock_nanosleep(ms(60)))).sum());
    beside(|| {
        nanosleep(ms(150));
        wake(&WORD);
    });
    page.note(2, wait_for(&WORD));
    let pid = child(ms(150));
    // SAFETY: our own children, each waited for once; all zeros are room for what is told of one.
    unsafe {
        page.note(3, timed(|| libc::waitpid(pid, std::ptr::null_mut(), 0)));
        let (pid, mut told): (_, libc::siginfo_t) = (child(ms(150)), std::mem::zeroed());
        page.note(4, timed(|| libc::waitid(libc::P_PID, pid as u32, &raw mut told, libc::WEXITED)));
    }
    beside(move || {
        // SAFETY: a descriptor of our own.
        unsafe { libc::flock(files[0], libc::LOCK_EX) };
        HELD.store(1, Ordering::SeqCst);
        nanosleep(ms(150));
        // SAFETY: as above.
        unsafe { libc::flock(files[0], libc::LOCK_UN) };
    });
    while HELD.load(Ordering::SeqCst) == 0 {
        std::hint::spin_loop();
    }
    // SAFETY: as above.
    page.note(5, timed(|| unsafe { libc::flock(files[1], libc::LOCK_EX) }));
    let other = fifo.clone();
    beside(move || {
        nanosleep(ms(150));
        // SAFETY: a path that ends with a zero.
        unsafe { libc::open(other.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    });
    // SAFETY: as above.
    page.note(6, timed(|| unsafe { libc::open(fifo.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }));
}

fn program(place: &Path) -> Child {
    let fifo = CString::new(place.join("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: a path that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let file = place.join("file");
    let files = [(); 2].map(|()| {
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&file).unwrap();
        std::os::fd::IntoRawFd::into_raw_fd(file)
    });
    Child::fork(move |page| {
        page.gate();
        let named = std::thread::Builder::new().name("doer".to_owned());
        std::thread::scope(|scope| {
            named.spawn_scoped(scope, || doer(page, files, &fifo)).unwrap();
        });
    })
}

fn of_doer<'a>(document: &'a Document, pid: i32, syscall: &str) -> Result<&'a Call, String> {
    let mine = |call: &&Call| call.syscall == syscall && call.thread_name.as_deref() == Some("doer");
    let calls = &process(document, pid).calls;
    calls.iter().find(mine).ok_or_else(|| format!("no {syscall} of it: {calls:?}"))
}

#[test]
#[ignore = "needs root and eBPF"]
fn a_call_that_is_asked_for_is_a_row_with_the_time_of_the_programs_own_clock() {
    attempts::until(3, "a busy machine delays a time stamp", |attempt| {
        let place = std::env::temp_dir().join(format!("iotrace-asked-{}-{attempt}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let child = program(&place);
        let names: Vec<&str> = DONE.iter().map(|(name, ..)| *name).collect();
        let wanted = format!("trace={}", names.join(","));
        let trace = Trace::of(&[child.pid], &["--per", "thread", "--no-follow", "-e", &wanted]);
        child.run();
        // Every nanosecond is in one place: see `trace::holds`.
        let document = trace.stop();
        std::fs::remove_dir_all(&place).unwrap();

        let threads = &process(&document, child.pid).thread_times;
        let doer = threads.iter().find(|one| one.name == "doer").ok_or("no time of it")?;
        for (at, (syscall, calls, role)) in DONE.into_iter().enumerate() {
            let row = of_doer(&document, child.pid, syscall)?;
            assert_eq!(row.role, role, "{row:?}");
            if row.calls != calls || row.slept_calls != calls {
                return Err(format!("{calls} calls that slept: {row:?}"));
            }
            agrees(syscall, row.total_ns, child.page.noted(at))?;
            let asleep = if role == Role::Sync { row.lock_ns } else { row.wait_ns };
            agrees(syscall, asleep + row.runq_ns, child.page.noted(at))?;
            assert!(doer.time.elsewhere.iter().all(|one| one.what != syscall), "{:?}", doer.time.elsewhere);
        }
        let timers = &process(&document, child.pid).wakers;
        let by_timer = |syscall| timers.iter().any(|one| one.comm == "timer" && one.syscall == syscall);
        assert!(by_timer("nanosleep") && by_timer("clock_nanosleep"), "{timers:?}");
        Ok(())
    });
}
