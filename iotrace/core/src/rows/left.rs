//! Processes that a command has left behind, in a sentence.

use crate::rows::batch::ThreadName;

/// Processes that are named in a sentence; more are counted.
const LISTED: usize = 5;

/// Processes in a sentence, by name and number.
pub fn listed(processes: &[ThreadName]) -> String {
    let named = processes.iter().take(LISTED).map(|process| format!("{} ({})", process.name, process.pid));
    let mut words: Vec<String> = named.collect();
    if processes.len() > LISTED {
        words.push(format!("{} more", processes.len() - LISTED));
    }
    words.join(", ")
}

/// What is said of processes that a command has started and left behind.
pub fn left_behind(processes: &[ThreadName]) -> String {
    format!(
        "the command has ended, and processes that it started still run: {}. They are not traced any longer; \
         --wait-all waits for them, -p PID traces them",
        listed(processes)
    )
}
