//! The built-in workloads: one textbook loop for each model, and the peer process that sends to it.
//!
//! [`refuse()`] finds workloads that cannot be run before anything is spawned. [`run`] is the whole life of the
//! workload process: it makes the connections, forks the peer, runs the model's loop, and writes one
//! [`Report`] as JSON to the control pipe.
//!
//! **The workload process has no timeouts.** A timer or a watching thread in the reader would add signals and
//! threads to what is measured. A reader whose peer dies sees the end of its stream, but a UDP reader would wait for
//! ever, and so would any reader whose wake-up got lost. Therefore the parent waits for the report no longer than
//! [`patience`], kills the reader and reports [`stalled`]. If the parent ends first, the kernel kills the reader
//! (when the thread that spawned it ends), and then the peer (when the reader ends): `PR_SET_PDEATHSIG` in prctl(2).

mod blocking;
mod epoll;
mod io_uring;
mod linux_aio;
mod linux_aio_poll;
mod log;
mod multishot;
mod nonblocking;
mod peer;
mod poll;
mod posix_aio;
mod reader;
mod reference;
mod refuse;
mod select;
mod shared;
mod sigio;
mod sys;
mod transport;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use self::log::Recorder;
use self::peer::Peer;
use self::reader::Inbox;
use self::shared::Shared;
use self::sys::{Stop, failure, io_failure};
use iotrace_core::domain::model::Model;
use iotrace_core::domain::spec::{Connection, Failure, Log, Report, Ring, Spec};

pub use self::refuse::{MAX_DATAGRAM, MAX_MESSAGES, MAX_SIZE, refuse};
pub use self::sys::{
    empty_call_ns, empty_calls_ns, gettid, now_ns, own_work, pin, set_name, sleep_until, two_cpus,
};

/// Time that a workload gets on top of its schedule before it counts as stalled.
const QUIET: Duration = Duration::from_secs(10);

/// Runs `spec` in this process and writes the report to `out`, the control pipe.
///
/// Call it in a process that has one thread and was made for the workload: it renames the process, has it killed
/// when its parent ends, forks, raises its limit on descriptors, and installs a SIGIO handler if the model needs one.
/// Drop privileges before: a change of credentials clears the parent-death signal, PR_SET_PDEATHSIG in prctl(2).
///
/// # Errors
/// The report could not be written, or the parent is gone. A workload that failed is a [`Report::Failed`].
pub fn run(spec: &Spec, out: OwnedFd) -> io::Result<()> {
    // SAFETY: getppid(2) cannot fail.
    if !sys::die_with_parent(unsafe { libc::getppid() }) {
        return Err(io::Error::other("the parent process is gone"));
    }
    let report = match perform(spec, out.as_raw_fd()) {
        Ok(log) => Report::Done(Box::new(log)),
        Err(failure) => Report::Failed(failure),
    };
    let mut out = BufWriter::new(File::from(out));
    serde_json::to_writer(&mut out, &report)?;
    out.flush()
}

/// How long the parent should wait for the report before it kills the workload.
///
/// The sum of ten seconds, twice the schedule with a millisecond more for each message, 20 ns for each byte, and 5 ms
/// for each connection.
pub fn patience(spec: &Spec) -> Duration {
    let messages = spec.total_messages();
    // A poller looks once more after each message, and is that much late.
    let each = spec.interval_ns.saturating_add(spec.poll_interval_ns).saturating_add(1_000_000);
    let schedule = messages.saturating_mul(each).saturating_mul(2);
    let bytes = spec.size.saturating_mul(messages).saturating_mul(20);
    let connections = u64::from(spec.connections) * 5_000_000;
    QUIET + Duration::from_nanos(schedule.saturating_add(bytes).saturating_add(connections))
}

/// The failure that the parent reports after it has waited for [`patience`] and killed the workload.
pub fn stalled(spec: &Spec) -> Failure {
    failure(
        "stalled",
        format_args!(
            "the {} workload over {} gave no report within {:.0?} and was killed: its sender may have been killed, \
             or the machine is overloaded; try fewer or smaller messages",
            spec.model,
            spec.transport,
            patience(spec)
        ),
    )
}

/// Everything that the loop of a model works with.
struct Stage<'a> {
    spec: &'a Spec,
    recorder: &'a Recorder<'a>,
    peer: &'a Peer<'a>,
    /// One inbox for each connection.
    inboxes: Vec<Inbox>,
    /// For each connection the id of the thread that serves it; empty if the main thread serves all.
    threads: Vec<u32>,
}

