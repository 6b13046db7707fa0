//! Models with requests: who waits for them, who copies, and that none is lost on the way.

use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::{Meant, Role, ThreadRole};

use crate::recorded::{Measured, measured, one_of_three, within};
use crate::{spec, waiting};

const SOCKETS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

fn has_verdict(measured: &Measured, phase1: Meant, phase2: Meant) {
    let verdict = measured.run.verdict;
    assert_eq!((verdict.phase1, verdict.phase2), (phase1, phase2), "{}", measured.what());
}

/// All requests are accounted for; returns the places where they were copied.
fn all_requests(measured: &Measured) -> iotrace_core::summary::CopiedIn {
    let requests = measured.run.operations.requests.as_ref().expect("a model with requests");
    let n = measured.run.messages;
    assert_eq!((requests.submitted, requests.completed), (n, n), "{}", measured.what());
    assert_eq!(measured.log.counters.completed, n, "{}", measured.what());
    let places = requests.copied_in;
    let sum =
        places.own_call + places.task_work + places.data_call + places.helper + places.worker + places.sqpoll;
    assert_eq!(sum, n, "one transfer a message: {}", measured.what());
    places
}

/// The call waited for as long as the senders' clocks say that there was nothing to read.
fn waits_in(measured: &Measured, syscall: &str) -> Result<(), String> {
    let (from, to) = (measured.waited(), measured.waited_at_most());
    let wait = measured.app(syscall).wait_ns;
    if within(wait, from, to, 5) { Ok(()) } else { Err(format!("{syscall} waited {wait} of {from}..{to}")) }
}

#[test]
#[ignore = "needs root"]
fn posix_aio_waits_and_copies_on_a_helper_thread() {
    for transport in SOCKETS {
        let measured = measured(&spec(Model::PosixAio, transport));
        assert_eq!(all_requests(measured).helper, measured.run.messages);
        has_verdict(measured, Meant::Free, Meant::Free);
        assert!(measured.rows(Role::Data, ThreadRole::App).is_empty(), "{}", measured.what());
        let helper = measured.rows(Role::Data, ThreadRole::Helper);
        let [read] = helper.iter().filter(|row| row.syscall == "read").collect::<Vec<_>>()[..] else {
            panic!("the helper reads: {}", measured.what())
        };
        assert_eq!(
            read.calls - read.errors.values().sum::<u64>(),
            measured.run.messages,
            "{}",
            measured.what()
        );
        assert_eq!(read.bytes, measured.run.messages * measured.run.size, "{}", measured.what());
        // How long is another question: the application computes, and may keep the CPU from the helper.
        assert!(read.wait_ns > 0, "{}", measured.what());
        for row in helper.iter().filter(|row| row.syscall == "pread64") {
            assert_eq!(row.errors.get("ESPIPE"), Some(&row.calls), "{}", measured.what());
        }
    }
}

#[test]
#[ignore = "needs root"]
fn posix_aio_that_suspends_waits_in_a_futex() {
    one_of_three(&waiting(Model::PosixAio, Transport::Udp), |measured| {
        assert_eq!(all_requests(measured).helper, measured.run.messages);
        has_verdict(measured, Meant::Blocked, Meant::Free);
        // Until the helper has read, and not only until there is something to read.
        let had = measured.messages().iter().map(|one| one.have_ns - one.want_ns).sum();
        let (from, wait) = (measured.waited(), measured.app("futex").wait_ns);
        let helper = measured.rows(Role::Data, ThreadRole::Helper);
        let slept: u64 = helper.iter().map(|row| row.wait_ns).sum();
        if within(wait, from, had, 5) && slept > from / 2 {
            Ok(())
        } else {
            Err(format!("futex waited {wait} of {from}..{had}, the helper {slept}"))
        }
    });
}

#[test]
#[ignore = "needs root"]
fn linux_aio_waits_when_it_submits() {
    for transport in SOCKETS {
        one_of_three(&spec(Model::LinuxAio, transport), |measured| {
            assert_eq!(all_requests(measured).own_call, measured.run.messages, "{}", measured.what());
            assert_eq!(measured.app("io_submit").calls, measured.run.messages, "{}", measured.what());
            assert_eq!(measured.app("io_getevents").wait_ns, 0, "{}", measured.what());
            has_verdict(measured, Meant::Blocked, Meant::Blocked);
            waits_in(measured, "io_submit")
        });
    }
}

#[test]
#[ignore = "needs root"]
fn linux_aio_poll_copies_in_a_data_call() {
    for transport in SOCKETS {
        let measured = measured(&spec(Model::LinuxAioPoll, transport));
        assert_eq!(all_requests(measured).data_call, measured.run.messages, "{}", measured.what());
        has_verdict(measured, Meant::Free, Meant::Blocked);
        assert_eq!(measured.app("io_submit").wait_ns, 0, "{}", measured.what());
        assert_eq!(measured.app("io_getevents").wait_ns, 0, "{}", measured.what());
        one_of_three(&waiting(Model::LinuxAioPoll, transport), |measured| {
            all_requests(measured);
            has_verdict(measured, Meant::Blocked, Meant::Blocked);
            waits_in(measured, "io_getevents")
        });
    }
}

#[test]
#[ignore = "needs root"]
fn io_uring_copies_on_the_submitting_thread() {
    for transport in SOCKETS {
        let measured = measured(&spec(Model::IoUring, transport));
        let places = all_requests(measured);
        assert_eq!(places.own_call + places.task_work, measured.run.messages, "{}", measured.what());
        has_verdict(measured, Meant::Free, Meant::Blocked);
        ways_add_up(measured);
        one_of_three(&waiting(Model::IoUring, transport), |measured| {
            let places = all_requests(measured);
            assert_eq!(places.own_call + places.task_work, measured.run.messages, "{}", measured.what());
            has_verdict(measured, Meant::Blocked, Meant::Blocked);
            ways_add_up(measured);
            waits_in(measured, "io_uring_enter")
        });
    }
}

#[test]
#[ignore = "needs root"]
fn io_uring_sqpoll_copies_on_the_kernels_thread() {
    for transport in SOCKETS {
        for spec in [spec(Model::IoUringSqpoll, transport), waiting(Model::IoUringSqpoll, transport)] {
            let measured = measured(&spec);
            assert_eq!(all_requests(measured).sqpoll, measured.run.messages, "{}", measured.what());
            assert!(measured.rows(Role::Data, ThreadRole::App).is_empty(), "{}", measured.what());
            let waits = spec.meanwhile == Some(Meanwhile::Wait);
            has_verdict(measured, if waits { Meant::Blocked } else { Meant::Free }, Meant::Free);
            ways_add_up(measured);
            if !waits {
                assert_eq!(measured.run.operations.calls_per_message, 0.0, "{}", measured.what());
            }
        }
    }
}

/// At once, polled, or handed to a worker: each request went one way.
fn ways_add_up(measured: &Measured) {
    let requests = measured.run.operations.requests.as_ref().expect("a model with requests");
    let ways = [requests.inline, requests.polled, requests.worker].map(|way| way.expect("io_uring tells"));
    assert_eq!(ways.iter().sum::<u64>(), requests.completed, "{}", measured.what());
}
