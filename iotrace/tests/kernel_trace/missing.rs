//! What `trace` says and leaves out where a probe is missing.

use iotrace::bpf::probes::PROBES;
use iotrace_core::domain::CopySource;
use iotrace_core::summary::Document;

use crate::children::{Child, close, name, ok, pipe, read, unix_pair, write};
use crate::trace::{Trace, calls, process, row};

const TIMES: usize = 50;

/// A process that reads from a socket, forks a child that does, too, and takes another name.
fn observed(args: &[&str]) -> (Document, i32) {
    let child = Child::fork(|page| {
        let (here, there) = unix_pair();
        let one = |size| {
            assert_eq!(write(there, size), size as isize);
            let mut buffer = [0u8; 512];
            // SAFETY: no more is asked for than the buffer holds.
            ok(unsafe { libc::recv(here, buffer.as_mut_ptr().cast(), size, 0) });
        };
        page.gate();
        for _ in 0..TIMES {
            one(512);
        }
        // SAFETY: the child ends in _exit, and is waited for.
        unsafe {
            if libc::fork() == 0 {
                let (from, to) = pipe();
                assert_eq!((write(to, 1), read(from, 1)), (1, 1));
                close(from);
                libc::_exit(0);
            }
            libc::wait(std::ptr::null_mut());
        }
        name(c"renamed");
    });
    let trace = Trace::of(&[child.pid], args);
    child.run();
    (trace.stop(), child.pid)
}

fn without(probe: &str, more: &[&str]) -> (Document, i32) {
    let (document, pid) = observed(&[&["--without", probe], more].concat());
    assert_said(&document, probe);
    (document, pid)
}

/// That the result says what it lacks.
fn assert_said(document: &Document, probe: &str) {
    let lost = PROBES.iter().find(|known| known.name() == probe).expect("it is in the probe table").lost;
    let said = |text: &str| text.starts_with(&format!("{probe} is not attached: ")) && text.ends_with(lost);
    assert!(document.warnings.iter().any(|one| said(&one.text)), "{probe}: {:?}", document.warnings);
}

#[test]
#[ignore = "needs root"]
fn without_readiness_there_is_no_pickup() {
    for probe in ["sk_data_ready", "sock_recv_length"] {
        let (document, pid) = without(probe, &[]);
        let recv = row(process(&document, pid), "recvfrom");
        assert_eq!(recv.calls, TIMES as u64);
        assert!(recv.pickup.is_none(), "{probe}: {recv:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn without_the_start_of_a_copy_it_is_estimated_with_its_bound() {
    let (document, pid) = without("skb_copy_datagram_iovec", &[]);
    let recv = row(process(&document, pid), "recvfrom");
    assert_eq!(recv.copy_source, CopySource::Estimated, "{recv:?}");
    assert!(recv.copy_upper_ns.is_some_and(|upper| upper >= recv.copy_ns), "{recv:?}");
}

#[test]
#[ignore = "needs root"]
fn without_forks_no_child_is_counted() {
    let (document, pid) = without("sched_process_fork", &["--follow"]);
    assert_eq!(document.processes.len(), 1, "{:?}", document.processes);
    assert_eq!(calls(process(&document, pid), "recvfrom"), TIMES as u64);
}

#[test]
#[ignore = "needs root"]
fn without_exec_the_loss_of_names_is_said() {
    let child = Child::fork(|page| {
        name(c"before");
        let (from, to) = pipe();
        page.gate();
        assert_eq!((write(to, 1), read(from, 1)), (1, 1));
        let words = [c"true".as_ptr(), std::ptr::null()];
        // SAFETY: a list of strings that ends with a null; returns only where there is no such command.
        unsafe {
            libc::execvp(words[0], words.as_ptr());
            libc::_exit(9)
        }
    });
    let trace = Trace::of(&[child.pid], &["--without", "sched_process_exec,task_rename"]);
    child.go();
    let document = trace.end().document();
    assert_said(&document, "sched_process_exec");
    assert_said(&document, "task_rename");
    let process = process(&document, child.pid);
    assert!(calls(process, "read") >= 1, "{process:?}");
    // It keeps the name from before, unless /proc was looked at while the program ran.
    assert!(["before", "true"].contains(&process.comm.as_str()), "{process:?}");
}

/// Which only what grows over hours would show: the loss is said, and nothing else is missing.
#[test]
#[ignore = "needs root"]
fn without_the_ends_of_sockets_the_loss_is_said() {
    let (document, pid) = without("tcp_destroy_sock", &[]);
    assert_eq!(calls(process(&document, pid), "recvfrom"), TIMES as u64);
}
