//! The user's command beyond tracing: started, told of signals, and waited for when iotrace has lost interest or
//! failed. It is never ended because of iotrace.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::host::launch::{Held, NotStarted};
use crate::host::running::{Ended, Running, Whose};
use crate::host::stderr::{say, shown};
use crate::session::error::Failure;
use crate::session::interrupts;
use crate::session::sink::Sink;

/// How often the end of a command is looked for when nothing else is to be done.
const LOOK: Duration = Duration::from_millis(10);

/// Why tracing is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The command has ended, in this way, and whoever of the target was waited for.
    Command(Ended),
    /// Nobody of the target is left, or the user asked to end.
    Target,
    /// The time is up. A command may go on.
    Time,
    /// The user asked to end a second time, and the command goes on.
    Again,
    /// Nobody gets results any more. A command may go on.
    Unwanted,
}

/// Lets the command begin.
///
/// # Errors
/// It cannot be executed, with the exit code that a shell would have for it, or cannot be its user.
pub fn release(held: Held, command: &[OsString]) -> Result<Running, Failure> {
    let name = command.first().map(OsString::as_os_str).unwrap_or_default();
    held.release(Whose::Users).map_err(|error| match error {
        NotStarted::Killed if interrupts::interrupted() => Failure::Interrupted,
        NotStarted::Killed => Failure::NotTraced(format!("{}: {error}; nothing was traced", shown(name))),
        NotStarted::NoIdentity(why) => Failure::NotTraced(format!(
            "{} was not started: iotrace may not change to the user that it is to run as ({why}), which takes \
             CAP_SETUID and CAP_SETGID; as root, --as root runs it as root. Nothing was traced",
            shown(name)
        )),
        NotStarted::NotExecuted(why) => not_executed(name, &why),
    })
}

/// 127 where there is no such command, 126 where there is and it cannot be executed, as in shells.
fn not_executed(name: &OsStr, error: &io::Error) -> Failure {
    let found = if error.kind() == io::ErrorKind::NotFound { found(name) } else { None };
    match (error.kind(), found) {
        (io::ErrorKind::NotFound, None) => {
            Failure::NotFound(format!("{}: command not found; nothing was traced", shown(name)))
        }
        // execve(2): ENOENT is also a script's interpreter, or the loader of a program, that is not there.
        (io::ErrorKind::NotFound, Some(path)) => Failure::NotExecutable(format!(
            "{} cannot be executed: {} does not exist; nothing was traced",
            shown(path.as_os_str()),
            interpreter(&path)
                .map_or("the loader that it names".to_owned(), |what| format!("its interpreter {what}"))
        )),
        _ => {
            Failure::NotExecutable(format!("{} cannot be executed: {error}; nothing was traced", shown(name)))
        }
    }
}

/// The file that a name stands for, as execvp(3) finds it.
fn found(name: &OsStr) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(executable);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(executable)
}

/// What the first line of a script names.
fn interpreter(script: &Path) -> Option<String> {
    let mut start = Vec::new();
    std::fs::File::open(script).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = line.trim_ascii().split(|&byte| byte == b' ' || byte == b'\t').next()?;
    Some(shown(OsStr::from_bytes(word)))
}

/// Hands a command what a process sent to iotrace alone. What a terminal sends, both get.
pub fn pass_on(command: &Running) {
    for number in interrupts::take_sent() {
        command.signal(number);
    }
}

/// What becomes of a command after tracing. Returns how it ended; `None`: it goes on, as the time for tracing was up.
/// `failed`: tracing ended by a failure, which has been told.
///
/// # Errors
/// The user asked a third time: iotrace ends, and the command goes on.
pub fn after(
    over: Option<Over>,
    command: Option<Running>,
    sink: &mut impl Sink,
) -> Result<Option<Ended>, Failure> {
    let Some(mut command) = command else {
        return Ok(match over {
            Some(Over::Command(ended)) => Some(ended),
            _ => None,
        });
    };
    if let Ok(Some(ended)) = command.try_wait() {
        return Ok(Some(ended));
    }
    let pid = command.pid();
    if over == Some(Over::Time) {
        sink.warn(&format!("the time for tracing is up; the command goes on as process {pid}"));
        return Ok(None);
    }
    say(&format!(
        "iotrace: tracing has ended, the command goes on as process {pid}; iotrace waits for it, to end as it does \
         ({} leaves it)",
        if interrupts::count() == 0 { "Ctrl-C twice" } else { "Ctrl-C again" }
    ));
    // The first time is the command's own affair.
    let leaves = (interrupts::count() + 1).max(2);
    loop {
        pass_on(&command);
        match command.try_wait() {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(Some(ended)),
            Err(error) => {
                return Err(Failure::Left(format!(
                    "how the command ended is not known: waiting for it: {error}"
                )));
            }
        }
        if interrupts::count() >= leaves {
            return Err(Failure::Left(format!("left the command, which goes on as process {pid}")));
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, error: i32) -> u8 {
        not_executed(OsStr::new(name), &io::Error::from_raw_os_error(error)).code()
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(code("/no/such/command", libc::ENOENT), 127);
        assert_eq!(code("no-such-command", libc::ENOENT), 127);
        assert_eq!(code("", libc::ENOENT), 127);
        assert_eq!(code("/tmp", libc::EACCES), 126);
        assert_eq!(code("sh", libc::E2BIG), 126);
        assert_eq!(code("/etc/passwd/x", libc::ENOTDIR), 126);
    }

    #[test]
    fn a_script_whose_interpreter_is_missing_is_there_and_cannot_be_executed() {
        let path = std::env::temp_dir().join(format!("iotrace-script-{}", std::process::id()));
        std::fs::write(&path, "#! /no/such/interpreter -x\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = not_executed(path.as_os_str(), &io::Error::from_raw_os_error(libc::ENOENT));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(failure.code(), 126);
        assert!(
            failure.to_string().contains("its interpreter /no/such/interpreter does not exist"),
            "{failure}"
        );
    }

    #[test]
    fn a_name_cannot_write_on_the_screen() {
        let failure =
            not_executed(OsStr::from_bytes(b"a\x1b[2J\xff"), &io::Error::from_raw_os_error(libc::ENOENT));
        assert!(!failure.to_string().contains('\x1b'), "{failure}");
    }
}
