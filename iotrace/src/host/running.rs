//! A child that executes its command, until its end.

use std::io;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

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
                // A core of the command is the command's, and would be overwritten by one of this process. The limit
                // stops the kernel from writing a file, and does not stop it from starting the program of a
                // `core_pattern` with a pipe; a process that is not dumpable has no core at all, core(5).
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                let _ = set_dumpable(false);
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

/// Whose a child is, which decides what becomes of it when iotrace loses interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A part of iotrace, such as a workload: it is killed and reaped.
    Ours,
    /// The user's command: it lives on, whatever happens to iotrace.
    Users,
}

/// A child that executes its command. What dropping this does is told by [`Whose`].
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    whose: Whose,
    reaped: bool,
}

impl Running {
    pub(super) fn new(pid: Pid, whose: Whose) -> Self {
        Self { pid, whose, reaped: false }
    }

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

    /// Sends it a signal, by number; nothing after [`Running::try_wait`] has told of its end, as its id may be reused
    /// then.
    pub fn signal(&self, number: i32) {
        if !self.reaped {
            // SAFETY: a child that has not been waited for, so the number is still its own. It fails only where the
            // child has changed its user: then it cannot be stopped from here. nix knows no real-time signals.
            let _ = unsafe { libc::kill(self.pid.as_raw(), number) };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped && self.whose == Whose::Ours {
            self.signal(libc::SIGKILL);
            // SIGKILL cannot be ignored, so this returns.
            let _ = waitpid(self.pid, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::time::Duration;

    use nix::sys::signal::kill;
    use nix::unistd::{ForkResult, fork};

    use super::*;
    use crate::host::launch::Held;

    fn started(whose: Whose) -> Running {
        let words = ["sleep", "100"].map(OsStr::new);
        Held::spawn(&words, None, None).unwrap().release(whose).unwrap()
    }

    #[test]
    fn a_users_command_outlives_what_watched_it_and_a_workload_does_not() {
        let (ours, users) = (started(Whose::Ours), started(Whose::Users));
        let (workload, command) = (ours.pid, users.pid);
        drop((ours, users));
        assert_eq!(kill(workload, None), Err(Errno::ESRCH));
        assert_eq!(kill(command, None), Ok(()));
        kill(command, Signal::SIGKILL).unwrap();
        waitpid(command, None).unwrap();
    }

    /// The signal that ended the command ends the process that passes it on, without a core, though one is allowed.
    #[test]
    fn a_signal_is_passed_on_and_its_core_is_not() {
        for number in [libc::SIGSEGV, libc::SIGABRT, libc::SIGQUIT] {
            // SAFETY: the child calls what the function under test calls, and ends.
            let pid = match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let _ = setrlimit(Resource::RLIMIT_CORE, 1 << 30, 1 << 30);
                    let _ = std::env::set_current_dir(std::env::temp_dir());
                    Ended::Signaled(number).pass_on();
                    // SAFETY: ends this process and nothing else.
                    unsafe { libc::_exit(0) }
                }
                ForkResult::Parent { child } => child,
            };
            let mut status = 0;
            // SAFETY: our own child, and a valid place for the status.
            assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) }, pid.as_raw());
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == number, "{status:#x}");
            assert!(!libc::WCOREDUMP(status), "signal {number} left a core");
        }
    }

    #[test]
    fn a_signal_reaches_a_command_until_its_end_is_known() {
        let mut running = started(Whose::Users);
        running.signal(libc::SIGTERM);
        let ended = loop {
            if let Some(ended) = running.try_wait().unwrap() {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(ended, Ended::Signaled(libc::SIGTERM));
        running.signal(libc::SIGTERM);
    }
}
