//! Claims about SIGIO and aio_read.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::{Bench, Figure, Trial};
use crate::study::observe::own_tid;
use crate::study::pair::Pair;
use crate::study::times;
use crate::workload::own_work;
use iotrace_core::domain::model::Transport;
use iotrace_core::summary::{Ruling, Source};

/// Longest wait for a signal: more than it takes under emulation.
const PATIENCE: Duration = Duration::from_secs(10);
/// `F_SETOWN_EX` of fcntl(2).
const F_SETOWN_EX: libc::c_int = 15;
/// Arrivals one after the other.
const APART: u32 = 5;
/// Arrivals in a burst, while SIGIO is blocked.
const BURST: u32 = 10;

/// Runs of the handler.
static RUNS: AtomicU32 = AtomicU32::new(0);
/// Bytes that the handler read.
static BYTES: AtomicU32 = AtomicU32::new(0);
/// The descriptor that the handler reads from.
static FROM: AtomicI32 = AtomicI32::new(-1);

pub const SIGIO: Trial = Trial {
    id: "sigio",
    claim: "With SIGIO the process is not blocked while it waits, and reads in the handler; every arrival gives one \
            signal",
    experiment: "A thread computes while bytes arrive over unix one after the other, and 10 in a burst while SIGIO is \
                 blocked; the handler reads all that is there. Sleeps are the thread's voluntary context switches",
    rule: "holds if the thread never slept, the handler read every byte, and it ran once for each arrival, in the \
           burst, too; with a condition if only the burst gave fewer runs; else it does not hold",
    observed: false,
    measures: &[
        Figure::of("sleeps of the thread", "sleeps", Source::Count),
        Figure::of("arrivals one by one", "arrivals", Source::Count),
        Figure::of("runs of the handler for them", "runs", Source::Count),
        Figure::of("arrivals in a burst", "arrivals", Source::Count),
        Figure::of("runs of the handler for the burst", "runs", Source::Count),
    ],
    run: signalled,
    judge: |found| {
        let slept = found.get("sleeps of the thread")?;
        let (apart, runs) = (found.get("arrivals one by one")?, found.get("runs of the handler for them")?);
        let (burst, merged) =
            (found.get("arrivals in a burst")?, found.get("runs of the handler for the burst")?);
        let because = format!(
            "The thread slept {}. The handler ran {} for {apart:.0} arrivals one by one, and {} for {burst:.0} in a \
             burst: the kernel drops a SIGIO while one is pending (legacy_queue).",
            times(slept),
            times(runs),
            times(merged)
        );
        Some(match (slept == 0.0 && runs == apart, merged == burst) {
            (true, true) => (Ruling::Holds, because),
            (true, false) => (Ruling::Conditional, because),
            (false, _) => (Ruling::Fails, because),
        })
    },
};

extern "C" fn handler(_: libc::c_int) {
    let mut bytes = [0u8; 64];
    RUNS.fetch_add(1, SeqCst);
    loop {
        // SAFETY: the buffer is as long as it says; recv may be called in a handler.
        let got = unsafe { libc::recv(FROM.load(SeqCst), bytes.as_mut_ptr().cast(), 64, libc::MSG_DONTWAIT) };
        if got <= 0 {
            return;
        }
        BYTES.fetch_add(got as u32, SeqCst);
    }
}

fn signalled(bench: &mut Bench<'_>) -> io::Result<()> {
    let pair = Pair::new(Transport::Unix)?;
    FROM.store(pair.reader(), SeqCst);
    RUNS.store(0, SeqCst);
    BYTES.store(0, SeqCst);
    // struct f_owner_ex: what kind of id follows (F_OWNER_TID), and the thread's.
    let owner: [libc::c_int; 2] = [0, own_tid() as libc::pid_t];
    // SAFETY: a valid handler, owner and set; the calls take the descriptor of the pair.
    let set = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGIO, &raw const action, std::ptr::null_mut()) == 0
            && libc::fcntl(pair.reader(), F_SETOWN_EX, &raw const owner) == 0
            && libc::fcntl(pair.reader(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK) == 0
    };
    if !set {
        return Err(io::Error::last_os_error());
    }
    let mut before = 0;
    let mut slept = 0;
    std::thread::scope(|scope| -> io::Result<()> {
        let sender = scope.spawn(|| {
            for arrival in 0..APART {
                std::thread::sleep(Duration::from_micros(300));
                pair.write(&[1])?;
                until(|| BYTES.load(SeqCst) > arrival)?;
            }
            Ok(())
        });
        before = sleeps();
        let began = Instant::now();
        while BYTES.load(SeqCst) < APART && began.elapsed() < PATIENCE {
            std::hint::black_box(own_work(10));
        }
        slept = sleeps() - before;
        sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
    })?;
    bench.put("sleeps of the thread", slept as f64);
    bench.put("arrivals one by one", f64::from(APART));
    bench.put("runs of the handler for them", f64::from(RUNS.swap(0, SeqCst)));
    blocked(true)?;
    let sent = (0..BURST).try_for_each(|_| pair.write(&[1]));
    blocked(false)?;
    sent?;
    until(|| BYTES.load(SeqCst) == APART + BURST)?;
    bench.put("arrivals in a burst", f64::from(BURST));
    bench.put("runs of the handler for the burst", f64::from(RUNS.load(SeqCst)));
    Ok(())
}

