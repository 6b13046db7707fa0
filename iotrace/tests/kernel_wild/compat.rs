//! Calls by the 32-bit ABI, whose numbers mean other syscalls: here by `int 0x80` in a 64-bit program.

use std::io::Write as _;
use std::time::Duration;

use crate::children::{Child, Page, ok, pipe, unix_pair};
use crate::trace::{Trace, process, row};

/// Memory that a 32-bit address reaches.
struct Low(*mut u8);

impl Low {
    fn new() -> Self {
        // SAFETY: a fresh anonymous mapping.
        let at = unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), 4096, access, kind | libc::MAP_32BIT, -1, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.cast())
    }

    /// Puts words at a place of it, and returns their address.
    fn words(&self, place: usize, words: &[u32]) -> u32 {
        // SAFETY: the tests stay within the page.
        unsafe {
            let at = self.0.add(place).cast::<u32>();
            for (n, word) in words.iter().enumerate() {
                at.add(n).write(*word);
            }
            at as u32
        }
    }
}

/// A system call of a 32-bit program.
fn int80(nr: u32, arguments: [u32; 5]) -> i32 {
    let [b, c, d, si, di] = arguments;
    let ret: u64;
    // SAFETY: the kernel reads and writes what the arguments point to, which the callers own; `rbx`, which the compiler
    // keeps for itself, is saved.
    unsafe {
        std::arch::asm!(
            "push rbx", "mov rbx, r12", "int 0x80", "pop rbx",
            in("r12") u64::from(b), inlateout("rax") u64::from(nr) => ret, in("rcx") u64::from(c),
            in("rdx") u64::from(d), in("rsi") u64::from(si), in("rdi") u64::from(di),
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    ret as i32
}

/// Whether the kernel runs such calls: `CONFIG_IA32_EMULATION`, which this setting comes with.
fn emulated() -> bool {
    let there = std::path::Path::new("/proc/sys/abi/vsyscall32").exists();
    if !there {
        let why = "skipped: CONFIG_IA32_EMULATION is off, as /proc/sys/abi/vsyscall32 is missing";
        writeln!(std::io::stderr(), "{why}").expect("stderr is open");
    }
    there
}

/// Numbers of the 32-bit table.
mod nr {
    pub const READ: u32 = 3;
    pub const WRITE: u32 = 4;
    pub const LSEEK: u32 = 19;
    pub const GETPID: u32 = 20;
    pub const GETGID: u32 = 47;
    pub const OLD_SELECT: u32 = 82;
    pub const SOCKETCALL: u32 = 102;
    pub const READV: u32 = 145;
    pub const POLL: u32 = 168;
    pub const RECVFROM: u32 = 371;
    pub const PSELECT6_TIME64: u32 = 413;
}

/// `SYS_SEND`, `SYS_RECV` of `socketcall`.
const SEND: u32 = 9;
const RECV: u32 = 10;

fn calls(page: &Page) {
    let (low, (from, to), (one, other)) = (Low::new(), pipe(), unix_pair());
    let [from, to, one, other] = [from, to, one, other].map(|fd| fd as u32);
    let byte = low.words(0, &[0]);
    page.gate();
    for _ in 0..50 {
        // writev, readv, recvmsg by the native table.
        for innocent in [nr::GETPID, nr::LSEEK, nr::GETGID] {
            int80(innocent, [from, 0, 0, 0, 0]);
        }
    }
    for _ in 0..40 {
        assert_eq!(int80(nr::WRITE, [to, byte, 1, 0, 0]), 1);
        assert_eq!(int80(nr::READ, [from, byte, 1, 0, 0]), 1);
    }
    for _ in 0..7 {
        let message = low.words(64, &[one, byte, 3, 0]);
        assert_eq!(int80(nr::SOCKETCALL, [SEND, message, 0, 0, 0]), 3);
        // `MSG_PEEK` first: flags are found behind the pointer, too.
        let peek = low.words(128, &[other, byte, 3, libc::MSG_PEEK as u32]);
        assert_eq!(int80(nr::SOCKETCALL, [RECV, peek, 0, 0, 0]), 3);
        assert_eq!(int80(nr::RECVFROM, [other, byte, 3, 0, 0]), 3);
    }
    // A native call in between is one.
    assert_eq!(crate::children::write(to as i32, 5), 5);
    let vector = low.words(192, &[byte, 5]);
    assert_eq!(int80(nr::READV, [from, vector, 1, 0, 0]), 5);
    let waiting = low.words(256, &[from, libc::POLLIN as u32]);
    assert_eq!(int80(nr::POLL, [waiting, 1, 30, 0, 0]), 0);
    let (sets, timeout) = (low.words(320, &[0; 32]), low.words(480, &[0, 20_000]));
    let old = low.words(512, &[0, sets, 0, 0, timeout]);
    assert_eq!(int80(nr::OLD_SELECT, [old, 0, 0, 0, 0]), 0);
    let timespec = low.words(576, &[0, 0, 20_000_000, 0]);
    assert_eq!(int80(nr::PSELECT6_TIME64, [0, 0, 0, 0, timespec]), 0);
}

#[test]
#[ignore = "needs root"]
fn calls_of_32_bit_programs_have_their_own_numbers() {
    if !emulated() {
        return;
    }
    let child = Child::fork(calls);
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    let counted = |name: &str| {
        let row = row(process, name);
        (row.calls, row.bytes, row.peeked_bytes, row.timeouts)
    };
    assert_eq!(counted("read"), (40, 40, 0, 0));
    assert_eq!(counted("write"), (41, 45, 0, 0));
    assert_eq!(counted("sendto"), (7, 21, 0, 0));
    assert_eq!(counted("recvfrom"), (14, 21, 21, 0));
    assert_eq!(counted("readv"), (1, 5, 0, 0));
    assert_eq!(counted("poll"), (1, 0, 0, 1));
    assert_eq!(counted("select"), (1, 0, 0, 1));
    assert_eq!(counted("pselect6"), (1, 0, 0, 1));
    assert!((30_000_000..200_000_000).contains(&row(process, "poll").total_ns), "{process:?}");
    assert_eq!(process.calls.len(), 8, "no getpid, lseek or getgid under another name: {process:?}");
    assert!(document.complete, "{:?}", document.loss);
}

#[test]
#[ignore = "needs root"]
fn descriptors_of_32_bit_calls_are_found_behind_their_pointers() {
    if !emulated() {
        return;
    }
    let child = Child::fork(calls);
    let trace = Trace::of(&[child.pid], &["--per", "fd"]);
    child.run();
    let document = trace.stop();
    let process = process(&document, child.pid);
    for (name, kind) in [("sendto", "unix"), ("recvfrom", "unix"), ("read", "pipe"), ("readv", "pipe")] {
        let row = row(process, name);
        assert_eq!(row.fd.as_ref().map(|fd| fd.kind.as_str()), Some(kind), "{row:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_32_bit_poll_that_is_stopped_is_one_call() {
    if !emulated() {
        return;
    }
    let child = Child::fork(|page| {
        let (low, (from, _to)) = (Low::new(), pipe());
        let waiting = low.words(256, &[from as u32, libc::POLLIN as u32]);
        page.gate();
        assert_eq!(int80(nr::POLL, [waiting, 1, 400, 0, 0]), 0);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    std::thread::sleep(Duration::from_millis(100));
    for signal in [libc::SIGSTOP, libc::SIGCONT] {
        // SAFETY: our own child.
        ok(unsafe { libc::kill(child.pid, signal) } as isize);
        std::thread::sleep(Duration::from_millis(50));
    }
    child.finished();
    let document = trace.stop();
    let poll = row(process(&document, child.pid), "poll");
    assert_eq!((poll.calls, poll.restarts, poll.timeouts, poll.errors.len()), (1, 1, 1, 0), "{poll:?}");
    // The time for which it was stopped is no call's.
    let stopped = process(&document, child.pid).time.as_ref().map_or(0, |time| time.stopped_ns);
    assert!(stopped >= 40_000_000 && poll.total_ns + stopped >= 400_000_000, "{stopped}: {poll:?}");
    assert!(document.complete, "{:?}", document.loss);
}
