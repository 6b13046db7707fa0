//! Starts a command that waits before its `execve` until the probes are attached.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, geteuid, pipe2, read, setgid, setgroups, setuid, write};

use super::signals;

/// The user and group that a command runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id, which is also the only supplementary group.
    pub gid: u32,
}

impl Identity {
    /// The user who called sudo, if iotrace runs as root by sudo; `None` otherwise.
    pub fn behind_sudo() -> Option<Self> {
        if !geteuid().is_root() {
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
    pid: Pid,
    gate: OwnedFd,
    failure: OwnedFd,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exited(i32),
    /// Killed by the signal of this number.
    Signaled(i32),
}

impl Ended {
    /// Ends this process in the same way: returns the exit status, or raises the signal.
    pub fn pass_on(self) -> ExitCode {
        match self {
            Ended::Exited(code) => ExitCode::from(code as u8),
            Ended::Signaled(number) => {
                // A real-time signal, or one that does not end this process: the exit code tells of it instead.
                if let Ok(known) = Signal::try_from(number) {
                    // SAFETY: the default action runs no code of this process.
                    let _ = unsafe { signal(known, SigHandler::SigDfl) };
                    let _ = raise(known);
                }
                ExitCode::from((128 + number) as u8)
            }
        }
    }
}

impl Held {
    /// Forks a child that will become `argv` as `identity` (`None`: as this process). `keep` stays
    /// open across the `execve`, under the number it has now.
    ///
    /// # Errors
    /// `argv` has a zero byte, or `pipe2` or `fork` failed. A command that cannot be executed is an error of
    /// [`Held::release`].
    pub fn spawn(argv: &[&OsStr], identity: Option<Identity>, keep: Option<&OwnedFd>) -> io::Result<Self> {
        let words: Vec<CString> =
            argv.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let (gate_out, gate_in) = pipe()?;
        let (failure_out, failure_in) = pipe()?;
        let (_sink_out, sink_in) = pipe()?;
        let keep = keep.map(AsFd::as_fd);
        // SAFETY: the child calls nothing but async-signal-safe functions, in whichever thread this is.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: child, gate: gate_in, failure: failure_out }),
            ForkResult::Child => {
                drop(gate_in);
                // SAFETY: as above; every pointer was made before the fork.
                unsafe { become_command(&gate_out, &sink_in, &failure_in, &pointers, identity, keep) }
            }
        }
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Lets the child execute its command.
    ///
    /// # Errors
    /// `execve` or the change of user failed: `NotFound`, `PermissionDenied`, ...
    pub fn release(self) -> io::Result<Running> {
        let running = Running { pid: self.pid, reaped: false };
        write(&self.gate, &[1])?;
        let mut errno = [0u8; 4];
        match read_some(&self.failure, &mut errno)? {
            4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            _ => Ok(running),
        }
    }
}

/// A child that executes its command. Dropping this kills the child, if it still runs, and reaps it.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    reaped: bool,
}

impl Running {
    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// Of `waitpid`: `ECHILD` where the child was reaped elsewhere.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        // Not `nix::sys::wait::waitpid`: it fails on a child that a real-time signal ended.
        let mut status = 0;
        // SAFETY: our own child, and a valid place for the status.
        match Errno::result(unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, libc::WNOHANG) })? {
            0 => Ok(None),
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

    /// Lets the child go on alone: it is neither killed nor reaped.
    pub fn leave(mut self) {
        self.reaped = true;
    }

    /// Sends it a signal, by number; nothing after [`Running::try_wait`] has told of its end, as its id may be reused
    /// then.
    pub fn signal(&self, number: i32) {
        if let Ok(known) = Signal::try_from(number)
            && !self.reaped
        {
            // It fails only where the child has changed its user: then it cannot be stopped from here.
            let _ = kill(self.pid, known);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(libc::SIGKILL);
            // SIGKILL cannot be ignored, so this returns.
            let _ = waitpid(self.pid, None);
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
    keep: Option<BorrowedFd<'_>>,
) -> ! {
    // tee(2) waits for the gate like a read, but is no call that iotrace traces: the wait is ours, not
    // the command's. 0 is end of file: iotrace is gone, or gave up.
    // SAFETY: two open pipes.
    while unsafe { libc::tee(gate.as_raw_fd(), sink.as_raw_fd(), 1, 0) } != 1 {
        if Errno::last() != Errno::EINTR {
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) }
        }
    }
    let taken = identity.map_or(Ok(()), take);
    let failed = taken.err().unwrap_or_else(|| {
        if let Some(fd) = keep {
            // A descriptor that is closed all the same shows in the command.
            let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
        }
        // SAFETY: Rust ignores SIGPIPE and a command expects the default; `argv` is as the caller promises.
        unsafe {
            let _ = signal(Signal::SIGPIPE, SigHandler::SigDfl);
            signals::give_back();
            libc::execvp(argv[0], argv.as_ptr());
        }
        Errno::last()
    });
    let _ = write(failure, &(failed as i32).to_ne_bytes());
    // SAFETY: ends this process and nothing else.
    unsafe { libc::_exit(127) }
}

/// Becomes another user for good: the groups first, as only root may change them.
fn take(who: Identity) -> nix::Result<()> {
    let gid = Gid::from_raw(who.gid);
    setgroups(&[gid])?;
    setgid(gid)?;
    setuid(Uid::from_raw(who.uid))
}

/// A close-on-exec pipe: reading end, writing end.
///
/// # Errors
/// Of `pipe2`: `EMFILE` or `ENFILE` where there are too many descriptors.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

fn read_some(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match read(fd, buffer) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::WaitStatus;

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
        let ended = waitpid(pid, None);
        assert_eq!(ended, Ok(WaitStatus::Exited(pid, 0)), "it did not execute its command");
    }

    /// Here because nix is a dependency of this crate only.
    #[test]
    fn the_names_of_errors_are_those_of_libc() {
        for number in 1..=133 {
            let known = Errno::from_raw(number);
            let name = (known != Errno::UnknownErrno).then(|| format!("{known:?}"));
            // nix does not name what libc does not.
            let ours = iotrace_ebpf::abi::errno::name(i64::from(number)).map(str::to_owned);
            assert_eq!(ours, name, "{number}");
        }
    }
}
