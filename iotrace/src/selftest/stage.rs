//! The tools of the acting process: clocks, brackets around calls, and a sender on a schedule.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread::JoinHandle;

use super::account::{Bracket, Scene, Sent, Unable};
use crate::workload::{gettid, now_ns, sleep_until};

/// A scene that is being played.
#[derive(Default)]
pub struct Stage {
    /// The account of the scene so far.
    pub scene: Scene,
}

/// Why a scene ended early.
#[derive(Debug)]
pub enum Stop {
    /// The scene cannot be played here.
    Unable(Unable),
    /// A call failed that does not fail on a kernel that can play the scene.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(error)
    }
}

/// The scene cannot be played: before kernel `since`, or (`None`) where something is switched off.
pub fn unable(why: impl Into<String>, since: Option<(u32, u32)>) -> Stop {
    Stop::Unable(Unable { why: why.into(), since })
}

impl Stage {
    /// Begins the measured time: everything is set up.
    pub fn begin(&mut self) {
        self.scene.from_ns = now_ns();
    }

    /// Ends the measured time.
    pub fn end(&mut self) {
        self.scene.to_ns = now_ns();
    }

    /// Notes `number` as the fact `name`.
    pub fn note(&mut self, name: &str, number: u64) {
        self.scene.facts.insert(name.to_owned(), number);
    }
}

/// CPU time of the calling thread, ns. This is a system call, but one that iotrace does not trace.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer; this clock exists everywhere.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes a call and notes its times by the clocks of the thread. `call` makes exactly the system call `nr`.
pub fn bracket(nr: libc::c_long, fd: Option<RawFd>, call: impl FnOnce() -> isize) -> Bracket {
    let cpu_before = thread_cpu_ns();
    let before_ns = now_ns();
    let returned = call();
    let after_ns = now_ns();
    let errno = if returned < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
    Bracket {
        tid: gettid(),
        nr: nr as u32,
        fd,
        before_ns,
        after_ns,
        ret: if returned < 0 { -i64::from(errno) } else { returned as i64 },
        cpu_ns: thread_cpu_ns() - cpu_before,
        sent: None,
        delay_ns: None,
        stamp_ns: None,
    }
}

/// `read(2)` in a bracket.
pub fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Bracket {
    let raw = fd.as_raw_fd();
    // SAFETY: the buffer is as long as it says.
    bracket(libc::SYS_read, Some(raw), || unsafe {
        libc::read(raw, buffer.as_mut_ptr().cast(), buffer.len())
    })
}

/// `recvfrom(2)` in a bracket.
pub fn recv(fd: &OwnedFd, buffer: &mut [u8], flags: i32) -> Bracket {
    let raw = fd.as_raw_fd();
    // SAFETY: the buffer is as long as it says.
    bracket(libc::SYS_recvfrom, Some(raw), || unsafe {
        libc::recv(raw, buffer.as_mut_ptr().cast(), buffer.len(), flags)
    })
}

/// Writes all of `bytes` in one call.
///
/// # Errors
/// The call failed, or wrote a part of the bytes only.
pub fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is as long as it says.
    let done = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    match usize::try_from(done) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(written) => Err(io::Error::other(format!("only {written} of {} bytes", bytes.len()))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Calls `send` on a thread of its own `times` times, each time `interval_ns` after the call before. The thread returns
/// the clock around each call, or the error of the first call that failed.
pub fn sender(
    times: usize,
    interval_ns: u64,
    mut send: impl FnMut(usize) -> io::Result<()> + Send + 'static,
) -> JoinHandle<io::Result<Vec<Sent>>> {
    std::thread::spawn(move || {
        let mut sent = Vec::with_capacity(times);
        for index in 0..times {
            sleep_until(now_ns() + interval_ns);
            let before_ns = now_ns();
            send(index)?;
            sent.push(Sent { before_ns, after_ns: now_ns() });
        }
        Ok(sent)
    })
}

/// Waits for a thread and returns its result.
///
/// # Errors
/// The error of the thread, or that it panicked.
pub fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the self-test panicked")))
}

/// Time to leave between two messages, ns, so that their reader is asleep again: 2 ms, and up to 20 ms on a machine
/// that is busy or emulated, where a sleeping thread gets its CPU late.
pub fn pace_ns() -> u64 {
    const NAP: u64 = 200_000;
    let late = |()| {
        let began = now_ns();
        sleep_until(began + NAP);
        now_ns() - began - NAP
    };
    let latest = [(); 5].map(late).into_iter().max().unwrap_or(0);
    (2_000_000 + 3 * latest).min(20_000_000)
}

/// Keeps the calling thread on `cpu` (`None`: the CPU it runs on), and returns the number of that CPU.
///
/// # Errors
/// The kernel refused the CPU.
pub fn pin(cpu: Option<usize>) -> io::Result<usize> {
    // SAFETY: no arguments.
    let cpu = cpu.unwrap_or_else(|| unsafe { libc::sched_getcpu() }.max(0) as usize);
    crate::workload::pin(cpu).map_err(io::Error::from_raw_os_error)?;
    Ok(cpu)
}

/// Context switches of a thread, getrusage(2).
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    /// Switches because the thread went to sleep.
    pub voluntary: u64,
    /// Switches because the scheduler took the CPU away.
    pub involuntary: u64,
}

/// Context switches of the calling thread so far.
pub fn switches() -> Switches {
    // SAFETY: room for the answer; all zeros are a valid value of it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        Switches { voluntary: usage.ru_nvcsw as u64, involuntary: usage.ru_nivcsw as u64 }
    }
}

/// Nanoseconds that the calling thread has waited for a CPU so far, by /proc/thread-self/schedstat; `None` where the
/// kernel keeps no such account (CONFIG_SCHED_INFO).
pub fn run_delay_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (on_cpu, delay) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (on_cpu > 0).then_some(delay)
}

/// Time that the hypervisor took from all CPUs, ns, by `/proc/stat` in ticks of 10 ms; a kernel that knows of it leaves
/// it out of the time of threads.
pub fn steal_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    ticks.unwrap_or(0).saturating_mul(10_000_000)
}

/// A pipe: the reading end and the writing end.
///
/// # Errors
/// `pipe2(2)` failed.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    crate::host::launch::pipe()
}

/// A connected pair of AF_UNIX stream sockets.
///
/// # Errors
/// `socketpair(2)` failed.
pub fn unix_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = std::os::unix::net::UnixStream::pair()?;
    Ok((here.into(), there.into()))
}

/// A connected pair of TCP sockets on loopback: the reading end and the writing end.
///
/// # Errors
/// A call failed that makes or connects the sockets.
pub fn tcp_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let sender = std::net::TcpStream::connect(listener.local_addr()?)?;
    sender.set_nodelay(true)?;
    let (reader, _) = listener.accept()?;
    Ok((reader.into(), sender.into()))
}

/// A connected pair of UDP sockets on loopback: the reading end and the writing end.
///
/// # Errors
/// A call failed that makes or connects the sockets.
pub fn udp_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let reader = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let sender = std::net::UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(reader.local_addr()?)?;
    Ok((reader.into(), sender.into()))
}

/// The descriptor that a call returned.
///
/// # Errors
/// The call returned -1: errno.
pub fn descriptor(returned: i32) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(returned) })
}

/// Checks the return value of a call.
///
/// # Errors
/// The call returned -1: errno.
pub fn ok(returned: i32) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
