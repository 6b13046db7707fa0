//! Every built-in workload, run to its end in a process of its own. No probes, no privileges.
//!
//! Asserted are counts, order and what one clock can say of two events; never how long something took.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests as well")]

#[path = "../support/attempts.rs"]
mod attempts;
mod limits;

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use iotrace::workload;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::{Counters, Failure, Log, Report, Spec, Tuning};

const TRANSPORTS: [Transport; 4] = [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Pipe];
const STREAMS: [Transport; 3] = [Transport::Tcp, Transport::Unix, Transport::Pipe];

fn spec(model: Model, transport: Transport) -> Spec {
    Spec {
        model,
        transport,
        messages: 20,
        size: 100,
        interval_ns: 300_000,
        connections: 1,
        active: 1,
        poll_interval_ns: 0,
        warmup: 3,
        calibration: 5,
        meanwhile: model.leaves_thread_free().then_some(Meanwhile::Compute),
        port: 0,
        tuning: Tuning::default(),
    }
}

/// The spec with everything the thread can do meanwhile.
fn with_meanwhiles(spec: &Spec) -> Vec<Spec> {
    if spec.model.leaves_thread_free() {
        [Meanwhile::Compute, Meanwhile::Wait].map(|m| Spec { meanwhile: Some(m), ..spec.clone() }).to_vec()
    } else {
        vec![spec.clone()]
    }
}

/// A workload in a child process.
struct Child {
    pid: libc::pid_t,
    out: fs::File,
    spec: Spec,
}

fn spawn(spec: &Spec) -> Child {
    spawn_with(spec, || ())
}

/// Spawns a workload that runs after `before`.
fn spawn_with(spec: &Spec, before: impl FnOnce()) -> Child {
    let (out, control) = std::io::pipe().unwrap();
    // SAFETY: the child runs the workload only, which prints nothing and takes no lock of another thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        drop(out);
        before();
        let written = workload::run(spec, control.into()).is_ok();
        // SAFETY: ends the child without running anything of the test harness; asks whether a child is left.
        unsafe {
            let left = libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) != -1;
            libc::_exit(if !written { 3 } else { i32::from(left) });
        }
    }
    drop(control);
    Child { pid, out: OwnedFd::from(out).into(), spec: spec.clone() }
}

impl Child {
    /// The report; kills a child that gives none.
    fn report(mut self) -> Report {
        let end = Instant::now() + workload::patience(&self.spec) + Duration::from_secs(60);
        let mut json = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis() as i32;
            let mut fd = libc::pollfd { fd: self.out.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd.
            if unsafe { libc::poll(&raw mut fd, 1, left) } == 0 {
                // SAFETY: the child has not been waited for.
                unsafe { libc::kill(self.pid, libc::SIGKILL) };
                panic!("no report of {:?}", self.spec);
            }
            match self.out.read(&mut chunk).unwrap() {
                0 => break,
                n => json.extend_from_slice(&chunk[..n]),
            }
        }
        let mut status = 0;
        // SAFETY: waits for this test's own child.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        assert!(libc::WIFEXITED(status), "{:?} ended with status {status:#x}", self.spec);
        assert_eq!(libc::WEXITSTATUS(status), 0, "1: a child is left, 3: no report; {:?}", self.spec);
        serde_json::from_slice(&json).unwrap()
    }
}

fn log_of(spec: &Spec) -> Log {
    match spawn(spec).report() {
        Report::Done(log) => *log,
        Report::Failed(failure) => panic!("{spec:?}: {failure:?}"),
    }
}

fn failure_of(spec: &Spec) -> Failure {
    match spawn(spec).report() {
        Report::Failed(failure) => failure,
        Report::Done(_) => panic!("{spec:?} ran"),
    }
}

/// Runs `spec` and checks everything that holds for every workload.
///
/// On a machine so loaded that the reader does not get a CPU while the messages come in, all of them are there
/// when it looks, and it truly has no time of its own; then it is run again.
fn check(spec: &Spec) -> Log {
    attempts::until(20, "on a loaded machine all messages may be there when the reader looks", |_| {
        let log = log_of(spec);
        check_log(spec, &log);
        if spec.meanwhile != Some(Meanwhile::Compute) || log.own_work_units > 0 {
            return Ok(log);
        }
        Err(format!("no own work: {spec:?}"))
    })
}

