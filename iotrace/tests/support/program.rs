//! The binary under test, run to its end under a time limit.

#[path = "tapes.rs"]
mod tapes;

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Generous: a VM without hardware support is 20 times slower, and others use the machine, too.
const LIMIT: Duration = Duration::from_secs(200);

/// What a run of the binary came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// The binary: what the kernel tests were told to test, else what cargo built beside the tests.
pub fn binary() -> String {
    std::env::var("IOTRACE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_iotrace").to_owned())
}

/// A command that will start it, and leave what it observes if the test fails.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    tapes::keep(&mut command);
    command
}

/// Runs it with these arguments.
pub fn iotrace<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    Started::new(command().args(args)).end()
}

/// A run under way.
pub struct Started {
    /// The process.
    pub child: Child,
    what: String,
    began: Instant,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Started {
    /// Starts a command with its output caught.
    pub fn new(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let stdout = child.stdout.take().map(read);
        let stderr = child.stderr.take().map(read);
        Self { child, what, began: Instant::now(), stdout, stderr }
    }

    /// Waits for the end and all it printed. Whatever it did, it did not panic.
    pub fn end(mut self) -> Ran {
        let status = self.status();
        let text = |reader: Option<JoinHandle<String>>| {
            reader.map_or(String::new(), |reader| reader.join().expect("the reader of a pipe ends"))
        };
        let ran =
            Ran { code: status.code(), stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) };
        assert!(!ran.stderr.contains("panicked"), "{}: {ran:?}", self.what);
        ran
    }

    /// Waits for the end; kills and fails what does not come to one.
    pub fn status(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            if self.began.elapsed() > LIMIT {
                self.child.kill().expect("our own child");
                self.child.wait().expect("our own child");
                panic!("{} did not end within {LIMIT:?}", self.what);
            }
            sleep(Duration::from_millis(2));
        }
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
