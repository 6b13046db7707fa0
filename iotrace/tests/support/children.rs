//! Programs that tests observe: forks of the test that do a known thing when told to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::trace::PATIENCE;

/// What a child and the test share.
#[repr(C)]
pub struct Page {
    /// 1: the child's set-up is over.
    pub ready: AtomicU32,
    go: AtomicU32,
    done: AtomicU32,
    leave: AtomicU32,
    /// What the child counted.
    pub numbers: [AtomicU64; 32],
}

impl Page {
    /// Lets its program begin.
    pub fn let_go(&self) {
        self.go.store(1, Ordering::SeqCst);
    }

    /// The child's set-up is over: waits until it is observed. `nanosleep` is no traced call.
    pub fn gate(&self) {
        self.ready.store(1, Ordering::SeqCst);
        while self.go.load(Ordering::SeqCst) == 0 {
            nap();
        }
    }

    /// Notes a number for the test.
    pub fn note(&self, at: usize, number: u64) {
        self.numbers[at].store(number, Ordering::SeqCst);
    }

    /// What the child noted.
    pub fn noted(&self, at: usize) -> u64 {
        self.numbers[at].load(Ordering::SeqCst)
    }
}

fn nap() {
    std::thread::sleep(Duration::from_micros(300));
}

/// A forked child, killed when dropped.
pub struct Child {
    pub pid: i32,
    pub page: &'static Page,
    waited: bool,
}

impl Child {
    /// Forks. `body` sets up, calls [`Page::gate`], and does what is to be observed. Afterwards the child
    /// stays until it is dropped, without another traced call.
    pub fn fork(body: impl FnOnce(&Page)) -> Self {
        let page = shared_page();
        // SAFETY: the child of a possibly threaded process uses only what glibc keeps usable across fork.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: plain calls: should the test die, so does its child.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(page)));
            page.done.store(1, Ordering::SeqCst);
            while ran.is_ok() && page.leave.load(Ordering::SeqCst) == 0 {
                nap();
            }
            // SAFETY: ends the child without running the test's own cleanup.
            unsafe { libc::_exit(i32::from(ran.is_err())) }
        }
        let child = Self { pid, page, waited: false };
        child.until("set up", |page| page.ready.load(Ordering::SeqCst) == 1);
        child
    }

    /// Lets it begin.
    pub fn go(&self) {
        self.page.let_go();
    }

    /// Waits until it has done everything.
    pub fn finished(&self) {
        self.until("do its work", |page| page.done.load(Ordering::SeqCst) == 1);
    }

    /// Lets it begin, and waits.
    pub fn run(&self) {
        self.go();
        self.finished();
    }

    /// Lets it end, and waits for that.
    pub fn leave(mut self) {
        self.page.leave.store(1, Ordering::SeqCst);
        let mut status = 0;
        // SAFETY: our own child, waited for once.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        self.waited = true;
        assert_eq!(status, 0, "the child failed (see above)");
    }

    /// Whether it is a zombie.
    pub fn ended(&self) -> bool {
        iotrace::host::proc::is_gone(self.pid as u32)
    }

    fn until(&self, what: &str, there: impl Fn(&Page) -> bool) {
        let asked = Instant::now();
        while !there(self.page) {
            assert!(!self.ended() || there(self.page), "the child ended before it could {what}");
            assert!(asked.elapsed() < PATIENCE, "the child did not {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.waited {
            // SAFETY: our own child, not waited for yet.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, std::ptr::null_mut(), 0);
            }
        }
    }
}

/// A zeroed page that survives `fork` as the same page. Never unmapped: tests are few.
pub fn shared_page() -> &'static Page {
    // SAFETY: a fresh anonymous mapping of at least a page; all zeros are a valid `Page` of atomics.
    unsafe {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let at = libc::mmap(std::ptr::null_mut(), size_of::<Page>(), access, kind, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        &*at.cast::<Page>()
    }
}

/// A system call that must succeed.
pub fn ok(returned: isize) -> usize {
    assert!(returned >= 0, "{}", std::io::Error::last_os_error());
    returned as usize
}

/// Reads into a buffer of `size` bytes.
pub fn read(fd: i32, size: usize) -> isize {
    let mut buffer = vec![0u8; size];
    // SAFETY: the buffer is as long as it says.
    unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), size) }
}

/// Writes `size` zeros.
pub fn write(fd: i32, size: usize) -> isize {
    let buffer = vec![0u8; size];
    // SAFETY: the buffer is as long as it says.
    unsafe { libc::write(fd, buffer.as_ptr().cast(), size) }
}

/// Reads one byte by `readv`, which no library calls on its own account: glibc reads `/proc` for new threads.
pub fn readv_one(fd: i32) -> isize {
    let mut byte = 0u8;
    let slice = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: one slice, of one byte.
    unsafe { libc::readv(fd, &raw const slice, 1) }
}

/// A pipe, closed for what is executed (iotrace must not keep it open): reading end, writing end.
pub fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (ends[0], ends[1])
}

/// A pair of connected AF_UNIX streams.
pub fn unix_pair() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    };
    assert_eq!(made, 0);
    (ends[0], ends[1])
}

/// Closes a descriptor of ours.
pub fn close(fd: i32) {
    // SAFETY: whoever calls this owns it.
    unsafe { libc::close(fd) };
}

/// Voluntary context switches of the calling thread so far; asking is no traced call.
pub fn voluntary_switches() -> u64 {
    // SAFETY: room for the answer; all zeros are a valid value of it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage.ru_nvcsw as u64
    }
}

/// Names the calling thread.
pub fn name(name: &std::ffi::CStr) {
    // SAFETY: a string that ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Whether the running kernel has a tracepoint.
pub fn has_tracepoint(name: &str) -> bool {
    iotrace::bpf::btf::Btf::of_kernel().expect("a kernel with BTF").tracepoint(name).is_some()
}
