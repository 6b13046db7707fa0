//! Processes that come and go, each under a name of its own.

use crate::trace::Trace;

/// Shells that rename themselves by one write each; more rows than the kernel and a result have room for.
const BIRTHS: u64 = 4_000;

/// The most memory that a process had, in kB.
fn peak_kb(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
#[ignore = "needs root"]
fn names_that_never_repeat_take_little_memory_and_no_call_is_lost() {
    let births =
        format!("i=0; while [ $i -lt {BIRTHS} ]; do ( echo u$i >/proc/self/comm ); i=$((i+1)); done");
    let trace = Trace::spawn(&["-e", "trace=write", "--", "sh", "-c", &births]);
    let (pid, mut most) = (trace.pid(), 0);
    // A zombie has no memory.
    while let Some(peak) = peak_kb(pid) {
        most = most.max(peak);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let outcome = trace.end();
    assert!((1..150 << 10).contains(&most), "{most} kB");
    assert!(outcome.stdout.len() < 5 << 20, "{} bytes", outcome.stdout.len());
    let document = outcome.document();
    assert!(document.complete, "{:?}", document.warnings);
    let writes: u64 =
        document.processes.iter().flat_map(|process| &process.calls).map(|call| call.calls).sum();
    let processes: u64 = document.processes.iter().map(|process| process.processes).sum();
    // The shell that bears them makes no call, but has its time.
    assert_eq!((writes, processes), (BIRTHS, BIRTHS + 1));
    assert!(document.processes.iter().any(|process| process.others));
}
