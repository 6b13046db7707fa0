//! SIGKILL, at any moment: no program, no map, no child and no file is left.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::trace::command;

/// How many moments.
const MOMENTS: u64 = 50;
/// Between 0 and this, ms: from before the first program is loaded to after the last result is written.
const LATEST_MS: u64 = 900;
/// For what the kernel does on its own time: programs are freed after a grace period.
const SOON: Duration = Duration::from_secs(20);

fn programs() -> HashSet<u32> {
    aya::programs::loaded_programs().filter_map(|program| Some(program.ok()?.id())).collect()
}

fn maps() -> HashSet<u32> {
    aya::maps::loaded_maps().filter_map(|map| Some(map.ok()?.id())).collect()
}

/// Processes whose environment has this word: what iotrace started has it from us.
fn marked(mark: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|word| word == mark.as_bytes())
    })
    .collect()
}

/// A run (whose workload is iotrace's own), and a trace of a command, each with a file that is replaced.
fn iotrace(dir: &Path, number: u64) -> Command {
    let mut command = command();
    let file = dir.join("f");
    match number % 2 {
        0 => command.args(["run", "-m", "select", "--messages", "20", "-o"]).arg(file),
        _ => command.args(["trace", "--format", "json", "-o"]).arg(file).args(["--", "sleep", "0.3"]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
#[ignore = "needs root"]
fn nothing_is_left_after_a_kill_at_any_moment() {
    let dir = std::env::temp_dir().join(format!("iotrace-killed-{}", std::process::id()));
    fs::create_dir(&dir).expect("it is new");
    fs::write(dir.join("f"), "old").expect("there is room");
    let mark = format!("IOTRACE_KILLED_TEST={}", std::process::id());
    let (programs_before, maps_before) = (programs(), maps());
    let mut written = 0;
    for number in 0..MOMENTS {
        let mut command = iotrace(&dir, number);
        let (name, value) = mark.split_once('=').expect("it has one");
        let mut child = command.env(name, value).spawn().expect("it starts");
        // Spread evenly, in an order that leaves both commands at all of them.
        sleep(Duration::from_millis(LATEST_MS * (number * 21 % MOMENTS) / MOMENTS));
        child.kill().expect("our own child");
        let ended = child.wait().expect("our own child");
        written += u32::from(ended.success());
        let began = Instant::now();
        loop {
            let left = marked(&mark);
            let more =
                (programs().difference(&programs_before).count(), maps().difference(&maps_before).count());
            if left.is_empty() && more == (0, 0) {
                break;
            }
            assert!(
                began.elapsed() < SOON,
                "moment {number}: left are processes {left:?}, programs and maps {more:?}"
            );
            sleep(Duration::from_millis(10));
        }
        let names: Vec<_> = fs::read_dir(&dir)
            .expect("it is there")
            .map(|one| one.expect("it is there").file_name())
            .collect();
        assert_eq!(names, ["f"], "moment {number}");
        assert!(
            fs::metadata(dir.join("f")).expect("it is there").len() > 0,
            "moment {number}: an old result or a new one"
        );
    }
    assert!(
        written < MOMENTS as u32 && fs::read(dir.join("f")).expect("it is there") != b"old",
        "{written} came to their end"
    );
    fs::remove_dir_all(dir).expect("it can be removed");
}
