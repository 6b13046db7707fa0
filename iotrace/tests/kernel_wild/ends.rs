//! When a trace ends: with the last thread of the last process of the target, and with nobody else's.

use std::time::{Duration, Instant};

use crate::children::{Child, Page, pipe, readv_one, shared_page, write};
use crate::trace::{Trace, calls, process};

const READS: u64 = 60;

/// Reads a byte every few milliseconds, fed by a thread.
fn slow_reads(page: &Page) {
    let (from, to) = pipe();
    std::thread::spawn(move || {
        for _ in 0..READS {
            std::thread::sleep(Duration::from_millis(5));
            write(to, 1);
        }
    });
    for _ in 0..READS {
        assert_eq!(readv_one(from), 1);
        page.note(0, page.noted(0) + 1);
    }
}

fn end_thread() -> ! {
    // SAFETY: ends the calling thread, which holds nothing that others wait for.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

fn end_process() -> ! {
    // SAFETY: ends the child without running the test's own cleanup.
    unsafe { libc::_exit(0) }
}

/// The first thread ends at once: the process is a zombie by its looks, and lives on.
fn without_its_first_thread(page: &'static Page) -> impl FnOnce(&Page) {
    move |own| {
        own.gate();
        std::thread::spawn(move || {
            // By now the first thread has ended.
            std::thread::sleep(Duration::from_millis(50));
            slow_reads(page);
            end_process();
        });
        end_thread();
    }
}

#[test]
#[ignore = "needs root"]
fn a_process_whose_first_thread_has_ended_is_traced_to_its_end() {
    let truth = shared_page();
    let child = Child::fork(without_its_first_thread(truth));
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    let document = trace.end().document();
    assert_eq!(truth.noted(0), READS);
    assert_eq!(calls(process(&document, child.pid), "readv"), READS, "{document:?}");
    assert!(document.complete && document.elapsed_ns > READS * 5_000_000, "{document:?}");
}

/// Attached when the first thread is gone already.
#[test]
#[ignore = "needs root"]
fn a_process_without_its_first_thread_can_be_a_target() {
    let truth = shared_page();
    let child = Child::fork(move |own| {
        std::thread::spawn(move || {
            truth.gate();
            slow_reads(truth);
            end_process();
        });
        own.gate();
        end_thread();
    });
    child.go();
    while !child.ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let trace = Trace::of(&[child.pid], &["-f"]);
    truth.let_go();
    let document = trace.end().document();
    assert_eq!(calls(process(&document, child.pid), "readv"), READS, "{document:?}");
}

/// The process goes on, with as many reads of its own.
#[test]
#[ignore = "needs root"]
fn the_end_of_a_thread_that_was_asked_for_is_the_end() {
    let child = Child::fork(|page| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // SAFETY: no arguments.
                tell.send(unsafe { libc::gettid() }).expect("somebody listens");
                while page.noted(1) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                slow_reads(page);
            });
            page.note(2, told.recv().expect("it says so") as u64);
            page.gate();
            page.note(1, 1);
            let (from, to) = pipe();
            while page.noted(3) == 0 {
                assert_eq!((write(to, 1), readv_one(from)), (1, 1));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    });
    let tid = child.page.noted(2).to_string();
    let trace = Trace::start(&["-t", &tid]);
    child.go();
    let document = trace.end().document();
    child.page.note(3, 1);
    assert_eq!(calls(process(&document, child.pid), "readv"), READS, "{document:?}");
    child.finished();
}

/// A process that gets the number of the target, as soon as that has ended.
#[test]
#[ignore = "needs root"]
fn who_gets_the_number_of_the_target_is_not_the_target() {
    for more in [&[][..], &["-f"]] {
        let child = Child::fork(|page| {
            let (from, to) = pipe();
            page.gate();
            for _ in 0..READS {
                assert_eq!((write(to, 1), readv_one(from)), (1, 1));
            }
        });
        let pid = child.pid;
        let trace = Trace::of(&[pid], more);
        child.run();
        child.leave();
        let stranger = fork_as(pid);
        let document = trace.end().document();
        // SAFETY: our own child, not waited for yet.
        unsafe {
            libc::kill(stranger, libc::SIGKILL);
            libc::waitpid(stranger, std::ptr::null_mut(), 0);
        }
        assert_eq!(calls(process(&document, pid), "readv"), READS, "{document:?}");
    }
}