/// What holds whether or not the reader ever had to wait: where data is always there, the thread has no time
/// of its own.
fn check_log(spec: &Spec, log: &Log) {
    let what = format!("{spec:?}\n{log:?}");
    let first = (spec.calibration + spec.warmup) as usize;

    assert_eq!(log.messages.len() as u64, spec.total_messages(), "{what}");
    let mut last_sent = 0;
    let mut last_had = vec![0; spec.connections as usize];
    for (message, index) in log.messages.iter().zip(0..) {
        assert_eq!(message.connection, spec.connection_of(index), "message {index} {what}");
        assert_eq!(message.bytes, spec.size_of(index), "message {index} {what}");
        assert!(last_sent <= message.sent_ns && message.sent_ns > 0, "message {index} {what}");
        assert!(message.sent_ns <= message.sent_done_ns, "message {index} {what}");
        assert!(message.sent_ns <= message.have_ns, "message {index} {what}");
        assert!(message.want_ns <= message.have_ns && message.want_ns > 0, "message {index} {what}");
        let had = &mut last_had[message.connection as usize];
        assert!(*had < message.have_ns, "message {index} {what}");
        *had = message.have_ns;
        last_sent = message.sent_done_ns;
    }
    let (uncounted, counted) = log.messages.split_at(first);
    let last_had = counted.iter().map(|message| message.have_ns).max().unwrap();
    assert_eq!(log.measure_to_ns, last_had, "{what}");
    assert!(uncounted.iter().all(|message| message.have_ns <= log.measure_from_ns), "{what}");
    assert!(counted.iter().all(|message| message.have_ns > log.measure_from_ns), "{what}");
    if spec.connections == 1 {
        assert_eq!(log.measure_from_ns, counted[0].want_ns, "{what}");
    }
    assert!(log.cpu_ns > 0, "{what}");
    assert!(log.empty_call_ns.is_some_and(|ns| ns > 0), "{what}");
    if spec.meanwhile != Some(Meanwhile::Compute) {
        assert_eq!(log.own_work_units, 0, "{what}");
    }

    assert_eq!(log.connections.len(), spec.connections as usize, "{what}");
    let threads: HashSet<_> = log.app_threads.iter().copied().collect();
    if spec.model == Model::Blocking && spec.connections > 1 {
        assert_eq!(threads.len(), spec.connections as usize, "{what}");
        assert!(!threads.contains(&log.pid), "{what}");
    } else {
        assert_eq!(log.app_threads, [log.pid], "{what}");
    }
    assert!(log.connections.iter().all(|connection| threads.contains(&connection.thread)), "{what}");
    let fds: HashSet<_> = log.connections.iter().map(|connection| connection.fd).collect();
    assert_eq!(fds.len(), log.connections.len(), "{what}");
    assert_ne!(log.pid, log.peer_pid);
    assert!(!fs::exists(format!("/proc/{}", log.peer_pid)).unwrap(), "the peer is left: {what}");
    check_counters(spec, log, &what);
}

/// What each loop must count when every message arrives whole.
fn check_counters(spec: &Spec, log: &Log, what: &str) {
    let Counters { again, readiness, handler_runs, submitted, completed, .. } = log.counters;
    let n = spec.messages;
    if spec.size > 1000 {
        return;
    }
    let single = spec.connections == 1;
    // Reading until EAGAIN is cut in two by both edges of the window; by the first only if something came before.
    let cut = u64::from(spec.calibration + spec.warmup == 0);
    let mut expected = Counters { reads: n, ..Counters::default() };
    match spec.model {
        Model::Blocking => {}
        Model::Nonblocking => expected.again = again,
        Model::Select | Model::Poll | Model::Epoll => {
            expected.readiness = if single { n } else { readiness };
            assert!((1..=n).contains(&readiness), "{what}");
        }
        Model::EpollEt => {
            expected.readiness = readiness;
            expected.again = if single { readiness - cut } else { again };
            assert!(readiness >= 1, "{what}");
        }
        Model::Sigio => {
            expected.handler_runs = handler_runs;
            expected.handler_spurious = log.counters.handler_spurious;
            expected.again = if single { handler_runs - cut } else { again };
            assert!(handler_runs >= 1 && log.counters.handler_spurious < handler_runs, "{what}");
        }
        Model::LinuxAioPoll | Model::PosixAio | Model::LinuxAio | Model::IoUring | Model::IoUringSqpoll => {
            expected.reads = if spec.model == Model::LinuxAioPoll { n } else { 0 };
            expected.completed = n;
            expected.submitted = if single { n } else { submitted };
            // Without a warm-up the first request of every connection is counted as well.
            assert!(submitted <= completed + cut * u64::from(spec.connections), "{what}");
        }
    }
    assert_eq!(log.counters, expected, "{what}");
}