/// Blocks or unblocks SIGIO for this thread.
fn blocked(block: bool) -> io::Result<()> {
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: a valid set with one signal.
    let done = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGIO);
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(done)) }
}

/// Waits until `there` is true.
fn until(there: impl Fn() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !there() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a signal did not come"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Voluntary context switches of this thread so far.
fn sleeps() -> i64 {
    // SAFETY: room for the answer; all zeros are a valid value of it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_nvcsw
    }
}

pub const AIO: Trial = Trial {
    id: "aio-read",
    claim: "aio_read returns at once whether or not data is there; the kernel copies by itself and then notifies; \
            neither phase blocks",
    experiment: "aio_read on an empty socket, a byte sent 1 ms later; the thread computes until aio_error says that it \
                 is done. Calls of all threads from their records",
    rule: "holds if no thread of the process slept in a read or made it; with a condition if the thread that asked was \
           free but another thread of the process slept in the read and copied; does not hold if the thread that asked \
           slept",
    observed: true,
    measures: &[
        Figure::of("sleeps of the thread that asked", "sleeps", Source::Ebpf),
        Figure::of("sleeps of other threads in a read", "sleeps", Source::Ebpf),
        Figure::of("reads that other threads made", "calls", Source::Ebpf),
    ],
    run: read_behind,
    judge: |found| {
        let own = found.get("sleeps of the thread that asked")?;
        let (slept, reads) =
            (found.get("sleeps of other threads in a read")?, found.get("reads that other threads made")?);
        Some(if own > 0.0 {
            (Ruling::Fails, format!("The thread that asked slept {}.", times(own)))
        } else if slept > 0.0 || reads > 0.0 {
            let text = format!(
                "The thread that asked never slept. By their records other threads of the process slept {} in a read \
                 and made {}: both phases block a helper thread of the C library, and the kernel does neither \
             by itself.",
                times(slept),
                if reads == 1.0 { "one read".to_owned() } else { format!("{reads:.0} reads") }
            );
            (Ruling::Conditional, text)
        } else {
            (Ruling::Holds, "No thread of the process made or waited for the read.".to_owned())
        })
    },
};

fn read_behind(bench: &mut Bench<'_>) -> io::Result<()> {
    let pair = Pair::new(Transport::Unix)?;
    let mut byte = 0u8;
    let own = own_tid();
    let (done, journal) = bench.watching()?.during(|| {
        // SAFETY: all zeros are a valid control block.
        let mut control: libc::aiocb = unsafe { std::mem::zeroed() };
        control.aio_fildes = pair.reader();
        control.aio_buf = (&raw mut byte).cast();
        control.aio_nbytes = 1;
        // SAFETY: block and buffer live until the request has completed, below.
        if unsafe { libc::aio_read(&raw mut control) } != 0 {
            return Err(io::Error::last_os_error());
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(1));
                pair.write(&[1])
            });
            // Until it is done, however long that takes: the kernel may write to the buffer.
            // SAFETY: the block of a request that was made.
            while unsafe { libc::aio_error(&raw const control) } == libc::EINPROGRESS {
                std::hint::black_box(own_work(10));
            }
        });
        // SAFETY: the request has completed.
        match unsafe { libc::aio_return(&raw mut control) } {
            1 => Ok(()),
            _ => Err(io::Error::other("aio_read did not bring the byte")),
        }
    });
    done?;
    let (mut slept, mut others, mut reads) = (0, 0, 0);
    for call in journal.calls.iter().map(|entry| &entry.call) {
        if call.head.tid == own {
            slept += call.sleeps;
        } else if call.fd == pair.reader() {
            others += call.sleeps;
            reads += u32::from(call.ret > 0);
        }
    }
    bench.put("sleeps of the thread that asked", f64::from(slept));
    bench.put("sleeps of other threads in a read", f64::from(others));
    bench.put("reads that other threads made", f64::from(reads));
    Ok(())
}
