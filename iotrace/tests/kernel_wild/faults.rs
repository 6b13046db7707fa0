//! A copy that sleeps in a page fault does not wait for data.

use std::time::Duration;

use iotrace_core::summary::Call;

use crate::children::{Child, ok, pipe, unix_pair, write};
use crate::trace::{Trace, process, row};

const LATE: Duration = Duration::from_millis(20);
const TIMES: u64 = 5;
const PAGE: usize = 4096;

/// `UFFDIO_API`, `UFFDIO_REGISTER`, `UFFDIO_COPY`, `include/uapi/linux/userfaultfd.h`: `_IOWR(0xaa, ..)`.
const API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
const REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
const COPY: libc::Ioctl = 0xc028_aa03_u32 as libc::Ioctl;

/// Pages that a thread fills in, each `LATE` after it is missed.
fn late_pages(count: usize) -> *mut u8 {
    // SAFETY: system calls as their manual pages have them, on memory made here.
    unsafe {
        let uffd = ok(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as isize) as i32;
        let mut api = [0xaa_u64, 0, 0];
        ok(libc::ioctl(uffd, API, api.as_mut_ptr()) as isize);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let pages = libc::mmap(std::ptr::null_mut(), count * PAGE, access, kind, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED);
        let mut range = [pages as u64, (count * PAGE) as u64, 1, 0];
        ok(libc::ioctl(uffd, REGISTER, range.as_mut_ptr()) as isize);
        std::thread::spawn(move || {
            let zeros = [0u8; PAGE];
            for _ in 0..count {
                // A message of 32 bytes, the address at 16.
                let mut message = [0u64; 4];
                let slice = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: 32 };
                assert_eq!(libc::readv(uffd, &raw const slice, 1), 32);
                std::thread::sleep(LATE);
                let page = message[2] & !(PAGE as u64 - 1);
                let mut copy = [page, zeros.as_ptr() as u64, PAGE as u64, 0, 0];
                ok(libc::ioctl(uffd, COPY, copy.as_mut_ptr()) as isize);
            }
        });
        pages.cast()
    }
}

/// The row of reads that each sleep in a fault of their copy.
fn faulting(reader: i32, writer: i32, more: &[&str]) -> Call {
    let child = Child::fork(|page| {
        let pages = late_pages(TIMES as usize);
        page.gate();
        for number in 0..TIMES as usize {
            assert_eq!(write(writer, 100), 100);
            // SAFETY: a page of our own for each.
            assert_eq!(unsafe { libc::read(reader, pages.add(number * PAGE).cast(), 100) }, 100);
        }
    });
    let trace = Trace::of(&[child.pid], &[&["-e", "trace=read"], more].concat());
    child.run();
    let document = trace.stop();
    let said = document.warnings.iter().any(|one| one.text.contains("page_fault_kernel"));
    assert_eq!(said, !more.is_empty(), "{:?}", document.warnings);
    row(process(&document, child.pid), "read").clone()
}

fn faults_are_no_wait(reader: i32, writer: i32) {
    let read = faulting(reader, writer, &[]);
    let late = LATE.as_nanos() as u64 * TIMES;
    assert_eq!((read.calls, read.bytes), (TIMES, TIMES * 100));
    assert!(read.total_ns > late, "{read:?}");
    assert_eq!((read.wait_ns, read.slept_calls), (0, 0), "the data was there: {read:?}");
    assert!(read.lock_ns > late * 9 / 10, "{read:?}");
    assert!(read.phase1.sum_ns < late / 10, "{read:?}");
}

#[test]
#[ignore = "needs root"]
fn a_fault_in_the_copy_out_of_a_pipe_is_no_wait_for_data() {
    let (reader, writer) = pipe();
    faults_are_no_wait(reader, writer);
}

#[test]
#[ignore = "needs root"]
fn a_fault_in_the_copy_out_of_a_socket_is_no_wait_for_data() {
    let (reader, writer) = unix_pair();
    faults_are_no_wait(reader, writer);
}

#[test]
#[ignore = "needs root"]
fn without_the_probe_of_faults_they_are_waits_and_that_is_said() {
    let (reader, writer) = pipe();
    let read = faulting(reader, writer, &["--without", "page_fault_kernel"]);
    assert!(read.wait_ns > LATE.as_nanos() as u64 * TIMES * 9 / 10, "{read:?}");
}
