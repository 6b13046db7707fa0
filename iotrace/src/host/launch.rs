//! Starts a command that waits before its `execve` until the probes are attached.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, pipe2, read, setgid, setgroups, setuid, write};
use thiserror::Error;

use super::identity::Identity;
use super::inherited;
use super::running::{Running, Whose};
use super::signals;

/// A child that was forked but waits with `execve` until it is released.
///
/// Dropping it unreleased makes the child end by itself: its gate reads end of file.
#[derive(Debug)]
pub struct Held {
    pid: Pid,
    gate: OwnedFd,
    failure: OwnedFd,
}

/// Why a held child did not become its command.
#[derive(Debug, Error)]
pub enum NotStarted {
    /// It was killed while it waited, as by Ctrl-C on a terminal.
    #[error("it was ended before it could begin")]
    Killed,
    /// It could not become the user that it is to run as.
    #[error("it could not become its user: {0}")]
    NoIdentity(io::Error),
    /// `execve` failed: `NotFound`, `PermissionDenied`, ...
    #[error("{0}")]
    NotExecuted(io::Error),
}

impl Held {
    /// Forks a child that will become `argv` as `identity` (`None`: as this process). `keep` stays
    /// open across the `execve`, under the number it has now.
    ///
    /// # Errors
    /// `argv` has a zero byte, or `pipe2` or `fork` failed. A command that cannot be executed is an error of
    /// [`Held::release`].
    pub fn spawn(argv: &[&OsStr], identity: Option<&Identity>, keep: Option<&OwnedFd>) -> io::Result<Self> {
        // Whatever needs memory is made before the fork.
        let words: Vec<CString> =
            argv.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
        // Another iotrace below would write over the tape.
        let now = std::env::vars_os().filter(|(name, _)| name != OF_TAPE);
        let variables = variables(match identity {
            Some(who) => who.environment(now),
            None => now.collect(),
        });
        let command = Command {
            argv: pointers(&words),
            environment: pointers(&variables),
            keep: keep.map(AsFd::as_fd),
            ids: identity.map(|who| Ids {
                uid: Uid::from_raw(who.uid),
                gid: Gid::from_raw(who.gid),
                groups: who.groups.iter().copied().map(Gid::from_raw).collect(),
            }),
        };
        let (gate_out, gate_in) = pipe()?;
        let (failure_out, failure_in) = pipe()?;
        let (_sink_out, sink_in) = pipe()?;
        // SAFETY: the child calls nothing but async-signal-safe functions, in whichever thread this is.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pid: child, gate: gate_in, failure: failure_out }),
            ForkResult::Child => {
                drop(gate_in);
                // SAFETY: as above; every pointer was made before the fork.
                unsafe { become_command(&gate_out, &sink_in, &failure_in, &command) }
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
    /// It is gone, could not change its user, or `execve` failed.
    pub fn release(self, whose: Whose) -> Result<Running, NotStarted> {
        let mut running = Running::new(self.pid, whose);
        // A child that is gone has closed the gate.
        if write(&self.gate, &[1]).is_err() {
            let _ = running.try_wait();
            return Err(NotStarted::Killed);
        }
        let mut told = [0u8; 8];
        let got = read_some(&self.failure, &mut told).map_err(NotStarted::NotExecuted)?;
        if got < told.len() {
            return Ok(running);
        }
        let [stage, number] =
            [0, 4].map(|at| i32::from_ne_bytes([told[at], told[at + 1], told[at + 2], told[at + 3]]));
        let error = io::Error::from_raw_os_error(number);
        Err(if stage == STAGE_IDENTITY {
            NotStarted::NoIdentity(error)
        } else {
            NotStarted::NotExecuted(error)
        })
    }
}

/// The variable that names a tape (`session/tape.rs`).
pub const OF_TAPE: &str = "IOTRACE_TAPE";

/// What failed in the child, as it tells.
const STAGE_IDENTITY: i32 = 1;
const STAGE_EXECUTE: i32 = 2;

/// What a child becomes, made before the fork.
struct Command<'a> {
    /// A null-terminated list of C strings.
    argv: Vec<*const libc::c_char>,
    /// Such a list.
    environment: Vec<*const libc::c_char>,
    keep: Option<BorrowedFd<'a>>,
    ids: Option<Ids>,
}

struct Ids {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
}

/// An environment as C has it. A variable with a zero byte cannot be there.
fn variables(environment: Vec<(OsString, OsString)>) -> Vec<CString> {
    let one = |(key, value): (OsString, OsString)| {
        let mut text = key.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        CString::new(text).ok()
    };
    environment.into_iter().filter_map(one).collect()
}

/// The child's half of [`Held::spawn`]: waits at the gate, takes the identity, executes.
///
/// # Safety
/// To be called in a forked child only. The lists of `command` end with null and have C strings in them.
unsafe fn become_command(gate: &OwnedFd, sink: &OwnedFd, failure: &OwnedFd, command: &Command<'_>) -> ! {
    // tee(2) waits for the gate like a read, but is no call that iotrace traces: the wait is ours, not
    // the command's. 0 is end of file: iotrace is gone, or gave up.
    // SAFETY: two open pipes.
    while unsafe { libc::tee(gate.as_raw_fd(), sink.as_raw_fd(), 1, 0) } != 1 {
        if Errno::last() != Errno::EINTR {
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) }
        }
    }
    let (stage, failed) = match command.ids.as_ref().map_or(Ok(()), take) {
        Err(error) => (STAGE_IDENTITY, error),
        Ok(()) => {
            if let Some(fd) = command.keep {
                // A descriptor that is closed all the same shows in the command.
                let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
            }
            inherited::restore();
            signals::give_back();
            // SAFETY: the lists are as the caller promises.
            unsafe {
                libc::execvpe(command.argv[0], command.argv.as_ptr(), command.environment.as_ptr());
            }
            (STAGE_EXECUTE, Errno::last())
        }
    };
    let mut told = [0; 8];
    told[..4].copy_from_slice(&stage.to_ne_bytes());
    told[4..].copy_from_slice(&(failed as i32).to_ne_bytes());
    let _ = write(failure, &told);
    // SAFETY: ends this process and nothing else.
    unsafe { libc::_exit(127) }
}

