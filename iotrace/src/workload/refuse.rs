//! Workloads that cannot be run, found before anything is made.

use std::time::Duration;

use super::sys::failure;
use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::{Failure, Spec};

/// Bytes of the largest payload of a UDP datagram over IPv4: 65535 less 20 (IP) and 8 (UDP) bytes of headers.
pub const MAX_DATAGRAM: u64 = 65_507;
/// Bytes of the largest message.
pub const MAX_SIZE: u64 = 64 << 20;
/// Most messages of one workload: the log keeps every message in memory.
pub const MAX_MESSAGES: u64 = 2_000_000;
/// Most bytes of all receive buffers together.
const MAX_BUFFERS: u64 = 1 << 30;
/// Model `select`: descriptors kept for what is not a connection (standard streams, control pipe, inherited ones).
const SELECT_SPARE: u32 = 24;
/// Most requests that a ring takes: `IORING_MAX_ENTRIES` in the kernel's io_uring.
const MAX_RING: u32 = 32_768;
/// Model `posix-aio`: most connections, since each blocks a helper thread of glibc.
const MAX_HELPERS: u32 = 1_000;

/// Why `spec` cannot be run on any machine; `None` if it can be tried.
///
/// Meant for the parent, before it spawns the workload: it opens no descriptor and makes no system call. Refusals that
/// depend on the machine (ports, limits, a kernel without the model) are found only by running the workload.
pub fn refuse(spec: &Spec) -> Option<Failure> {
    numbers(spec).or_else(|| model(spec)).or_else(|| totals(spec))
}

fn invalid(text: impl std::fmt::Display) -> Option<Failure> {
    Some(failure("invalid", text))
}

fn unsupported(text: impl std::fmt::Display) -> Option<Failure> {
    Some(failure("unsupported", text))
}

/// Refuses numbers that make no sense for any model.
fn numbers(spec: &Spec) -> Option<Failure> {
    let Spec { size, connections, active, transport, .. } = *spec;
    if spec.messages == 0 {
        return invalid("0 messages measure nothing: use at least 1");
    }
    if size == 0 {
        return invalid("a message of 0 bytes looks like the end of a connection: use at least 1 byte");
    }
    if transport == Transport::Udp && size > MAX_DATAGRAM {
        return unsupported(format_args!(
            "{size} bytes are too large for a datagram, the limit is {MAX_DATAGRAM}: use a smaller size, or tcp, \
             unix or pipe"
        ));
    }
    if size > MAX_SIZE {
        return invalid(format_args!(
            "{size} bytes are too large for a message, the limit is {MAX_SIZE} (64 MiB)"
        ));
    }
    if connections == 0 {
        return invalid("0 connections carry nothing: use at least 1");
    }
    if active == 0 {
        return invalid("0 active connections carry nothing: use at least 1");
    }
    if active > connections {
        return invalid(format_args!(
            "{active} active connections of {connections}: there must be at least as many connections as active ones"
        ));
    }
    if spec.port != 0 && !matches!(transport, Transport::Tcp | Transport::Udp) {
        return invalid(format_args!(
            "{transport} has no ports, and port {} was asked for: leave it out",
            spec.port
        ));
    }
    None
}

/// Refuses what the model cannot do.
fn model(spec: &Spec) -> Option<Failure> {
    let Spec { model, connections, .. } = *spec;
    if spec.poll_interval_ns != 0 && model != Model::Nonblocking {
        return unsupported(format_args!(
            "{model} does not poll, so it has no poll interval: only nonblocking has one"
        ));
    }
    if spec.meanwhile.is_some() && !model.leaves_thread_free() {
        return unsupported(format_args!(
            "{model} does not leave the thread free while it waits: leave out --meanwhile"
        ));
    }
    if spec.meanwhile.is_none() && model.leaves_thread_free() {
        return invalid(format_args!(
            "{model} leaves the thread free: say whether it shall compute or wait meanwhile"
        ));
    }
    let most = match model {
        Model::LinuxAio if connections > 1 => {
            return unsupported(format_args!(
                "linux-aio cannot serve {connections} connections: io_submit blocks on the first one without data \
                 (IOCB_CMD_PREAD is only asynchronous for files opened with O_DIRECT), so the others \
                 are never read; use 1 connection, or linux-aio-poll"
            ));
        }
        Model::Select => libc::FD_SETSIZE as u32 - SELECT_SPARE,
        Model::PosixAio => MAX_HELPERS,
        Model::IoUring | Model::IoUringSqpoll => MAX_RING,
        _ => u32::MAX,
    };
    if connections <= most {
        return None;
    }
    unsupported(match model {
        Model::Select => format!(
            "select cannot watch {connections} connections: an fd_set has room for descriptors below {} (FD_SETSIZE), \
             a few of which are taken; use at most {most} connections, or poll or epoll",
            libc::FD_SETSIZE
        ),
        Model::PosixAio => format!(
            "posix-aio cannot serve {connections} connections: the C library blocks a helper thread for each; use at \
             most {most}"
        ),
        _ => format!(
            "{model} cannot serve {connections} connections: a ring holds {most} requests; use at most {most}"
        ),
    })
}

