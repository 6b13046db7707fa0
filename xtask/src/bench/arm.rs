//! What a load is measured with: nothing, the floor, iotrace, and what one would use instead of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::{Load, sys};
use super::peers::Peers;

/// Compiling and attaching, or writing a summary, takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// An arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    Nothing,
    Floor,
    Aggregate,
    Many,
    Records,
    Histogram,
    Split,
    Syscount,
    PerfTrace,
    Strace,
}

impl Arm {
    pub const ALL: [Arm; 10] = [
        Arm::Nothing,
        Arm::Floor,
        Arm::Aggregate,
        Arm::Many,
        Arm::Records,
        Arm::Histogram,
        Arm::Split,
        Arm::Syscount,
        Arm::PerfTrace,
        Arm::Strace,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Arm::Nothing => "nothing",
            Arm::Floor => "floor (empty pair)",
            Arm::Aggregate => "iotrace",
            Arm::Many => "iotrace, two targets",
            Arm::Records => "iotrace, records",
            Arm::Histogram => "bpftrace histogram",
            Arm::Split => "bpftrace split",
            Arm::Syscount => "syscount -L",
            Arm::PerfTrace => "perf trace -s",
            Arm::Strace => "strace -c",
        }
    }

    fn is_peer(self) -> bool {
        matches!(self, Arm::Histogram | Arm::Split | Arm::Syscount | Arm::PerfTrace | Arm::Strace)
    }

    /// Whether the arm says anything on this load.
    pub fn suits(self, load: &Load, pids: &[u32]) -> bool {
        (load.peers || !self.is_peer()) && (self != Arm::Many || pids.len() > 1)
    }

    fn command(self, iotrace: &Path, peers: &Peers, pids: &[u32]) -> Command {
        let pid = pids[0].to_string();
        let words = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args);
            command
        };
        let iotrace = iotrace.to_string_lossy();
        let trace = ["trace", "-v", "--format", "json"];
        match self {
            Arm::Nothing => words("/bin/true", &[]),
            Arm::Floor => words(&iotrace, &["floor"]),
            Arm::Aggregate => words(&iotrace, &[&trace[..], &["-p", &pid]].concat()),
            Arm::Many => {
                let all: Vec<String> = pids.iter().map(u32::to_string).collect();
                words(&iotrace, &[&trace[..], &["-p", &all.join(",")]].concat())
            }
            Arm::Records => words(&iotrace, &[&trace[..], &["--sink", "records", "-p", &pid]].concat()),
            Arm::Histogram => words("bpftrace", &["-B", "line", "-e", &HISTOGRAM.replace("PID", &pid)]),
            Arm::Split => words("bpftrace", &["-B", "line", "-e", &SPLIT.replace("PID", &pid)]),
            Arm::Syscount => {
                let mut command = words("syscount-bpfcc", &["-L", "-p", &pid]);
                // Its one line of greeting must not stay in Python's buffer.
                command.env("PYTHONUNBUFFERED", "1");
                if let Some(headers) = &peers.headers {
                    command.env("BCC_KERNEL_SOURCE", headers);
                }
                command
            }
            Arm::PerfTrace => words("perf", &["trace", "-s", "-p", &pid]),
            Arm::Strace => words("strace", &["-f", "-c", "-p", &pid]),
        }
    }

    /// The line by which the tool says that it is attached; perf says nothing.
    fn greeting(self) -> &'static str {
        match self {
            Arm::Histogram | Arm::Split => "tick",
            Arm::Syscount => "Tracing",
            _ => "attached",
        }
    }

    fn has_seen(self, load: &Load, said: &str) -> bool {
        match self {
            Arm::Nothing | Arm::Floor | Arm::Records => true,
            Arm::Histogram | Arm::Split => load.mentions.is_empty() || said.contains("@us"),
            // Which calls iotrace traces is another question.
            Arm::Aggregate | Arm::Many => said.contains("\"schema\""),
            _ => said.contains(load.mentions),
        }
    }
}

