//! Planted problems of disks. On this machine only: the virtual machines have no disk.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use iotrace_core::summary::{Class, Code, Document};

use crate::children::{Child, Page};
use crate::places::{agrees, asleep};
use crate::programs::{cpu, now, schedstat};
use crate::quota::{Limit, Limited};
use crate::trace::{Trace, process};

/// Pieces of the file that is read, and their size in bytes.
const PIECES: usize = 64;
const SIZE: usize = 64 << 10;
/// How long each program is at it.
const LONG: Duration = Duration::from_millis(800);

/// Whether there is a disk to test on.
fn has_disk() -> bool {
    if crate::in_vm() {
        // Past libtest, which shows what a test prints only when it fails.
        writeln!(std::io::stderr(), "skipped: the root of a virtual machine is in memory, there is no disk")
            .expect("stderr is open");
    }
    !crate::in_vm()
}

/// A file in the test's directory, on its disk, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!(".scratch-{name}-{}", std::process::id()));
        let mut file = File::create(&path).expect("the directory of the tests can be written to");
        (0..PIECES).for_each(|_| file.write_all(&[7; SIZE]).expect("room on the disk"));
        file.sync_all().expect("the disk takes it");
        Self(path)
    }

    fn open(&self, flags: i32) -> File {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(flags).open(&self.0).expect("it is there")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes a file out of memory, and has no more read of it than is asked for.
fn cool(file: &File) {
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_RANDOM] {
        // SAFETY: a plain call on a descriptor of our own.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
}

/// Does `work` for the whole time, given how often it was done before.
fn at_it(page: &Page, mut work: impl FnMut(usize)) {
    page.gate();
    let began = std::time::Instant::now();
    let mut times = 0;
    while began.elapsed() < LONG {
        work(times);
        times += 1;
    }
    page.note(0, times as u64);
}

/// Reads a file that is not in memory, again and again.
fn cold_reader(scratch: &Scratch) -> Child {
    let file = scratch.open(0);
    Child::fork(move |page| {
        let mut buffer = vec![0; SIZE];
        at_it(page, |times| {
            if times % PIECES == 0 {
                cool(&file);
            }
            let at = (times * 37 % PIECES) * SIZE;
            file.read_exact_at(&mut buffer, at as u64).unwrap();
        });
    })
}

/// The same by a mapping.
fn cold_mapper(scratch: &Scratch) -> Child {
    let file = scratch.open(0);
    Child::fork(move |page| {
        at_it(page, |_| {
            cool(&file);
            // SAFETY: a mapping of our own, as long as the file, which nobody else has.
            unsafe {
                let (whole, fd) = (PIECES * SIZE, file.as_raw_fd());
                let at = libc::mmap(std::ptr::null_mut(), whole, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
                assert_ne!(at, libc::MAP_FAILED);
                libc::madvise(at, whole, libc::MADV_RANDOM);
                for piece in 0..PIECES {
                    std::hint::black_box(at.cast::<u8>().add(piece * SIZE).read_volatile());
                }
                libc::munmap(at, whole);
            }
        });
    })
}

/// Writes so many bytes, and waits until they are on the disk, each time.
fn durable_writer(scratch: &Scratch, bytes: usize) -> Child {
    let file = scratch.open(0);
    Child::fork(move |page| {
        let tid = std::process::id() as i32;
        let block = vec![3; bytes];
        let (mut wall, mut busy) = (0, 0);
        let mut waited = 0;
        at_it(page, |times| {
            file.write_all_at(&block, (times % (PIECES * SIZE / bytes) * bytes) as u64).unwrap();
            let [_, delay] = schedstat(tid, tid);
            let (began, ran) = (now(), cpu());
            file.sync_data().unwrap();
            (wall, busy) = (wall + now() - began, busy + cpu() - ran);
            waited += schedstat(tid, tid)[1] - delay;
        });
        [wall, busy, waited].into_iter().enumerate().for_each(|(at, ns)| page.note(1 + at, ns));
    })
}

/// Writes blocks, each of which is on the disk when its write returns.
fn synchronous_writer(scratch: &Scratch) -> Child {
    let file = scratch.open(libc::O_DSYNC);
    Child::fork(move |page| {
        let block = vec![4; 4096];
        at_it(page, |times| file.write_all_at(&block, (times % (PIECES * 16) * 4096) as u64).unwrap());
    })
}

fn expects(document: &Document, child: &Child, code: Code, words: &str) {
    let said = process(document, child.pid);
    let first = &said.diagnosis[0];
    assert!(child.page.noted(0) > 20, "{} times", child.page.noted(0));
    assert_eq!(first.code, code, "{words}: {:?} {:?}", said.diagnosis, said.time);
    assert!(first.text.contains(words), "{words}: {}", first.text);
}

#[test]
#[ignore = "needs root and eBPF"]
fn what_waits_for_a_disk_is_told_what_for() {
    if !has_disk() {
        return;
    }
    let scratches = ["cold", "mapped", "durable", "synchronous"].map(Scratch::new);
    let [cold, mapped, durable, synchronous] = &scratches;
    let children = [
        cold_reader(cold),
        cold_mapper(mapped),
        durable_writer(durable, 4096),
        synchronous_writer(synchronous),
    ];
    let pids: Vec<i32> = children.iter().map(|child| child.pid).collect();
    let trace = Trace::of(&pids, &["--no-follow"]);
    children.iter().for_each(Child::go);
    children.iter().for_each(Child::finished);
    let document = trace.stop();
    let [cold, mapped, durable, synchronous] = &children;
    expects(&document, cold, Code::DiskReads, "reads that the page cache had not");
    expects(&document, mapped, Code::DiskReads, "page faults");
    expects(&document, durable, Code::DurableWrites, "calls of fdatasync");
    expects(&document, synchronous, Code::DurableWrites, "asleep for a disk inside pwrite64");
}

/// Bytes that the disk shall take in a second: the sleeps are then so long that time on a CPU, and the way from a wake-up
/// to the run queue, which the program cannot see, are no part of them.
const SLOW: u64 = 16 << 20;

/// Not traced as a call, it is a sleep elsewhere, and as long as the program's own clock has it.
#[test]
#[ignore = "needs root and eBPF"]
fn fdatasync_elsewhere_is_as_long_as_the_program_says() {
    if !has_disk() {
        return;
    }
    let scratch = Scratch::new("elsewhere");
    let device = std::os::unix::fs::MetadataExt::dev(&scratch.0.metadata().expect("it is there"));
    let device = format!("{}:{}", libc::major(device), libc::minor(device));
    let unified = [("io.max", format!("{device} wbps={SLOW}"))];
    let first = [("blkio.throttle.write_bps_device", format!("{device} {SLOW}"))];
    let Some(slow) = Limited::new(&Limit { unified: ("io", &unified), first: ("blkio", &first) }) else {
        writeln!(std::io::stderr(), "skipped: no cgroup hierarchy can limit the disk {device}")
            .expect("stderr is open");
        return;
    };
    let child = durable_writer(&scratch, 1 << 20);
    slow.take(&child);
    let trace = Trace::of(&[child.pid], &["--no-follow", "-e", "trace=read"]);
    child.run();
    let document = trace.stop();
    let time = process(&document, child.pid).time.clone().expect("it was observed");
    let [wall, busy, waited] = [1, 2, 3].map(|at| child.page.noted(at));
    let slept = asleep(&time, "fdatasync");
    assert!(wall > 600_000_000, "the limit of the disk holds: {wall} ns in fdatasync");
    agrees("fdatasync", slept, wall - busy - waited).unwrap_or_else(|off| panic!("{off}: {time:?}"));
    let class = time.elsewhere.iter().find(|one| one.what == "fdatasync").map(|one| one.class);
    assert_eq!(class, Some(Class::Disk));
    let said = &process(&document, child.pid).diagnosis;
    assert_eq!(said[0].code, Code::DurableWrites, "{said:?}");
}