/// Forks a child with that number, which reads all the time.
fn fork_as(pid: i32) -> i32 {
    // SAFETY: zeros are a valid value; the kernel reads one id.
    let child = unsafe {
        let mut arguments: libc::clone_args = std::mem::zeroed();
        arguments.exit_signal = libc::SIGCHLD as u64;
        arguments.set_tid = (&raw const pid) as u64;
        arguments.set_tid_size = 1;
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>())
    };
    if child == 0 {
        // SAFETY: a plain call: should the test die, so does this.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let (from, to) = pipe();
        loop {
            write(to, 1);
            readv_one(from);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    assert_eq!(child, i64::from(pid), "{}", std::io::Error::last_os_error());
    pid
}

/// The target forks, and ends; one child was there before, and one comes later.
#[test]
#[ignore = "needs root"]
fn followed_children_outlive_the_target_and_one_that_was_there_already_is_followed() {
    let truth = shared_page();
    let target = Child::fork(move |own| {
        // SAFETY: all go on as processes of one thread.
        let fork = |at: usize| unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, 0);
                let (from, to) = pipe();
                truth.gate();
                for _ in 0..READS {
                    assert_eq!((write(to, 1), readv_one(from)), (1, 1));
                    std::thread::sleep(Duration::from_millis(3));
                }
                end_process();
            }
            truth.note(at, pid as u64);
        };
        fork(1);
        own.gate();
        fork(2);
        end_process();
    });
    let trace = Trace::of(&[target.pid], &["-f"]);
    target.go();
    while !target.ended() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = Instant::now();
    truth.let_go();
    let document = trace.end().document();
    assert!(begun.elapsed() > Duration::from_millis(3 * READS), "it waited for the children");
    for child in [truth.noted(1), truth.noted(2)] {
        assert_eq!(calls(process(&document, child as i32), "readv"), READS, "{document:?}");
    }
    assert!(document.complete, "{document:?}");
}

/// `--tree` takes who is there, and not who comes later.
#[test]
#[ignore = "needs root"]
fn a_tree_is_who_is_there() {
    let truth = shared_page();
    let target = Child::fork(move |own| {
        let reads = || {
            let (from, to) = pipe();
            for _ in 0..READS {
                assert_eq!((write(to, 1), readv_one(from)), (1, 1));
            }
        };
        // SAFETY: all go on as processes of one thread.
        let fork = || unsafe { libc::fork() };
        let child = fork();
        if child == 0 {
            let grandchild = fork();
            if grandchild == 0 {
                truth.gate();
                reads();
                end_process();
            }
            truth.note(1, grandchild as u64);
            // SAFETY: our own child.
            unsafe { libc::waitpid(grandchild, std::ptr::null_mut(), 0) };
            end_process();
        }
        own.gate();
        let late = fork();
        if late == 0 {
            reads();
            end_process();
        }
        truth.note(2, late as u64);
        // SAFETY: our own children.
        unsafe {
            libc::waitpid(late, std::ptr::null_mut(), 0);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        end_process();
    });
    while truth.noted(1) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let trace = Trace::of(&[target.pid], &["--tree"]);
    truth.let_go();
    target.go();
    let document = trace.end().document();
    assert_eq!(calls(process(&document, truth.noted(1) as i32), "readv"), READS, "{document:?}");
    assert!(
        document.processes.iter().all(|process| u64::from(process.pid) != truth.noted(2)),
        "{document:?}"
    );
}

/// What it leaves behind reads a pipe for half a second.
#[test]
#[ignore = "needs root"]
fn a_command_that_leaves_processes_behind_says_so_or_waits() {
    let script =
        "(i=0; while [ $i -lt 10 ]; do i=$((i + 1)); echo x; sleep 0.05; done | cat >/dev/null) & exit 5";
    for waits in [false, true] {
        let wait = if waits { &["--wait-all"][..] } else { &[] };
        let begun = Instant::now();
        let outcome = Trace::spawn(&[wait, &["--", "sh", "-c", script]].concat()).end();
        assert_eq!(outcome.status.code(), Some(5), "{}", outcome.stderr);
        let document = outcome.document();
        let said = document.warnings.iter().find(|warning| warning.code == "left_behind");
        assert_eq!(said.is_none(), waits, "{:?}", document.warnings);
        assert!(outcome.stderr.contains("the command has ended"), "{}", outcome.stderr);
        assert!(!waits || begun.elapsed() > Duration::from_millis(500));
        let cats = document.processes.iter().filter(|process| process.comm == "cat");
        let bytes: u64 = cats
            .flat_map(|process| &process.calls)
            .filter(|call| call.syscall == "write")
            .map(|call| call.bytes)
            .sum();
        // cat writes the ten lines, as many as it got by then.
        assert!(if waits { bytes == 20 } else { bytes < 20 }, "{bytes}: {document:?}");
    }
}
