//! The whole system, what iotrace itself takes, and when a result is complete.

use std::time::Duration;

use crate::children::{Child, Page, pipe, readv_one, write};
use crate::trace::{Trace, calls, process};

/// `PF_KTHREAD` (`include/linux/sched.h`), a bit of field 9 of `/proc/PID/stat`.
const KERNEL_THREAD: u64 = 0x20_0000;

/// Kernel threads are in no system call, though `/proc/TID/syscall` shows a number 0, which is that of `read`.
#[test]
#[ignore = "needs root"]
fn kernel_threads_have_no_call_open() {
    let sleeper = Child::fork(|page| {
        let (from, _to) = pipe();
        page.gate();
        readv_one(from);
    });
    sleeper.go();
    std::thread::sleep(Duration::from_millis(50));
    let document = Trace::spawn(&["-a", "-d", "200ms"]).end().document();
    let [open] = &process(&document, sleeper.pid).in_flight[..] else { panic!("{document:?}") };
    assert!(open.since_before && open.syscall == "readv", "{open:?}");
    for process in &document.processes {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
        let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse().ok());
        let flags: u64 = flags.unwrap_or(0);
        assert!(flags & KERNEL_THREAD == 0, "{process:?}");
    }
}

/// iotrace observes by one thread: it has no more CPU time than there was time.
#[test]
#[ignore = "needs root"]
fn what_iotrace_takes_is_compared_with_the_time_that_it_observed() {
    let silent = Child::fork(Page::gate);
    let outcome = Trace::spawn(&["-p", &silent.pid.to_string(), "-d", "200ms"]).end();
    let document = outcome.document();
    let cost = &document.overhead;
    let (cpu, loading) = (cost.iotrace_cpu_ns.expect("it is"), cost.iotrace_loading_cpu_ns.expect("it is"));
    assert!(cpu < document.elapsed_ns, "{cost:?} in {} ns", document.elapsed_ns);
    assert!(loading > cpu, "attaching takes more than doing nothing: {cost:?}");
}

/// Every probe that can lose calls makes the result incomplete where its loss matters, and nowhere else.
#[test]
#[ignore = "needs root"]
fn a_result_without_children_that_were_asked_for_is_not_complete() {
    let family = || {
        Child::fork(|page| {
            page.gate();
            // SAFETY: the child ends in _exit, and is waited for.
            unsafe {
                if libc::fork() == 0 {
                    let (from, to) = pipe();
                    assert_eq!((write(to, 1), readv_one(from)), (1, 1));
                    libc::_exit(0);
                }
                libc::wait(std::ptr::null_mut());
            }
        })
    };
    let without = ["--without", "sched_process_fork"];
    for (args, complete) in [
        (&["-f"][..], true),
        (&["-f", without[0], without[1]], false),
        (&["--no-follow", without[0], without[1]], true),
    ] {
        let child = family();
        let trace = Trace::of(&[child.pid], args);
        child.run();
        let document = trace.stop();
        let seen: u64 = document.processes.iter().map(|process| calls(process, "readv")).sum();
        assert_eq!(seen, u64::from(args == ["-f"]), "{args:?}: {document:?}");
        assert_eq!(document.complete, complete, "{args:?}: {document:?}");
        let said = document.warnings.iter().any(|warning| warning.code == "children_not_followed");
        assert_eq!(said, !complete, "{args:?}: {:?}", document.warnings);
    }
}