/// Refuses numbers whose products or sums are too large.
fn totals(spec: &Spec) -> Option<Failure> {
    let total = spec.calibration.checked_add(spec.warmup).and_then(|sum| sum.checked_add(spec.messages));
    let Some(total) = total.filter(|&total| total <= MAX_MESSAGES) else {
        return invalid(format_args!(
            "{} messages, {} for the warm-up and {} for calibration are too many, the limit for their sum is \
             {MAX_MESSAGES}",
            spec.messages, spec.warmup, spec.calibration
        ));
    };
    let buffers = u64::from(spec.active) * spec.size;
    if buffers > MAX_BUFFERS {
        return invalid(format_args!(
            "{} active connections with messages of {} bytes need {buffers} bytes of buffers, the limit is \
             {MAX_BUFFERS} (1 GiB)",
            spec.active, spec.size
        ));
    }
    if spec.interval_ns.checked_mul(total).is_none_or(|ns| ns > i64::MAX as u64 / 4) {
        return invalid(format_args!(
            "{total} messages {:?} apart do not end in this century",
            Duration::from_nanos(spec.interval_ns)
        ));
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use iotrace_core::domain::model::Meanwhile;

    /// A workload that is fine.
    pub fn spec() -> Spec {
        Spec {
            model: Model::Blocking,
            transport: Transport::Udp,
            messages: 20,
            size: 100,
            interval_ns: 1_000_000,
            connections: 1,
            active: 1,
            poll_interval_ns: 0,
            warmup: 3,
            calibration: 5,
            meanwhile: None,
            port: 0,
            tuning: iotrace_core::domain::spec::Tuning::default(),
        }
    }

    fn is_refused(spec: &Spec, code: &str, reason: &str) {
        let failure = refuse(spec).unwrap_or_else(|| panic!("not refused: {spec:?}"));
        assert_eq!(failure.code, code, "{}", failure.text);
        assert!(failure.text.contains(reason), "{:?} does not say {reason:?}", failure.text);
    }

    fn free(model: Model) -> Spec {
        Spec { model, meanwhile: Some(Meanwhile::Compute), ..spec() }
    }

    #[test]
    fn every_model_runs_on_every_transport() {
        for model in Model::ALL {
            for transport in [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Pipe] {
                let meanwhile = model.leaves_thread_free().then_some(Meanwhile::Wait);
                assert_eq!(
                    refuse(&Spec { model, transport, meanwhile, ..spec() }),
                    None,
                    "{model} {transport}"
                );
            }
        }
    }

    #[test]
    fn nothing_to_send() {
        is_refused(&Spec { messages: 0, ..spec() }, "invalid", "at least 1");
        is_refused(&Spec { size: 0, ..spec() }, "invalid", "0 bytes");
        is_refused(&Spec { connections: 0, ..spec() }, "invalid", "0 connections");
        is_refused(&Spec { active: 0, ..spec() }, "invalid", "0 active");
    }

    #[test]
    fn more_active_than_connections() {
        is_refused(&Spec { connections: 3, active: 4, ..spec() }, "invalid", "4 active connections of 3");
        assert_eq!(refuse(&Spec { connections: 4, active: 4, ..spec() }), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(refuse(&Spec { size: MAX_DATAGRAM, ..spec() }), None);
        let text = "too large for a datagram, the limit is 65507";
        is_refused(&Spec { size: MAX_DATAGRAM + 1, ..spec() }, "unsupported", text);
        let tcp = Spec { transport: Transport::Tcp, size: MAX_SIZE, ..spec() };
        assert_eq!(refuse(&tcp), None);
        is_refused(&Spec { size: MAX_SIZE + 1, ..tcp }, "invalid", "64 MiB");
    }

    #[test]
    fn ports_only_where_there_are_ports() {
        for transport in [Transport::Unix, Transport::Pipe] {
            is_refused(&Spec { transport, port: 7000, ..spec() }, "invalid", "no ports");
        }
        assert_eq!(refuse(&Spec { port: 7000, ..spec() }), None);
    }

    #[test]
    fn poll_interval_only_for_the_model_that_polls() {
        let nonblocking = Spec { model: Model::Nonblocking, poll_interval_ns: 5, ..spec() };
        assert_eq!(refuse(&nonblocking), None);
        is_refused(&Spec { model: Model::Epoll, ..nonblocking }, "unsupported", "only nonblocking");
    }

    #[test]
    fn meanwhile_exactly_where_the_thread_is_free() {
        for model in Model::ALL {
            let with = Spec { model, meanwhile: Some(Meanwhile::Wait), ..spec() };
            let without = Spec { meanwhile: None, ..with.clone() };
            if model.leaves_thread_free() {
                assert_eq!(refuse(&with), None);
                is_refused(&without, "invalid", "compute or wait");
            } else {
                assert_eq!(refuse(&without), None);
                is_refused(&with, "unsupported", "leave the thread free");
            }
        }
    }

    #[test]
    fn linux_aio_serves_one_connection() {
        let spec = Spec { model: Model::LinuxAio, connections: 2, ..spec() };
        is_refused(&spec, "unsupported", "io_submit blocks on the first");
    }

    #[test]
    fn most_connections_of_a_model() {
        let select = Spec { model: Model::Select, connections: 1000, ..spec() };
        assert_eq!(refuse(&select), None);
        is_refused(&Spec { connections: 1001, ..select.clone() }, "unsupported", "FD_SETSIZE");
        assert_eq!(refuse(&Spec { model: Model::Poll, connections: 5000, ..select }), None);
        is_refused(&Spec { connections: 1001, ..free(Model::PosixAio) }, "unsupported", "helper thread");
        is_refused(&Spec { connections: 32_769, ..free(Model::IoUring) }, "unsupported", "32768 requests");
    }

    #[test]
    fn totals_that_do_not_fit() {
        is_refused(&Spec { messages: MAX_MESSAGES, ..spec() }, "invalid", "too many");
        is_refused(&Spec { messages: u64::MAX, warmup: u64::MAX, ..spec() }, "invalid", "too many");
        is_refused(&Spec { interval_ns: u64::MAX / 2, ..spec() }, "invalid", "this century");
        let large = Spec { transport: Transport::Tcp, size: MAX_SIZE, connections: 17, active: 17, ..spec() };
        is_refused(&large, "invalid", "buffers");
    }
}