const HISTOGRAM: &str = "
tracepoint:raw_syscalls:sys_enter /pid == PID/ { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @us = hist(nsecs - @start[tid]); delete(@start[tid]); }
interval:ms:100 { printf(\"tick\\n\"); }";

const SPLIT: &str = "
tracepoint:raw_syscalls:sys_enter /pid == PID/ { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ {
  @us = hist(nsecs - @start[tid]); @waited = hist(@slept[tid]);
  delete(@start[tid]); delete(@slept[tid]);
}
tracepoint:sched:sched_switch {
  if (@start[args->prev_pid]) { @off[args->prev_pid] = nsecs; }
  if (@off[args->next_pid]) {
    @slept[args->next_pid] += nsecs - @off[args->next_pid]; delete(@off[args->next_pid]);
  }
}
interval:ms:100 { printf(\"tick\\n\"); }";

/// A tool at work.
pub struct Attached {
    arm: Arm,
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// From its start until it said that it was attached.
    pub took: Duration,
}

impl Attached {
    /// Starts the arm's tool and waits until it is attached.
    pub fn start(arm: Arm, iotrace: &Path, peers: &Peers, pids: &[u32]) -> Result<Self> {
        let mut command = arm.command(iotrace, peers, pids);
        Self::spawn(arm, &mut command)
    }

    /// As [`Self::start`], with another command line.
    pub fn spawn(arm: Arm, command: &mut Command) -> Result<Self> {
        let began = Instant::now();
        // SAFETY: both calls are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                sys::die_with_parent();
                // Who is started in the background ignores it, and so would the tools.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let said = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| collect(pipe, &said)));
        readers.extend(child.stderr.take().map(|pipe| collect(pipe, &said)));
        let mut attached = Self { arm, child, said, readers, took: Duration::ZERO };
        while !attached.is_ready() {
            if let Some(status) = attached.child.try_wait()? {
                bail!("it ended ({status}): {}", attached.last_words());
            }
            if began.elapsed() > PATIENCE {
                bail!("not attached after {PATIENCE:?}: {}", attached.last_words());
            }
            sleep(Duration::from_millis(2));
        }
        attached.took = began.elapsed();
        Ok(attached)
    }

    fn is_ready(&self) -> bool {
        if self.arm != Arm::PerfTrace {
            return self.said().contains(self.arm.greeting());
        }
        let fds = fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten();
        let mut links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let ready = links.any(|link| link.to_string_lossy().contains("perf_event"));
        if ready {
            // Opened; enabled a moment later.
            sleep(Duration::from_millis(200));
        }
        ready
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().map_or_else(|broken| broken.into_inner().clone(), |said| said.clone())
    }

    /// The last lines it printed, for an error.
    fn last_words(&self) -> String {
        // What it had in its pipes when it ended arrives at once.
        sleep(Duration::from_millis(20));
        let said = self.said();
        let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        last[last.len().saturating_sub(2)..].join(" / ")
    }

    /// Ends the tool as Ctrl-C would, and returns all it said.
    pub fn end(mut self) -> Result<String> {
        let signal = if self.arm == Arm::Floor { libc::SIGTERM } else { libc::SIGINT };
        // SAFETY: our own child, not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                bail!("did not end within {PATIENCE:?} of SIGINT");
            }
            sleep(Duration::from_millis(2));
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ok(self.said())
    }

    /// As [`Self::end`]; an error unless the tool saw the load.
    pub fn end_having_seen(self, load: &Load) -> Result<()> {
        let arm = self.arm;
        let said = self.end()?;
        if !arm.has_seen(load, &said) {
            bail!("it was attached, but its report does not mention {}", load.mentions);
        }
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Whatever is wrong with it, it must not run on.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: impl std::io::Read + Send + 'static, said: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(std::io::Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Ok(mut said) = said.lock() {
                said.push_str(&line);
                said.push('\n');
            }
        }
    })
}
