//! Claims about memory: what is copied between kernel and user space, and what user space may not touch.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use super::{Figure, Trial};
use crate::study::pair::Pair;
use iotrace_core::domain::model::Transport;
use iotrace_core::summary::{Ruling, Source};

/// A page of memory with the given protection.
struct Page(*mut libc::c_void);

const PAGE: usize = 4096;
/// An address in the kernel's half of the address space. On x86-64 all memory is mapped there; on other 64-bit
/// architectures user space may not use it either.
const KERNEL: usize = 0xffff_8880_0000_1000;

impl Page {
    fn new(protection: libc::c_int) -> io::Result<Self> {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping.
        let at = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, kind, -1, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(at)) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing uses any more.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

fn faults(found: libc::c_int) -> bool {
    found == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

fn epoll(pair: &Pair) -> io::Result<OwnedFd> {
    crate::study::triggers::epoll(pair.reader(), 0)
}

pub const COPIES_SETS: Trial = Trial {
    id: "select-poll-copy-sets",
    claim: "select and poll copy the descriptors between user and kernel on every call",
    experiment: "Two calls of each with the set in memory that may not be read, and with one that may not be written",
    rule: "holds if every call fails with EFAULT: it read the set again, and would have written the answer into it",
    observed: false,
    measures: &[
        Figure::of("select: calls of 4 that fault", "calls", Source::Count),
        Figure::of("poll: calls of 4 that fault", "calls", Source::Count),
    ],
    run: |bench| {
        let pair = Pair::new(Transport::Unix)?;
        pair.write(&[1])?;
        let (mut select_faults, mut poll_faults) = (0, 0);
        // An all-zero pollfd asks for descriptor 0 and nothing: the answer has to be written all the same.
        for protection in [libc::PROT_NONE, libc::PROT_READ] {
            let page = Page::new(protection)?;
            for _ in 0..2 {
                let mut zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
                // SAFETY: the kernel checks the address of the set, which is what is to be seen.
                let select = unsafe {
                    libc::select(1, page.0.cast(), ptr::null_mut(), ptr::null_mut(), &raw mut zero)
                };
                select_faults += u32::from(faults(select));
                // SAFETY: as above.
                let poll = unsafe { libc::poll(page.0.cast(), 1, 0) };
                poll_faults += u32::from(faults(poll));
            }
        }
        bench.put("select: calls of 4 that fault", f64::from(select_faults));
        bench.put("poll: calls of 4 that fault", f64::from(poll_faults));
        Ok(())
    },
    judge: |found| {
        let (select, poll) =
            (found.get("select: calls of 4 that fault")?, found.get("poll: calls of 4 that fault")?);
        let ruling = if select >= 4.0 && poll >= 4.0 { Ruling::Holds } else { Ruling::Fails };
        Some((
            ruling,
            format!(
                "{select:.0} of 4 calls of select and {poll:.0} of 4 of poll failed with EFAULT, so they accessed the \
                 caller's memory."
            ),
        ))
    },
};

pub const SHARED: Trial = Trial {
    id: "epoll-shared-memory",
    claim: "epoll avoids copying by memory that it shares with the process (mmap)",
    experiment: "mmap of an epoll descriptor; mappings of the process before and after epoll_wait reported an event; \
                 epoll_wait with a buffer that may not be written",
    rule: "holds if an epoll descriptor can be mapped or a mapping appears, and events come without a copy; does not \
           hold if neither is so and the events are copied to the caller's buffer (EFAULT)",
    observed: false,
    measures: &[
        Figure::of("epoll descriptors that can be mapped", "of 1", Source::Count),
        Figure::of("mappings that appear", "mappings", Source::Count),
        Figure::of("events copied to the buffer: EFAULT", "of 1", Source::Count),
    ],
    run: |bench| {
        let pair = Pair::new(Transport::Unix)?;
        pair.write(&[1])?;
        let of_epoll = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            maps.lines().filter(|line| line.contains("eventpoll")).count()
        };
        let before = of_epoll();
        let epoll = epoll(&pair)?;
        if crate::study::triggers::wait(epoll.as_raw_fd(), 0)? != 1 {
            return Err(io::Error::other("epoll did not report the data that is there"));
        }
        let appeared = of_epoll().saturating_sub(before);
        // SAFETY: a new mapping of a descriptor, if the kernel makes one.
        let mapped = unsafe {
            libc::mmap(ptr::null_mut(), PAGE, libc::PROT_READ, libc::MAP_SHARED, epoll.as_raw_fd(), 0)
        };
        if mapped != libc::MAP_FAILED {
            // SAFETY: our own mapping.
            unsafe { libc::munmap(mapped, PAGE) };
        }
        let page = Page::new(libc::PROT_READ)?;
        // SAFETY: the kernel checks the address of the buffer, which is what is to be seen.
        let copied = faults(unsafe { libc::epoll_wait(epoll.as_raw_fd(), page.0.cast(), 1, 0) });
        bench.put("epoll descriptors that can be mapped", f64::from(u8::from(mapped != libc::MAP_FAILED)));
        bench.put("mappings that appear", appeared as f64);
        bench.put("events copied to the buffer: EFAULT", f64::from(copied));
        Ok(())
    },
    judge: |found| {
        let mapped = found.get("epoll descriptors that can be mapped")?;
        let appeared = found.get("mappings that appear")?;
        let copied = found.get("events copied to the buffer: EFAULT")?;
        let shares = mapped > 0.0 || appeared > 0.0;
        Some(match (shares, copied > 0.0) {
            (true, false) => (Ruling::Holds, "There is a mapping, and events come without a copy.".to_owned()),
            (true, true) => (Ruling::Conditional, "There is a mapping, but events are copied.".to_owned()),
            (false, _) => (
                Ruling::Fails,
                "An epoll descriptor cannot be mapped, no mapping appears, and the kernel copies events into the \
                 caller's buffer (EFAULT where it may not be written). epoll saves handing over the set with each \
                 call: it stays registered in the kernel."
                    .to_owned(),
            ),
        })
    },
};

pub const KERNEL_MEMORY: Trial = Trial {
    id: "kernel-memory",
    claim: "User space cannot touch kernel memory, so data must be copied",
    experiment: "recv with an address of the kernel as its buffer; a child process that reads from such an address",
    rule: "holds if recv fails with EFAULT and the child is killed by SIGSEGV",
    observed: false,
    measures: &[
        Figure::of("recv into kernel memory: EFAULT", "of 1", Source::Count),
        Figure::of("reading kernel memory: SIGSEGV", "of 1", Source::Count),
    ],
    run: |bench| {
        let pair = Pair::new(Transport::Unix)?;
        pair.write(&[1])?;
        // SAFETY: the kernel checks the address, which is what is to be seen.
        let got = unsafe { libc::recv(pair.reader(), KERNEL as *mut libc::c_void, 1, libc::MSG_DONTWAIT) };
        bench.put("recv into kernel memory: EFAULT", f64::from(faults(got as libc::c_int)));
        let killed = reads_and_dies()?;
        bench.put("reading kernel memory: SIGSEGV", f64::from(killed == libc::SIGSEGV));
        Ok(())
    },
    judge: |found| {
        let refused = found.get("recv into kernel memory: EFAULT")?;
        let killed = found.get("reading kernel memory: SIGSEGV")?;
        let ruling = if refused >= 1.0 && killed >= 1.0 { Ruling::Holds } else { Ruling::Fails };
        let because = format!(
            "recv was {} with EFAULT, and the child was {} by SIGSEGV.",
            if refused >= 1.0 { "refused" } else { "not refused" },
            if killed >= 1.0 { "killed" } else { "not killed" }
        );
        Some((ruling, because))
    },
};

/// The signal that ends a child which reads kernel memory; 0: none did.
fn reads_and_dies() -> io::Result<libc::c_int> {
    // SAFETY: the child reads one address, leaves no core behind, and ends without running anything of ours.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain calls. The read is meant to be refused: what it would bring is not used.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            let _ = ptr::read_volatile(KERNEL as *const u8);
            libc::_exit(0);
        }
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: our own child, waited for once.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(io::Error::last_os_error());
    }
    Ok(if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 })
}
