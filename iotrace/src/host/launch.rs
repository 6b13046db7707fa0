//! What is observed: a command that iotrace starts, held until the probes are attached.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

/// Whom a command runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group; also the only supplementary group.
    pub gid: u32,
}

impl Identity {
    /// The user behind sudo, if iotrace runs as root by way of sudo.
    pub fn behind_sudo() -> Option<Self> {
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let number = |name| std::env::var(name).ok()?.parse().ok();
        Some(Self { uid: number("SUDO_UID")?, gid: number("SUDO_GID")? })
    }
}

/// A child that was forked but waits with `execve` until it is released.
///
/// Dropping it unreleased makes the child end by itself: its gate reads end of file.
#[derive(Debug)]
pub struct Held {
    pid: libc::pid_t,
    gate: OwnedFd,
    failure: OwnedFd,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl Ended {
    /// Makes it the end of this process: its code, or its signal.
    pub fn pass_on(self) -> ExitCode {
        match self {
            Ended::Exited(code) => ExitCode::from(code as u8),
            Ended::Signaled(signal) => {
                // SAFETY: the default action of a signal that ends a process; should it not, the code says it.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
                ExitCode::from((128 + signal) as u8)
            }
        }
    }
}

impl Held {
    /// Forks a child that will become `argv` as `identity` (`None`: as this process). `keep` stays
    /// open across the `execve`, under the number it has now.
    ///
    /// # Errors
    /// Of `pipe2` and `fork`. That the command cannot be executed shows at [`Held::release`].
    pub fn spawn(argv: &[&OsStr], identity: Option<Identity>, keep: Option<&OwnedFd>) -> io::Result<Self> {
        let words: Vec<CString> =
            argv.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let (gate_out, gate_in) = pipe()?;
        let (failure_out, failure_in) = pipe()?;
        let (_sink_out, sink_in) = pipe()?;
        let keep = keep.map(AsRawFd::as_raw_fd);
        // SAFETY: iotrace has one thread here; the child calls nothing but async-signal-safe functions.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(gate_in);
                // SAFETY: as above; every pointer was made before the fork.
                unsafe { become_command(&gate_out, &sink_in, &failure_in, &pointers, identity, keep) }
            }
            pid => Ok(Self { pid, gate: gate_in, failure: failure_out }),
        }
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// Lets the child execute its command.
    ///
    /// # Errors
    /// What `execve` (or taking the identity) failed with: `NotFound`, `PermissionDenied`, ...
    pub fn release(self) -> io::Result<Running> {
        let running = Running { pid: self.pid, reaped: false };
        write_all(&self.gate, &[1])?;
        let mut errno = [0u8; 4];
        match read_some(&self.failure, &mut errno)? {
            4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            _ => Ok(running),
        }
    }
}

/// A child that runs. Dropping it kills it, if it still does, and reaps it.
#[derive(Debug)]
pub struct Running {
    pid: libc::pid_t,
    reaped: bool,
}

impl Running {
    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        let mut status = 0;
        // SAFETY: our own child, and a valid place for the status.
        match unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) } {
            0 => Ok(None),
            -1 => Err(io::Error::last_os_error()),
            _ => {
                self.reaped = true;
                Ok(Some(if libc::WIFSIGNALED(status) {
                    Ended::Signaled(libc::WTERMSIG(status))
                } else {
                    Ended::Exited(libc::WEXITSTATUS(status))
                }))
            }
        }
    }

    /// Lets it go on by itself.
    pub fn leave(mut self) {
        self.reaped = true;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        if !self.reaped {
            // SAFETY: not reaped, so the number still names our child.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(libc::SIGKILL);
            // SAFETY: our own child; SIGKILL cannot be ignored, so this returns.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
    }
}

/// The child's half of [`Held::spawn`]: waits at the gate, takes the identity, executes.
///
/// # Safety
/// To be called in a forked child only. `argv` is a null-terminated list of C strings.
unsafe fn become_command(
    gate: &OwnedFd,
    sink: &OwnedFd,
    failure: &OwnedFd,
    argv: &[*const libc::c_char],
    identity: Option<Identity>,
    keep: Option<i32>,
) -> ! {
    // tee(2) waits for the gate like a read, but is no call that iotrace traces: the wait is ours, not
    // the command's. 0 is end of file: iotrace is gone, or gave up.
    // SAFETY: two open pipes.
    while unsafe { libc::tee(gate.as_raw_fd(), sink.as_raw_fd(), 1, 0) } != 1 {
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) }
        }
    }
    // SAFETY: plain system calls on our own process.
    unsafe {
        let taken = identity.is_none_or(|who| {
            libc::setgroups(1, &raw const who.gid) == 0
                && libc::setgid(who.gid) == 0
                && libc::setuid(who.uid) == 0
        });
        if taken {
            if let Some(fd) = keep {
                libc::fcntl(fd, libc::F_SETFD, 0);
            }
            // Rust ignores SIGPIPE; a command expects the default.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::execvp(argv[0], argv.as_ptr());
        }
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        let _ = write_all(failure, &errno.to_ne_bytes());
        libc::_exit(127)
    }
}

/// A close-on-exec pipe: reading end, writing end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so both are open and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

fn read_some(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the buffer is as long as it says.
        let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match got {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            got => return Ok(got as usize),
        }
    }
}

fn write_all(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer is as long as it says; the few bytes of a gate fit any pipe at once.
    let put = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    if put == bytes.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(mut running: Running) -> Ended {
        loop {
            if let Some(ended) = running.try_wait().unwrap() {
                return ended;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn spawn(words: &[&str]) -> Held {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        Held::spawn(&words, None, None).unwrap()
    }

    #[test]
    fn a_command_is_held_until_released() {
        let (out, keep) = pipe().unwrap();
        let script = format!("echo -n ran >&{}", keep.as_raw_fd());
        let words = ["sh", "-c", &script].map(OsStr::new);
        let held = Held::spawn(&words, None, Some(&keep)).unwrap();
        drop(keep);
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", held.pid())).unwrap();
        assert_ne!(comm.trim(), "sh", "not executed before the release");
        assert_eq!(wait(held.release().unwrap()), Ended::Exited(0));
        let mut text = [0; 8];
        let got = read_some(&out, &mut text).unwrap();
        assert_eq!(&text[..got], b"ran");
    }

    #[test]
    fn status_and_signal_are_told_apart() {
        assert_eq!(wait(spawn(&["sh", "-c", "exit 3"]).release().unwrap()), Ended::Exited(3));
        assert_eq!(wait(spawn(&["sh", "-c", "kill -TERM $$"]).release().unwrap()), Ended::Signaled(15));
    }

    #[test]
    fn a_command_that_cannot_run_says_why() {
        let error = spawn(&["/nowhere/at/all"]).release().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = spawn(&["/etc/passwd"]).release().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_child_never_released_ends_by_itself() {
        let held = spawn(&["sh", "-c", "exit 9"]);
        let pid = held.pid;
        drop(held);
        let mut status = 0;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 0, "it did not execute its command");
    }
}
