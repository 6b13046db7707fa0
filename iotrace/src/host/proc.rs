//! What `/proc` tells of processes and threads: which exist, and their names.

use std::fs;
use std::sync::OnceLock;

use iotrace_core::domain::syscall;
use iotrace_ebpf::arch::native::{RESTART_NUMBER, RESTARTED};

use super::kallsyms;

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

/// When a process or thread began, in clock ticks since boot: with its id it is the same nobody else has.
pub fn birth(pid: u32) -> Option<u64> {
    stat(pid, 22)?.parse().ok()
}

/// The process that a process is a child of; `None` when it is gone.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid, 4)?.parse().ok()
}

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5), from 3 on: the second may have blanks in it.
fn stat(pid: u32, number: usize) -> Option<String> {
    // A name is any bytes.
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

fn status(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
}

/// What a thread was found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs, or could.
    Runs,
    /// It sleeps; the number of the syscall, `None` where it is in none.
    Sleeps(Option<u32>),
    /// It sleeps uninterruptibly.
    SleepsDeep(Option<u32>),
    /// It is stopped or traced.
    Stopped,
}

/// What a thread of a program does; `None`: it has ended, or belongs to the kernel (`PF_KTHREAD`, `PF_IO_WORKER` in its
/// flags, `include/linux/sched.h`).
pub fn doing(pid: u32, tid: u32) -> Option<Doing> {
    const OF_THE_KERNEL: u64 = 0x20_0000 | 0x10;
    let flags: u64 = stat(tid, 9)?.parse().ok()?;
    if flags & OF_THE_KERNEL != 0 {
        return None;
    }
    let number = || {
        let line = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
        sleeping_in(pid, tid).or_else(|| syscall_of(&line))
    };
    Some(match stat(tid, 3)?.as_str() {
        "R" => Doing::Runs,
        "D" => Doing::SleepsDeep(number()),
        "T" | "t" => Doing::Stopped,
        "Z" | "X" => return None,
        _ => Doing::Sleeps(number()),
    })
}

/// The syscall a thread sleeps in, by `/proc/TID/syscall`; `None` while it runs, or outside one.
pub fn sleeping_in(pid: u32, tid: u32) -> Option<u32> {
    let nr = syscall_of(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?)?;
    if nr != RESTART_NUMBER {
        return Some(nr);
    }
    // An interrupted call goes on, and names of the functions that it is in have that of the call in them. `stack` needs
    // privileges; `wchan` is always 0 before 5.16 (`get_wchan`, `arch/x86/kernel/process.c`, followed frame pointers).
    let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).unwrap_or_default();
    let waits = of("stack") + &of("wchan");
    let (_, name) = RESTARTED.iter().find(|(_, name)| waits.contains(name))?;
    syscall::named(name).first().copied()
}

/// The number in a line of `/proc/TID/syscall`: number, six arguments, stack pointer, program counter. A kernel thread
/// and a worker of io_uring show the number that lies where others have it, but have no stack and no program in user
/// space: `copy_thread` (`arch/x86/kernel/process.c`) clears both.
fn syscall_of(line: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [number, .., stack, program] = words[..] else { return None };
    if words.len() == 9 && [stack, program] == ["0x0", "0x0"] {
        return None;
    }
    number.parse().ok()
}

/// Where the functions of [`RESTARTED`] are, by `/proc/kallsyms`; empty where it hides addresses. Read once: it is long.
pub fn restarts() -> &'static [(&'static str, u64)] {
    static FOUND: OnceLock<Vec<(&str, u64)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let names: Vec<&str> = RESTARTED.iter().map(|(function, _)| *function).collect();
        let places = kallsyms::places(&names);
        names.into_iter().filter_map(|name| Some((name, *places.get(name)?))).collect()
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

    #[test]
    fn a_kernel_thread_sleeps_in_no_syscall() {
        let thread = "0 0x3 0x7f21 0x10 0x0 0x0 0x0 0x7ffd 0x7f33";
        assert_eq!(syscall_of(thread), Some(0));
        assert_eq!(syscall_of("0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0"), None, "a kernel thread");
        assert_eq!(syscall_of("426 0x4 0x1 0x1 0x1 0x0 0x0 0x0 0x0"), None, "a worker of io_uring");
        assert_eq!((syscall_of("running"), syscall_of("-1 0x7ffd 0x7f33")), (None, None));
    }

    #[test]
    fn a_process_has_a_parent_and_a_birth() {
        let me = std::process::id();
        let parent = std::os::unix::process::parent_id();
        assert_eq!(super::parent(me), Some(parent));
        assert!(birth(me) >= birth(parent) && birth(u32::MAX).is_none());
    }
}
