//! What `/proc` tells of processes and threads: which exist, and their names. Its files are bytes: a process chooses its
//! name, and any byte but zero may be in it.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use iotrace_core::domain::{name, syscall};
use iotrace_ebpf::arch::native::{RESTART_NUMBER, RESTARTED};

use super::bounded;
use super::kallsyms::Symbols;

/// Most that is read of a file of a process, bytes. The longest, `status`, has the groups of a process: up to 65,536
/// (`NGROUPS_MAX`) of up to 11 bytes each.
const MOST: u64 = 1 << 20;

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

/// The name of a thread (`/proc/TID/comm`, at most 15 bytes; a worker of a kernel thread has more); `None` when it is
/// gone.
pub fn comm_bytes(tid: u32) -> Option<Vec<u8>> {
    let mut name = read(&format!("/proc/{tid}/comm"))?;
    // The kernel adds one newline (`comm_show`, `fs/proc/base.c`); others belong to the name.
    name.pop_if(|last| *last == b'\n');
    Some(name)
}

/// The name of a thread as text, see [`name::of`]; `None` when it is gone.
pub fn comm(tid: u32) -> Option<String> {
    comm_bytes(tid).map(|bytes| name::of(&bytes))
}

fn read(path: &str) -> Option<Vec<u8>> {
    bounded::read(Path::new(path), MOST).ok()
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

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5), from 3 on.
fn stat(pid: u32, number: usize) -> Option<String> {
    field(&read(&format!("/proc/{pid}/stat"))?, number)
}

/// The second field is the name, in parentheses, and may have blanks and parentheses in it; none of the others has.
fn field(stat: &[u8], number: usize) -> Option<String> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?).map(str::to_owned)
}

fn status(pid: u32, key: &str) -> Option<String> {
    value(&read(&format!("/proc/{pid}/status"))?, key)
}

/// The value of a line of `/proc/PID/status`. The first line is the name, in which the kernel escapes newlines
/// (`proc_task_name`, `fs/proc/array.c`): it cannot pass for another line.
fn value(status: &[u8], key: &str) -> Option<String> {
    let value = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()))?;
    str::from_utf8(value).ok().map(|text| text.trim().to_owned())
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
    let text = |file: &str| {
        let bytes = read(&format!("/proc/{pid}/task/{tid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let nr = syscall_of(&text("syscall"))?;
    if nr != RESTART_NUMBER {
        return Some(nr);
    }
    // An interrupted call goes on, and names of the functions that it is in have that of the call in them. `stack` needs
    // privileges; `wchan` is always 0 before 5.16 (`get_wchan`, `arch/x86/kernel/process.c`, followed frame pointers).
    let waits = text("stack") + &text("wchan");
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

static SYMBOLS: Mutex<Option<Symbols>> = Mutex::new(None);

/// Opens the kernel's symbols for [`restarts`], which few traces ask for: with privileges that are given up later.
pub fn keep_symbols() {
    *SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Symbols::open());
}

/// Where the functions of [`RESTARTED`] are, by `/proc/kallsyms`; empty where it hides addresses. Read once: it is long.
pub fn restarts() -> &'static [(&'static str, u64)] {
    static FOUND: OnceLock<Vec<(&str, u64)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let names: Vec<&str> = RESTARTED.iter().map(|(function, _)| *function).collect();
        let kept = SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner).take();
        let symbols = kept.unwrap_or_else(Symbols::open);
        // One function may stand for several calls.
        let places = symbols.places(&names, |found| names.iter().all(|name| found.contains_key(*name)));
        names.into_iter().filter_map(|name| Some((name, *places.get(name)?))).collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::host::fixed;

    #[test]
    fn this_process_is_there_and_not_gone() {
        let me = std::process::id();
        assert!(processes().contains(&me) && threads(me).contains(&me));
        assert_eq!(process_of(me), Some(me));
        assert!(!is_gone(me) && is_gone(u32::MAX));
        assert!(comm(me).is_some() && comm(u32::MAX).is_none());
    }

    #[test]
    fn a_name_of_any_bytes_hides_nothing_and_forges_nothing() {
        let name = b"a) R 1 1 \n\xf0\x9f\x98";
        let stat = [b"7 (", &name[..], b") S 5 7 7 0 -1 4194560 0 0 0 0 1 2 0 0 20 0 1 0 99 0"].concat();
        assert_eq!((field(&stat, 3).as_deref(), field(&stat, 4).as_deref()), (Some("S"), Some("5")));
        assert_eq!(field(&stat, 22).as_deref(), Some("99"));
        assert_eq!(
            (field(&stat, 0), field(&stat, 99), field(b"7 (", 3), field(b"", 3)),
            (None, None, None, None)
        );
        let status = b"Name:\t\xf0\x9f\x98\\nTgid:\t1\nState:\tS (sleeping)\nTgid:\t7\n";
        assert_eq!((value(status, "Tgid:").as_deref(), value(status, "NSpid:")), (Some("7"), None));
    }

    #[test]
    fn a_thread_whose_name_is_not_text_is_there() {
        // In a thread of its own: the name of this one is that of the test.
        let named = std::thread::spawn(|| {
            let name = c"\xf0\x9f\x98\x80\xf0\x9f\x98 \n".as_ptr();
            // SAFETY: the name ends with a zero, and this thread alone gets it.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, name) }, 0);
            // SAFETY: a plain call.
            let tid = unsafe { libc::gettid() } as u32;
            (comm_bytes(tid), comm(tid), process_of(tid), is_gone(tid), parent(tid).is_some())
        });
        let (bytes, text, process, gone, parent) = named.join().unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"\xf0\x9f\x98\x80\xf0\x9f\x98 \n"[..]));
        assert_eq!(text.as_deref(), Some("😀\\xf0\\x9f\\x98 \n"));
        assert_eq!((process, gone, parent), (Some(std::process::id()), false, true));
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..fixed() })]

        #[test]
        fn any_file_of_a_process_is_read_without_a_panic(name in vec(any::<u8>(), 0..64), rest in vec(any::<u8>(), 0..64)) {
            let stat = [b"7 (", &name[..], b") S 5 7 7 0 -1"].concat();
            prop_assert_eq!(field(&stat, 4), Some("5".to_owned()), "whatever the name is");
            let _ = (field(&name, 4), value(&rest, "Tgid:"), syscall_of(&String::from_utf8_lossy(&rest)));
            let escaped: Vec<u8> = name.iter().map(|&byte| if byte == b'\n' { b'n' } else { byte }).collect();
            let status = [b"Name:\t", &escaped[..], b"\nTgid:\t7\n"].concat();
            prop_assert_eq!(value(&status, "Tgid:"), Some("7".to_owned()));
        }
    }
}
