//! Reads from a disk: asleep for the disk, and copied by nobody if direct. On this machine only: the virtual machines
//! have no disk, as in `kernel_host`.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use iotrace_core::summary::{Call, Process};

use crate::children::{Child, voluntary_switches};
use crate::trace::{Trace, process, row};

const READS: u64 = 100;
const SIZE: usize = 64 << 10;

/// A file beside the test's directory, on its disk, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!(".scratch-{name}-{}", std::process::id()));
        let mut file = File::create(&path).expect("the directory of the tests can be written to");
        for _ in 0..READS {
            file.write_all(&[7; SIZE]).expect("room on the disk");
        }
        file.sync_all().expect("the disk takes it");
        // SAFETY: a plain call on a descriptor of our own: nothing of it stays in memory.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads a file that is not in memory, by `flags`; returns the row, its process, and the switches that the thread
/// counted itself. `None` in a virtual machine.
fn reads(name: &str, flags: i32) -> Option<(Call, Process, u64)> {
    if std::env::var_os("IOTRACE_VM").is_some() {
        return None;
    }
    let scratch = Scratch::new(name);
    let file =
        std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&scratch.0).expect("it is there");
    let fd = file.as_raw_fd();
    // Pages are read one at a time, without what the kernel would read ahead.
    // SAFETY: a plain call.
    assert_eq!(unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_RANDOM) }, 0);
    let child = Child::fork(|page| {
        page.gate();
        // SAFETY: memory of our own, aligned to a page.
        let buffer = unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0)
        };
        assert_ne!(buffer, libc::MAP_FAILED);
        let before = voluntary_switches();
        for number in 0..READS {
            let place = (number * 37 % READS) * SIZE as u64;
            // SAFETY: the buffer is as long as it says.
            assert_eq!(unsafe { libc::pread(fd, buffer, SIZE, place as i64) }, SIZE as isize);
        }
        page.note(0, voluntary_switches() - before);
    });
    let trace = Trace::of(&[child.pid], &["-e", "trace=pread64"]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid).clone();
    Some((row(&process, "pread64").clone(), process, child.page.noted(0)))
}

#[test]
#[ignore = "needs root"]
fn a_cold_read_sleeps_for_the_disk_and_is_copied() {
    let Some((read, process, switches)) = reads("cold", 0) else { return };
    assert!(switches >= READS / 2, "the disk made it sleep {switches} times only");
    assert_eq!((read.calls, read.bytes), (READS, READS * SIZE as u64));
    assert!(read.slept_calls * 10 >= switches.min(READS) * 9, "{switches} switches: {read:?}");
    assert!(read.disk_ns > read.lock_ns && read.wait_ns == 0, "{read:?}");
    assert!(read.copy_ns > 0 && read.copy_upper_ns.is_some(), "{read:?}");
    assert!(
        process.models.iter().all(|model| !model.evidence.contains("did not sleep")),
        "{:?}",
        process.models
    );
}

#[test]
#[ignore = "needs root"]
fn a_direct_read_sleeps_for_the_disk_and_no_processor_copies_it() {
    let Some((read, _, switches)) = reads("direct", libc::O_DIRECT) else { return };
    assert!(switches >= READS / 2, "the disk made it sleep {switches} times only");
    assert!(read.slept_calls * 10 >= switches.min(READS) * 9, "{switches} switches: {read:?}");
    assert!(read.disk_ns > read.lock_ns && read.wait_ns == 0, "{read:?}");
    // Reads that the disk answered before the thread could sleep are taken for copies.
    let copies = read.phase2.as_ref().map_or(0, |phase2| phase2.count);
    assert!(copies <= READS - read.slept_calls, "{read:?}");
}
