//! What a workload refuses, what it lacks, and how it ends when somebody is killed.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::Spec;

use super::*;

#[test]
fn a_port_that_is_taken_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
    for (transport, port) in [Transport::Tcp, Transport::Udp].into_iter().zip(ports) {
        let failure = failure_of(&Spec { port, ..spec(Model::Blocking, transport) });
        assert_eq!(failure.code, "port_in_use");
        assert!(failure.text.contains(&port.to_string()), "{}", failure.text);
    }
}

#[test]
fn a_port_that_is_free_is_used() {
    for transport in [Transport::Tcp, Transport::Udp] {
        attempts::until(5, "another test may get the port in between", |_| {
            let port = match transport {
                Transport::Tcp => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
                _ => UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            };
            match spawn(&Spec { port, ..spec(Model::Blocking, transport) }).report() {
                Report::Done(log) => {
                    assert_eq!(log.connections[0].name, format!("127.0.0.1:{port}"));
                    Ok(())
                }
                Report::Failed(failure) => {
                    assert_eq!(failure.code, "port_in_use", "{}", failure.text);
                    Err(failure.text)
                }
            }
        });
    }
}

#[test]
fn what_is_refused_is_not_run() {
    let failure = failure_of(&Spec { connections: 2, ..spec(Model::LinuxAio, Transport::Tcp) });
    assert_eq!(failure.code, "unsupported");
    assert!(failure.text.contains("io_submit"), "{}", failure.text);
}

#[test]
fn nothing_before_the_counted_messages() {
    for model in Model::ALL {
        let spec = Spec { calibration: 0, warmup: 0, messages: 12, ..spec(model, Transport::Tcp) };
        check_log(&spec, &log_of(&spec));
        if model != Model::LinuxAio {
            // Fewer messages than active connections: some are asked for and never sent.
            let spec = Spec { connections: 30, active: 20, ..spec };
            check_log(&spec, &log_of(&spec));
        }
    }
}

/// Sets the limits on descriptors of this process.
fn limit_fds(soft: libc::rlim_t, hard: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a valid rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[test]
fn descriptors_are_raised_to_the_hard_limit_and_no_further() {
    let spec = Spec { connections: 300, active: 2, ..spec(Model::Poll, Transport::Unix) };
    match spawn_with(&spec, || limit_fds(50, 1000)).report() {
        Report::Done(log) => check_log(&spec, &log),
        Report::Failed(failure) => panic!("{failure:?}"),
    }
    let Report::Failed(failure) = spawn_with(&spec, || limit_fds(50, 500)).report() else { panic!("ran") };
    assert_eq!(failure.code, "fd_limit");
    assert!(failure.text.contains("hard limit is 500"), "{}", failure.text);
}

#[test]
fn io_uring_behind_a_seccomp_filter_says_so() {
    // Load the number of the call; io_uring_setup fails with EPERM, all others are let through.
    let filter = [
        libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_io_uring_setup as u32 },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | libc::EPERM as u32 },
        libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
    let forbid = || {
        // SAFETY: a valid filter of four instructions, for this process only.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        assert_eq!(done, 0);
    };
    for model in [Model::IoUring, Model::IoUringSqpoll] {
        let Report::Failed(failure) = spawn_with(&spec(model, Transport::Tcp), forbid).report() else {
            panic!("{model} ran")
        };
        assert_eq!(failure.code, "io_uring_disabled");
        assert!(failure.text.contains("kernel.io_uring_disabled"), "{}", failure.text);
    }
}

/// The child of `parent` that sends, once it has its name.
fn peer_of(parent: libc::pid_t) -> libc::pid_t {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((name, rest)) = stat.split_once(") ") else { continue };
            if name.ends_with("(iotrace-peer") && rest.split(' ').nth(1) == Some(&parent.to_string()) {
                return pid;
            }
        }
        sleep(Duration::from_millis(5));
    }
    panic!("no peer of {parent}");
}

#[test]
fn a_reader_whose_peer_is_killed_says_so() {
    for model in [Model::Blocking, Model::Epoll, Model::Sigio, Model::PosixAio, Model::IoUring] {
        for (transport, connections) in [(Transport::Tcp, 1), (Transport::Unix, 4), (Transport::Pipe, 4)] {
            let spec = Spec {
                connections,
                active: connections,
                messages: 100_000,
                interval_ns: 20_000_000,
                ..spec(model, transport)
            };
            let child = spawn(&spec);
            // SAFETY: the peer of this test's own child, found by its parent.
            unsafe { libc::kill(peer_of(child.pid), libc::SIGKILL) };
            let Report::Failed(failure) = child.report() else { panic!("{spec:?} ran") };
            assert_eq!(failure.code, "io", "{spec:?}");
            assert!(failure.text.contains("sender was killed"), "{}", failure.text);
        }
    }
}

#[test]
fn reader_and_peer_end_with_the_parent() {
    let (mut pids, to) = std::io::pipe().unwrap();
    // SAFETY: the child only forks, looks into /proc, writes to a pipe and ends.
    let parent = unsafe { libc::fork() };
    if parent == 0 {
        let reader = spawn(&Spec { interval_ns: 60_000_000_000, ..spec(Model::Blocking, Transport::Udp) });
        // The peer is forked after the reader asked to be killed with its parent.
        let bytes = [reader.pid, peer_of(reader.pid)].map(i32::to_ne_bytes).concat();
        // SAFETY: writes eight valid bytes, and ends without running anything of the test harness.
        unsafe {
            libc::write(to.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
            libc::_exit(0);
        }
    }
    drop(to);
    let mut bytes = [0; 8];
    pids.read_exact(&mut bytes).unwrap();
    // SAFETY: waits for this test's own child.
    unsafe { libc::waitpid(parent, std::ptr::null_mut(), 0) };
    let end = Instant::now() + Duration::from_secs(60);
    for pid in bytes.chunks(4).map(|b| i32::from_ne_bytes(b.try_into().unwrap())) {
        let gone = || {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.split_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        };
        while !gone() {
            assert!(Instant::now() < end, "{pid} outlives its parent");
            sleep(Duration::from_millis(5));
        }
    }
}
