//! `iotrace trace` as a child: started, attached, stopped, and its result checked for what must hold of
//! every result.

#[path = "tapes.rs"]
mod tapes;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use iotrace_core::domain::Role;
use iotrace_core::summary::{Call, Document, Process};

/// Longer than anything here takes, even under emulation with both CPUs busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The release binary, see docs/testing.md.
pub fn binary() -> String {
    std::env::var("IOTRACE_BIN").expect("IOTRACE_BIN names the binary: run through `cargo xtask test`")
}

/// A command that will start it, and leave what it observes if the test fails.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    tapes::keep(&mut command);
    command
}

/// An ended iotrace.
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The result, checked.
    pub fn document(&self) -> Document {
        let document = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr));
        holds(&document);
        document
    }
}

/// A running iotrace.
pub struct Trace {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    attached: Receiver<()>,
    /// Its stderr so far.
    said: Arc<Mutex<String>>,
}

impl Trace {
    /// Starts `iotrace trace` with `args`, and returns when its probes are attached.
    pub fn start(args: &[&str]) -> Self {
        let trace = Self::spawn(args);
        trace.attached();
        trace
    }

    /// Waits until its probes are attached.
    pub fn attached(&self) {
        self.attached.recv_timeout(PATIENCE).expect("iotrace attaches, or it said why not (see its stderr)");
    }

    /// The same, for processes.
    pub fn of(pids: &[i32], more: &[&str]) -> Self {
        let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
        let pids = pids.join(",");
        Self::start(&[&["-p", &pids], more].concat())
    }

    /// Starts it without waiting for anything.
    pub fn spawn(args: &[&str]) -> Self {
        Self::spawn_as(Self::command(args))
    }

    /// The command that [`Self::spawn`] starts.
    pub fn command(args: &[&str]) -> Command {
        let mut command = command();
        // What every kernel has; the rest is in `kernel_exact`, and takes seconds to attach under emulation.
        command.args(["trace", "--format", "json", "-v", "--tier", "tracepoint"]);
        // Emulated, it is 18 to 28 % of a start: what observing costs there is asked of other suites.
        if std::env::var_os("IOTRACE_VM").is_some() {
            command.arg("--uncalibrated");
        }
        command.args(args);
        command
    }

    /// Starts a command of one's own making.
    pub fn spawn_as(mut command: Command) -> Self {
        // A group of its own: what a terminal sends on Ctrl-C reaches it and its command, not us.
        command.process_group(0);
        Self::spawn_grouped(command)
    }

