//! Losses that are forced: each is counted, makes the result incomplete, and `--strict` fails.

use std::time::{Duration, Instant};

use iotrace_core::summary::Document;

use crate::program::{Started, command};

/// A consumer that is stopped reads nothing: the ring fills, and what finds it full is counted.
#[test]
#[ignore = "needs root"]
fn a_consumer_that_is_stopped_loses_records_and_says_so() {
    let mut command = command();
    command.args(["run", "--model", "blocking", "--transport", "unix", "--format", "json", "--strict", "-v"]);
    // Records of 248 bytes: a page is full after a few messages.
    command.args(["--messages", "400", "--interval", "2ms", "--buffer", "4KiB"]);
    let running = Started::new(&mut command);
    let pid = running.child.id() as i32;
    // Attached and under way: its workload has been let go, and has given itself a name.
    let children = format!("/proc/{pid}/task/{pid}/children");
    let named = |child: &str| {
        std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "iotrace-app")
    };
    let under_way =
        || std::fs::read_to_string(&children).is_ok_and(|text| text.split_whitespace().any(named));
    let asked = Instant::now();
    while !under_way() {
        assert!(asked.elapsed() < Duration::from_secs(60), "the workload does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: our own child; it is continued below.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        std::thread::sleep(Duration::from_millis(150));
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
    }
    let ran = running.end();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let document: Document = serde_json::from_str(&ran.stdout).expect("the result is printed all the same");
    assert!(document.loss.records > 0 && !document.complete, "{:?}", document.loss);
    let run = &document.runs[0];
    assert!(run.operations.count < run.messages, "lost messages are not made up: {run:?}");
    let warned = document.warnings.iter().any(|warning| warning.code == "messages_not_joined");
    assert!(warned, "{:?}", document.warnings);
}
