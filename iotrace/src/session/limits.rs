//! The largest and smallest numbers that a trace takes, each with its reason.

use std::collections::HashSet;
use std::time::Duration;

use iotrace_ebpf::abi::{Agg, AggKey, PROCESSES_ROOM, THREADS_ROOM};

use crate::host::cpus;
use crate::session::asked::Asked;
use crate::session::error::Failure;
use crate::session::until::LOOK;

/// Kernel memory for the sums of rows that `--rows` may ask for, bytes. The kernel does not swap it.
const ROWS_BYTES: usize = 512 << 20;
/// Fewest rows: below, not even a process has a row for each syscall.
const ROWS_LEAST: usize = 4;

/// Refuses what is beyond a limit, with the limit.
///
/// # Errors
/// What was asked for cannot be had, and what can.
pub fn check(asked: &Asked) -> Result<(), Failure> {
    on_machine(asked, cpus::possible()).map_err(Failure::Usage)
}

fn on_machine(asked: &Asked, cpus: usize) -> Result<(), String> {
    few("-p", "processes", &asked.pids, PROCESSES_ROOM)?;
    few("-t", "threads", &asked.tids, THREADS_ROOM)?;
    if let Some(rows) = asked.rows {
        let (rows, most) = (rows as usize, most_rows(cpus));
        if !(ROWS_LEAST..=most).contains(&rows) {
            return Err(format!(
                "--rows {rows}: from {ROWS_LEAST} to {most} on this machine, where {most} rows take {} MiB of kernel \
                 memory ({} bytes a row and CPU, {cpus} CPUs)",
                ROWS_BYTES >> 20,
                row_bytes()
            ));
        }
    }
    match asked.interval {
        Some(Duration::ZERO) => {
            return Err("-i needs an interval longer than 0, such as 1s".to_owned());
        }
        Some(every) if every < LOOK => {
            return Err(format!("-i {every:?}: at least {LOOK:?}, as iotrace looks no more often than that"));
        }
        _ => {}
    }
    if asked.top == Some(0) {
        return Err("--top 0 would show nothing: at least 1".to_owned());
    }
    match asked.comm.as_deref() {
        Some(b"") => Err("--comm needs a name: no thread has an empty one".to_owned()),
        _ => Ok(()),
    }
}

fn few(option: &str, what: &str, ids: &[u32], most: u32) -> Result<(), String> {
    let named = ids.iter().collect::<HashSet<_>>().len();
    if named <= most as usize {
        return Ok(());
    }
    Err(format!(
        "{option}: {named} {what} are more than the {most} that iotrace observes by number. --cgroup, --comm and -a \
         have no such limit"
    ))
}

/// Bytes of a row for each CPU.
fn row_bytes() -> usize {
    size_of::<Agg>() + size_of::<AggKey>()
}

fn most_rows(cpus: usize) -> usize {
    ROWS_BYTES / (row_bytes() * cpus.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(asked: Asked, words: &[&str]) {
        let text = on_machine(&asked, 2).expect_err("it is beyond a limit");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_with_the_limit() {
        let of = Asked::default;
        let most = most_rows(2).to_string();
        for rows in [0, 3, 300_000, u32::MAX] {
            refused(Asked { rows: Some(rows), ..of() }, &[&rows.to_string(), &most, "512 MiB", "--rows"]);
        }
        refused(Asked { pids: (1..=17_000).collect(), ..of() }, &["17000", "16384", "-p", "--cgroup"]);
        refused(Asked { tids: (1..=4097).collect(), ..of() }, &["4097", "4096", "-t"]);
        refused(Asked { interval: Some(Duration::ZERO), ..of() }, &["-i", "longer than 0"]);
        refused(Asked { interval: Some(Duration::from_nanos(1)), ..of() }, &["-i 1ns", "20ms"]);
        refused(Asked { top: Some(0), ..of() }, &["--top 0", "at least 1"]);
        refused(Asked { comm: Some(Vec::new()), ..of() }, &["--comm"]);
    }

    #[test]
    fn what_is_within_the_limits_is_taken() {
        let most = most_rows(2) as u32;
        for rows in [4, 16, 4096, most] {
            assert_eq!(on_machine(&Asked { rows: Some(rows), ..Asked::default() }, 2), Ok(()));
        }
        let twice: Vec<u32> = (1..=16_384).chain(1..=16_384).collect();
        assert_eq!(on_machine(&Asked { pids: twice, ..Asked::default() }, 2), Ok(()));
        let quick = Some(Duration::from_millis(20));
        assert_eq!(on_machine(&Asked { interval: quick, ..Asked::default() }, 2), Ok(()));
        // A machine of any size has room for the rows that are the default there.
        assert!(most_rows(8192) >= ROWS_LEAST, "{}", most_rows(8192));
    }
}