fn perform(spec: &Spec, control: RawFd) -> Result<Log, Failure> {
    if let Some(failure) = refuse(spec) {
        return Err(failure);
    }
    set_name(c"iotrace-app");
    let shared = Shared::new(spec.total_messages())?;
    let (mut readers, mut senders, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for pair in transport::pairs(spec)? {
        readers.push(pair.reader);
        senders.push(pair.sender);
        names.push(pair.name);
    }
    let mut not_its_own: Vec<RawFd> = readers.iter().map(AsRawFd::as_raw_fd).collect();
    not_its_own.push(control);
    let mut peer = Peer::start(spec, &shared, senders, &not_its_own)?;
    // Not for io-uring-sqpoll: there `io_uring::ring` pins the reader, since the kernel's thread needs another CPU.
    if let Some(cpu) = spec.tuning.cpu.filter(|_| spec.model != Model::IoUringSqpoll) {
        pin(cpu as usize).map_err(|errno| {
            io_failure(format_args!("keeping to CPU {cpu}"), &io::Error::from_raw_os_error(errno))
        })?;
    }

    let recorder = Recorder::new(spec, &shared);
    let empty_call_ns = empty_call_ns().map_err(|e| io_failure("timing an empty call", &e))?;
    let reference = reference::reads(spec).map_err(|e| io_failure("making the reference reads", &e))?;
    let inboxes =
        readers.iter().zip(0..).map(|(fd, index)| Inbox::new(spec, index, fd.as_raw_fd())).collect();
    let mut stage = Stage { spec, recorder: &recorder, peer: &peer, inboxes, threads: Vec::new() };
    let ended = match spec.model {
        Model::Blocking => blocking::run(&mut stage),
        Model::Nonblocking => nonblocking::run(&mut stage),
        Model::Select => select::run(&mut stage),
        Model::Poll => poll::run(&mut stage),
        Model::Epoll | Model::EpollEt => epoll::run(&mut stage),
        Model::Sigio => sigio::run(&mut stage),
        Model::PosixAio => posix_aio::run(&mut stage),
        Model::LinuxAio => linux_aio::run(&mut stage),
        Model::LinuxAioPoll => linux_aio_poll::run(&mut stage),
        Model::IoUring if spec.tuning.ring == Ring::Multishot => multishot::run(&mut stage),
        Model::IoUring | Model::IoUringSqpoll => io_uring::run(&mut stage),
    };
    let main = gettid();
    let threads = stage.threads;
    if ended.is_err() {
        peer.kill();
    }
    // The peer writes the time after its last send call at the very end, so wait for it.
    peer.reap();
    ended.map_err(|stop| explain(spec, stop, &shared))?;

    let mut log = Log {
        pid: std::process::id(),
        peer_pid: peer.pid(),
        app_threads: if threads.is_empty() { vec![main] } else { threads.clone() },
        connections: Vec::with_capacity(names.len()),
        empty_call_ns: Some(empty_call_ns),
        reference,
        ..Log::default()
    };
    for (index, (fd, name)) in readers.iter().zip(names).enumerate() {
        let thread = threads.get(index).copied().unwrap_or(main);
        log.connections.push(Connection { fd: fd.as_raw_fd(), name, thread });
    }
    recorder.write_to(&mut log);
    Ok(log)
}

/// The failure for a [`Stop`], in words.
fn explain(spec: &Spec, stop: Stop, shared: &Shared) -> Failure {
    let model = spec.model;
    let reason = |errno| io::Error::from_raw_os_error(errno);
    match stop {
        Stop::Call(call, errno) => io_failure(format_args!("{call} of the {model} workload"), &reason(errno)),
        Stop::Closed => match shared.error() {
            Some(error) => io_failure(format_args!("sending over {}", spec.transport), &error),
            None => failure(
                "io",
                format_args!(
                    "the connection of the {model} workload ended before its last message: its sender was killed; \
                     run it again"
                ),
            ),
        },
        Stop::Surplus => failure(
            "io",
            format_args!("the {model} workload received bytes that its sender did not send; run it again"),
        ),
        Stop::Lacking(what, errno) => failure(
            "unsupported",
            format_args!("{model} is not available here: {what} failed: {}", reason(errno)),
        ),
        Stop::NoRing(errno) => io_uring::no_ring(spec, errno),
        Stop::FdTooHigh(fd) => failure(
            "unsupported",
            format_args!(
                "select cannot watch descriptor {fd}: an fd_set has room for descriptors below {} (FD_SETSIZE); use \
                 fewer connections, or poll or epoll",
                libc::FD_SETSIZE
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::refuse::tests::spec;
    use super::*;

    #[test]
    fn patience_grows_with_what_is_asked_for_and_never_overflows() {
        let least = patience(&spec());
        assert!(least >= QUIET);
        assert!(patience(&Spec { interval_ns: 1_000_000_000, ..spec() }) > least + Duration::from_secs(20));
        assert!(
            patience(&Spec { poll_interval_ns: 1_000_000_000, ..spec() }) > least + Duration::from_secs(20)
        );
        assert!(patience(&Spec { size: u64::MAX, interval_ns: u64::MAX, ..spec() }) > least);
    }

    #[test]
    fn stalled_names_the_workload() {
        let failure = stalled(&spec());
        assert_eq!(failure.code, "stalled");
        assert!(failure.text.contains("blocking") && failure.text.contains("udp"));
    }
}
