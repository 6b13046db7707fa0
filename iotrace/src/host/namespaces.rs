//! The namespaces that this process is in, as far as they change what it measures: pid, time, network.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Inode numbers of the initial namespaces (`include/linux/proc_ns.h`, called `include/uapi/linux/nsfs.h` from 6.18):
/// the same on every boot.
const INITIAL_PID: u64 = 0xefff_fffc;
const INITIAL_TIME: u64 = 0xefff_fffa;
const INITIAL_USER: u64 = 0xefff_fffd;

/// The inode number of a namespace of a process (`self`, or an id), by which it is told from others; `None` where the
/// process is gone or the kernel has no such namespaces. Namespaces are `pid`, `time`, `net` and so on.
pub fn inode(process: &str, namespace: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/{namespace}")).ok().map(|data| data.ino())
}

/// Whether this process is in the initial pid namespace, in which the kernel's ids are those that everybody sees.
pub fn pid_is_initial() -> bool {
    inode("self", "pid").is_none_or(|inode| inode == INITIAL_PID)
}

/// Whether this process is in the initial user namespace: the kernel asks there for the capabilities that BPF needs.
pub fn user_is_initial() -> bool {
    inode("self", "user").is_none_or(|inode| inode == INITIAL_USER)
}

/// Why `/proc` cannot be used to look at processes; `None` where it can.
pub fn proc_trouble() -> Option<ProcTrouble> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        let there = Path::new("/proc/1").exists() || Path::new("/proc/stat").exists();
        return Some(if there { ProcTrouble::Elsewhere } else { ProcTrouble::Absent });
    };
    (!is_own(&status)).then_some(ProcTrouble::Outer)
}

/// What is wrong with `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcTrouble {
    /// It is not mounted.
    Absent,
    /// It shows a pid namespace in which this process has no id.
    Elsewhere,
    /// It shows a pid namespace around that of this process.
    Outer,
}

/// Whether a process's status was read in its own pid namespace: `NSpid` has its id in the namespace of the `/proc` that
/// is read, and in each one down to its own (proc_pid_status(5)).
fn is_own(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_whitespace().count() == 1)
}

/// How far CLOCK_MONOTONIC of this process is ahead of that of the initial time namespace, ns; `None` where it is not
/// known, because the process is in another time namespace than its children will be.
pub fn time_offset_ns() -> Option<i64> {
    let own = inode("self", "time");
    if own.is_none_or(|inode| inode == INITIAL_TIME) {
        return Some(0);
    }
    // The file has the offsets of the namespace of the children (time_namespaces(7)).
    if own != inode("self", "time_for_children") {
        return None;
    }
    monotonic_offset(&fs::read_to_string("/proc/self/timens_offsets").ok()?)
}

fn monotonic_offset(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::fixed;

    #[test]
    fn an_offset_has_seconds_and_nanoseconds() {
        let text = "monotonic      86400         7\nboottime           0         0\n";
        assert_eq!(monotonic_offset(text), Some(86_400_000_000_007));
        // A negative offset has nanoseconds that count upwards (proc_timens_set_offset).
        assert_eq!(monotonic_offset("monotonic -2 500000000\n"), Some(-1_500_000_000));
        assert_eq!(monotonic_offset("boottime 1 1\n"), None);
    }

    #[test]
    fn a_status_of_ones_own_namespace_has_one_number() {
        assert!(is_own("Name:\tx\nNSpid:\t12\n"));
        assert!(!is_own("NSpid:\t512\t1\n"));
        assert!(is_own("Name:\tx\n"), "a kernel without pid namespaces");
    }

    #[test]
    fn this_process_knows_its_namespaces() {
        assert!(inode("self", "net").is_some() && inode("0", "net").is_none());
        assert_eq!(proc_trouble(), None);
    }

    proptest! {
        #![proptest_config(fixed())]

        #[test]
        fn any_text_has_an_offset_or_none(text in ".{0,60}", number in any::<i64>()) {
            let _ = (monotonic_offset(&text), is_own(&text));
            let _ = monotonic_offset(&format!("monotonic {number} {number} {text}"));
        }
    }
}