/// Becomes another user for good: the groups first, as only root may change them.
fn take(who: &Ids) -> nix::Result<()> {
    setgroups(&who.groups)?;
    setgid(who.gid)?;
    setuid(who.uid)
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
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;
    use crate::host::running::Ended;

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
        assert_eq!(wait(held.release(Whose::Ours).unwrap()), Ended::Exited(0));
        let mut text = [0; 8];
        let got = read_some(&out, &mut text).unwrap();
        assert_eq!(&text[..got], b"ran");
    }

    #[test]
    fn status_and_signal_are_told_apart() {
        assert_eq!(wait(spawn(&["sh", "-c", "exit 3"]).release(Whose::Ours).unwrap()), Ended::Exited(3));
        assert_eq!(
            wait(spawn(&["sh", "-c", "kill -TERM $$"]).release(Whose::Ours).unwrap()),
            Ended::Signaled(15)
        );
    }

    #[test]
    fn a_command_that_cannot_run_says_why() {
        let kind = |words: &[&str]| match spawn(words).release(Whose::Ours).unwrap_err() {
            NotStarted::NotExecuted(error) => error.kind(),
            other => panic!("{other}"),
        };
        assert_eq!(kind(&["/nowhere/at/all"]), io::ErrorKind::NotFound);
        assert_eq!(kind(&["/etc/passwd"]), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(&["/tmp"]), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_command_that_was_killed_while_it_waited_does_not_begin() {
        let held = spawn(&["true"]);
        // Of all signals the one that it cannot have inherited as ignored, as it has SIGINT from `&` of a script.
        nix::sys::signal::kill(held.pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        while std::fs::read_to_string(format!("/proc/{}/stat", held.pid))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(matches!(held.release(Whose::Users), Err(NotStarted::Killed)));
    }

    /// What the user's shell would give: all groups, the variables, and what iotrace's own start has not changed.
    #[test]
    fn a_command_gets_the_identity_and_environment_of_its_user() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut who = Identity::of_command(Some(OsStr::new("nobody"))).unwrap().unwrap();
        who.groups = vec![who.gid, 4, 27];
        let (out, keep) = pipe().unwrap();
        let script = "echo $(id -u) $(id -g) $(id -G) $HOME $USER $LOGNAME $SHELL; \
                      grep -E 'SigBlk|NoNewPrivs|CapEff' /proc/self/status";
        let script = format!("exec >&{}; {script}", keep.as_raw_fd());
        let words = ["sh", "-c", &script].map(OsStr::new);
        let held = Held::spawn(&words, Some(&who), Some(&keep)).unwrap();
        drop(keep);
        assert_eq!(wait(held.release(Whose::Ours).unwrap()), Ended::Exited(0));
        let mut text = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(out), &mut text).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[..5], ["65534", "65534", "65534", "4", "27"], "{text}");
        assert_eq!(words[6..8], ["nobody", "nobody"], "{text}");
        let of = |key: &str| words[words.iter().position(|word| *word == key).unwrap() + 1];
        assert_eq!((of("CapEff:"), of("NoNewPrivs:")), ("0000000000000000", "0"), "{text}");
        assert_eq!(u64::from_str_radix(of("SigBlk:"), 16).unwrap(), 0, "{text}");
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