    /// The same, of one that sees to its group itself, which it must lead.
    pub fn spawn_grouped(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut out = child.stdout.take().expect("it was piped");
        let err = child.stderr.take().expect("it was piped");
        let (say, attached) = channel();
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).expect("a pipe can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        let stderr = std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                if line.starts_with("attached in") {
                    // Nobody may be waiting.
                    let _ = say.send(());
                }
                let mut text = heard.lock().expect("nobody panics there");
                *text += &line;
                text.push('\n');
            }
            heard.lock().expect("nobody panics there").clone()
        });
        Self { child, stdout, stderr, attached, said }
    }

    /// iotrace's own process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for its end.
    pub fn end(mut self) -> Outcome {
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            if asked.elapsed() > PATIENCE {
                // Its command, too, which holds the pipe that is read to its end below.
                // SAFETY: the group that our own child leads.
                unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
                let _ = self.child.wait();
                panic!("iotrace did not end: {}", self.stderr.join().expect("it only reads"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            status,
            stdout: self.stdout.join().expect("it only reads"),
            stderr: self.stderr.join().expect("it only reads"),
        }
    }

    /// Ctrl-C, and the result.
    pub fn stop(self) -> Document {
        self.signal(libc::SIGINT);
        let outcome = self.end();
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
        outcome.document()
    }

    /// Sends it a signal when it has handled the one that was sent before: of two at once the kernel keeps one.
    pub fn signal_when_handled(&self, signal: i32) {
        let asked = Instant::now();
        let pending = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
            status.lines().any(|line| {
                let set = line.strip_prefix("ShdPnd:").or_else(|| line.strip_prefix("SigPnd:"));
                set.is_some_and(|set| u64::from_str_radix(set.trim(), 16).is_ok_and(|set| set != 0))
            })
        };
        while pending() {
            assert!(asked.elapsed() < PATIENCE, "the first signal was not taken");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.signal(signal);
    }

    /// Sends it a signal when it has said something on stderr.
    pub fn signal_when_said(&self, words: &str, signal: i32) {
        let asked = Instant::now();
        while !self.said.lock().expect("nobody panics there").contains(words) {
            assert!(asked.elapsed() < PATIENCE, "it did not say {words}");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.signal(signal);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain call on our own child, which was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }
}

/// What must hold of every result, whatever was traced.
pub fn holds(document: &Document) {
    whole_time(document);
    for process in &document.processes {
        for call in &process.calls {
            let parts = [call.wait_ns, call.disk_ns, call.lock_ns, call.runq_ns, call.copy_ns, call.work_ns];
            assert_eq!(parts.iter().sum::<u64>(), call.total_ns, "{call:?}");
            // A row that is read while a call is added to it may lack the one or the other on each CPU.
            let cpus = u64::from(document.host.cpus);
            assert!(call.latency.count.abs_diff(call.calls) <= cpus, "{call:?}");
            assert_eq!(call.latency.sum_ns, call.total_ns, "{call:?}");
            let writes =
                ["write", "pwrite", "send", "splice"].iter().any(|name| call.syscall.starts_with(name));
            let disk = if writes { 0 } else { call.disk_ns };
            let lock = if call.role == Role::Sync { call.lock_ns } else { 0 };
            assert_eq!(call.phase1.sum_ns, call.wait_ns + call.runq_ns + disk + lock, "{call:?}");
            if let Some(upper) = call.copy_upper_ns {
                assert!(upper >= call.copy_ns, "{call:?}");
            }
            let threads = if call.tid.is_some() { 1 } else { process.threads.max(1) };
            let possible = (document.elapsed_ns + 50_000_000) * threads;
            assert!(call.total_ns <= possible, "{possible} ns possible: {call:?}");
        }
        let share: f64 = process.models.iter().map(|model| model.share).sum();
        assert!(process.models.is_empty() || (share - 1.0).abs() < 1e-6, "{:?}", process.models);
    }
    let seen = document.processes.iter().any(|process| !process.calls.is_empty());
    let said = document.warnings.iter().any(|warning| warning.code == "nothing_seen");
    assert_eq!(seen, !said, "nothing seen is said, and only then: {:?}", document.warnings);
}

/// Every nanosecond of every thread is in exactly one place.
pub fn whole_time(document: &Document) {
    let all = document.processes.iter().flat_map(|process| {
        let threads = process.thread_times.iter().map(|thread| &thread.time);
        process.time.iter().chain(threads)
    });
    for time in all.chain(&document.time) {
        assert_eq!(time.accounted_ns(), time.observed_ns, "{time:?}");
    }
}

/// A process of the result.
pub fn process(document: &Document, pid: i32) -> &Process {
    let found = document.processes.iter().find(|process| process.pid == pid as u32);
    found.unwrap_or_else(|| panic!("no process {pid}: {document:?}"))
}

/// Its only row of a syscall.
pub fn row<'a>(process: &'a Process, syscall: &str) -> &'a Call {
    let mut rows = process.calls.iter().filter(|call| call.syscall == syscall);
    let row = rows.next().unwrap_or_else(|| panic!("no {syscall}: {:?}", process.calls));
    assert!(rows.next().is_none(), "one row of {syscall}: {:?}", process.calls);
    row
}

/// Its calls of a syscall, all rows together.
pub fn calls(process: &Process, syscall: &str) -> u64 {
    process.calls.iter().filter(|call| call.syscall == syscall).map(|call| call.calls).sum()
}
