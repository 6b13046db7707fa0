//! What `/proc` tells of processes and threads: which exist, their and names.

use std::fs;
use std::sync::OnceLock;

use iotrace_core::domain::syscall;
use iotrace_ebpf::arch::native::{RESTART_NUMBER, RESTARTED};

/// Ids of all processes that `/proc` shows.
pub fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Ids of the threads of a process; empty when it is gone.
pub fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The name of a thread (`/proc/TID/comm`, at most 15 bytes); `None` when it is gone.
pub fn comm(tid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{tid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// Id of the process that a thread belongs to; `None` when it is gone.
pub fn process_of(tid: u32) -> Option<u32> {
    status(tid, "Tgid:")?.parse().ok()
}

/// Whether a process or thread has ended; a zombie has.
pub fn is_gone(pid: u32) -> bool {
    status(pid, "State:").is_none_or(|state| state.starts_with(['Z', 'X']))
}

/// Whether all threads of a process have ended: the first thread may be a zombie while the others run.
pub fn has_ended(pid: u32) -> bool {
    is_gone(pid) && threads(pid).into_iter().all(is_gone)
}

/// The id of a process in its innermost pid namespace, if that is not the namespace of iotrace.
pub fn namespaced(pid: u32) -> Option<u32> {
    let numbers = status(pid, "NSpid:")?;
    let mut numbers = numbers.split_whitespace();
    numbers.next();
    numbers.next_back()?.parse().ok()
}

fn status(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
}

/// The syscall a thread sleeps in, by `/proc/TID/syscall`; `None` while it runs, or outside one.
pub fn sleeping_in(pid: u32, tid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let nr = text.split_whitespace().next()?.parse().ok()?;
    if nr != RESTART_NUMBER {
        return Some(nr);
    }
    // An interrupted call goes on, and the name of the function that waits has that of the call in it.
    let waits = fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).ok()?;
    let (_, name) = RESTARTED.iter().find(|(_, name)| waits.contains(name))?;
    syscall::named(name).first().copied()
}

/// Where the functions of [`RESTARTED`] are, by `/proc/kallsyms`; empty where it hides addresses. Read once: it is long.
pub fn restarts() -> &'static [(&'static str, u64)] {
    static FOUND: OnceLock<Vec<(&str, u64)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            let (address, name) = (u64::from_str_radix(words.next()?, 16).ok()?, words.nth(1)?);
            let (name, _) = RESTARTED.iter().find(|(wanted, _)| *wanted == name)?;
            (address != 0).then_some((*name, address))
        };
        symbols.lines().filter_map(line).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_not_gone() {
        let me = std::process::id();
        assert!(processes().contains(&me) && threads(me).contains(&me));
        assert_eq!(process_of(me), Some(me));
        assert!(!is_gone(me) && is_gone(u32::MAX));
        assert!(comm(me).is_some() && comm(u32::MAX).is_none());
    }
}
