//! Programs in namespaces of their own, made by the calls that `unshare` and containers make.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::children::Page;

/// `CLONE_NEWTIME` (`include/uapi/linux/sched.h`).
pub const NEWTIME: i32 = 0x80;

/// What a process 2 runs, and by which page the test speaks with it.
pub type Neighbour = (&'static Page, fn(&Page));

/// What a namespace is to be.
#[derive(Clone, Copy, Default)]
pub struct Spaces {
    /// `CLONE_NEW*` flags.
    pub flags: i32,
    /// Seconds by which CLOCK_MONOTONIC is ahead, in a time namespace.
    pub ahead_s: i64,
}

impl Spaces {
    /// A pid namespace with a `/proc` of its own.
    pub const PID: Self = Self { flags: libc::CLONE_NEWPID | libc::CLONE_NEWNS, ahead_s: 0 };

    /// Leaves the namespaces that this process has; its next child is the first process of those of pid and time.
    pub fn leave(self) {
        done(self.unshare());
    }

    fn unshare(self) -> io::Result<()> {
        // SAFETY: a plain call.
        check(unsafe { libc::unshare(self.flags) })?;
        if self.flags & NEWTIME != 0 {
            std::fs::write("/proc/self/timens_offsets", format!("monotonic {} 0", self.ahead_s))?;
        }
        Ok(())
    }

    /// The first process of a pid namespace: mounts its `/proc`.
    fn mount(self) -> io::Result<()> {
        if self.flags & libc::CLONE_NEWNS == 0 {
            return Ok(());
        }
        let (root, proc, none) = (c"/", c"/proc", std::ptr::null());
        // SAFETY: strings that end with a zero, and no data.
        unsafe {
            let alone = libc::MS_REC | libc::MS_PRIVATE;
            check(libc::mount(none, root.as_ptr(), none, alone, std::ptr::null()))?;
            let kind: &CStr = c"proc";
            check(libc::mount(kind.as_ptr(), proc.as_ptr(), kind.as_ptr(), 0, std::ptr::null()))
        }
    }

    /// Makes `command` start in such namespaces: in a new pid namespace as process 1, beside a process 2 that runs
    /// `neighbour` from the moment that it has set itself up.
    pub fn around(self, command: &mut Command, neighbour: Option<Neighbour>) {
        let before = move || {
            self.unshare()?;
            // SAFETY: this is the only thread, between fork and exec.
            match unsafe { libc::fork() } {
                0 => {}
                child => wait_for(child),
            }
            // SAFETY: a plain call: should the test die, so does this.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if self.flags & libc::CLONE_NEWPID != 0 {
                self.mount()?;
            }
            let Some((page, body)) = neighbour else { return Ok(()) };
            // SAFETY: as above.
            if unsafe { libc::fork() } == 0 {
                // SAFETY: plain calls: standard input, output and error stay, and what was opened for exec goes.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
                }
                body(page);
                // SAFETY: ends the child without running the test's own cleanup.
                unsafe { libc::_exit(0) }
            }
            while page.ready.load(Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        // SAFETY: the closure makes plain calls; the test has forked without holding a lock of the allocator.
        unsafe { command.pre_exec(before) };
    }
}

/// Ends as `child` ends. Closes what std waits for to learn of the exec.
fn wait_for(child: i32) -> ! {
    let mut status = 0;
    // SAFETY: plain calls on a child of our own.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        libc::waitpid(child, &raw mut status, 0);
        libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 })
    }
}

fn check(returned: i32) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn done(result: io::Result<()>) {
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Brings up `lo` in a new network namespace.
pub fn loopback_up() {
    // SAFETY: plain calls; the request is as long as the kernel takes it.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        done(check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request)));
        libc::close(socket);
    }
}