fn check_on_every_transport(model: Model) {
    for transport in TRANSPORTS {
        for spec in with_meanwhiles(&spec(model, transport)) {
            let log = check(&spec);
            let name = &log.connections[0].name;
            match transport {
                Transport::Tcp | Transport::Udp => assert!(name.starts_with("127.0.0.1:"), "{name}"),
                Transport::Unix => assert_eq!(name, "socketpair"),
                Transport::Pipe => assert_eq!(name, "pipe"),
            }
        }
    }
}

macro_rules! each_model {
    ($($name:ident: $model:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            check_on_every_transport(Model::$model);
        }
    )*};
}

each_model! {
    blocking: Blocking, nonblocking: Nonblocking, select: Select, poll: Poll, epoll: Epoll, epoll_et: EpollEt,
    sigio: Sigio, posix_aio: PosixAio, linux_aio: LinuxAio, linux_aio_poll: LinuxAioPoll, io_uring: IoUring,
    io_uring_sqpoll: IoUringSqpoll,
}

#[test]
fn many_connections_few_active() {
    for model in Model::ALL {
        if model == Model::LinuxAio {
            continue;
        }
        for transport in [Transport::Udp, Transport::Pipe] {
            let spec = Spec { connections: 300, active: 20, messages: 60, ..spec(model, transport) };
            for spec in with_meanwhiles(&spec) {
                check_log(&spec, &log_of(&spec));
            }
        }
    }
}

#[test]
fn a_thousand_connections() {
    for model in [Model::Select, Model::Epoll, Model::IoUring, Model::Blocking] {
        let spec = Spec { connections: 1000, active: 1000, messages: 1000, ..spec(model, Transport::Tcp) };
        let spec = Spec { interval_ns: 0, ..spec };
        check_log(&spec, &log_of(&spec));
    }
}

#[test]
fn messages_larger_than_any_socket_buffer() {
    for model in Model::ALL {
        for transport in STREAMS {
            let spec = Spec { size: 256 * 1024, messages: 5, ..spec(model, transport) };
            let log = log_of(&spec);
            check_log(&spec, &log);
            if model == Model::Blocking && transport == Transport::Pipe {
                // A pipe holds 64 KiB, so no call can have brought a whole message.
                assert!(log.counters.reads >= 20, "{log:?}");
            }
        }
    }
}

#[test]
fn smallest_and_largest_messages() {
    for transport in TRANSPORTS {
        check(&Spec { size: 1, ..spec(Model::Epoll, transport) });
        check(&Spec { calibration: 0, warmup: 0, messages: 1, size: 1, ..spec(Model::Poll, transport) });
    }
    for model in [Model::Blocking, Model::EpollEt, Model::Sigio] {
        let spec = Spec { size: workload::MAX_DATAGRAM, interval_ns: 0, ..spec(model, Transport::Udp) };
        check_log(&spec, &log_of(&spec));
    }
}

#[test]
fn as_fast_as_the_reader_takes_them() {
    for model in Model::ALL {
        for transport in TRANSPORTS {
            let spec = Spec { interval_ns: 0, messages: 500, ..spec(model, transport) };
            check_log(&spec, &log_of(&spec));
        }
    }
}

#[test]
fn nonblocking_with_a_pause_between_polls() {
    check(&Spec { poll_interval_ns: 20_000, ..spec(Model::Nonblocking, Transport::Unix) });
}
