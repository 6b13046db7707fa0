//! Sets of CPUs, on machines with more of them than a `cpu_set_t` has room for.

use std::io;

/// Bits of a word of a set.
const WORD: usize = libc::c_ulong::BITS as usize;
/// CPUs that a kernel can have at most (`NR_CPUS` of `MAXSMP` is 8192), with room to spare.
pub const MOST: usize = 1 << 16;

/// Lets the calling thread run on CPU `cpu` alone, sched_setaffinity(2).
///
/// # Errors
/// There is no such CPU, it is offline, or this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu}")));
    }
    let mut set = vec![0 as libc::c_ulong; cpu / WORD + 1];
    set[cpu / WORD] |= 1 << (cpu % WORD);
    // SAFETY: the set is as long as is said; thread 0 is this one.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set[..]), set.as_ptr().cast()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPUs that the calling thread may run on; none where the kernel does not tell.
pub fn allowed() -> Vec<usize> {
    let mut set = vec![0 as libc::c_ulong; MOST / WORD];
    // glibc's wrapper clears what the kernel does not fill in; a set that is shorter than the kernel's is refused.
    // SAFETY: the set is as long as is said; thread 0 is this one.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set[..]), set.as_mut_ptr().cast()) };
    if done != 0 {
        return Vec::new();
    }
    (0..MOST).filter(|cpu| set[cpu / WORD] & 1 << (cpu % WORD) != 0).collect()
}

/// CPUs that there may ever be, for which the kernel keeps a copy of each per-CPU value
/// (`/sys/devices/system/cpu/possible`).
pub fn possible() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let usable = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    count(&text).unwrap_or_else(usable)
}

/// How many numbers a list such as `0-3,8` has.
fn count(list: &str) -> Option<usize> {
    let mut all = 0;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        all += last.checked_sub(first)?.checked_add(1)?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_a_cpu_panics() {
        for cpu in [1023, 1024, 4095, MOST - 1, MOST, usize::MAX] {
            let refused = pin(cpu).expect_err("this machine has fewer");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{cpu}: {refused}");
        }
    }

    #[test]
    fn a_thread_may_be_kept_on_each_cpu_that_it_may_use() {
        std::thread::spawn(|| {
            let all = allowed();
            assert!(!all.is_empty());
            for &cpu in &all {
                pin(cpu).unwrap();
                assert_eq!(allowed(), [cpu]);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_list_of_cpus_is_counted() {
        assert_eq!((count("0-3,8\n"), count("0"), count("0-1,4-5")), (Some(5), Some(1), Some(4)));
        assert_eq!((count(""), count("x"), count("3-1")), (None, None, None));
        assert!(possible() >= allowed().len());
    }
}
