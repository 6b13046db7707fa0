//! What bpftrace saw.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::stage::{User, interrupt, program};

/// The program; see its first lines.
const PROGRAM: &str = include_str!("truth.bt");

/// bpftrace at work.
pub struct Collector {
    child: Child,
    reader: JoinHandle<()>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Its maps.
#[derive(Default, Debug)]
pub struct Truth {
    maps: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Collector {
    /// Attaches the program to some processes; the gate is closed.
    ///
    /// # Errors
    /// Where bpftrace refuses the program.
    pub fn start(dir: &Path, targets: &[u32]) -> Result<Self> {
        let mut seed = String::new();
        for pid in targets {
            let _ = write!(seed, "@target[{pid}] = 1; ");
            for fd in watched(*pid) {
                let _ = write!(seed, "@watched[{pid}, {fd}] = 1; ");
            }
        }
        let text = PROGRAM.replace("HARNESS", &std::process::id().to_string()).replace("SEED", &seed);
        let file = dir.join("truth.bt");
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(program("bpftrace")?);
        // The pickups of one scene may fall into more steps than the 4096 keys that a map has by default.
        command.args(["-f", "json"]).arg(&file).env("BPFTRACE_MAP_KEYS_MAX", "16384");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        User::ROOT.becomes(&mut command);
        let mut child = command.spawn().context("cannot start bpftrace")?;
        let out = BufReader::new(child.stdout.take().context("a pipe was asked for")?);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                kept.lock().map(|mut kept| kept.push(line)).unwrap_or_default();
            }
        });
        let mut collector = Self { child, reader, lines };
        collector.attached()?;
        Ok(collector)
    }

    fn attached(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            sign(3);
            if self.lines.lock().is_ok_and(|lines| lines.iter().any(|line| line.contains("attached\\n"))) {
                break;
            }
            if let Some(status) = self.child.try_wait()? {
                let mut said = String::new();
                if let Some(mut errors) = self.child.stderr.take() {
                    std::io::Read::read_to_string(&mut errors, &mut said)?;
                }
                bail!("bpftrace: {status}\n{said}");
            }
            if start.elapsed() > Duration::from_secs(20) {
                bail!("bpftrace does not attach");
            }
            sleep(Duration::from_millis(10));
        }
        // The gate is one of its probes; the others may come after it.
        sleep(Duration::from_millis(300));
        Ok(())
    }

    /// Opens the gate.
    pub fn open(&self) {
        // A program of a tracepoint does not run where it interrupts another one: one sign may be missed.
        (0..3).for_each(|_| sign(1));
    }

    /// Closes the gate.
    pub fn close(&self) {
        // A program of a tracepoint does not run where it interrupts another one: one sign may be missed.
        (0..3).for_each(|_| sign(2));
    }

    /// Takes what was counted.
    ///
    /// # Errors
    /// Where bpftrace prints something else than maps.
    pub fn finish(mut self) -> Result<Truth> {
        interrupt(&self.child);
        self.child.wait().context("cannot wait for bpftrace")?;
        if self.reader.join().is_err() {
            bail!("the reader of bpftrace's output panicked");
        }
        let lines = self.lines.lock().map(|lines| lines.clone()).unwrap_or_default();
        Truth::parse(&lines.join("\n"))
    }
}

/// The descriptors that a process has given to its epolls, by `/proc/PID/fdinfo`: lines like "tfd:        5 events: ...".
fn watched(pid: u32) -> Vec<u64> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = infos.filter_map(|info| std::fs::read_to_string(info.path()).ok());
    let fds = |text: String| -> Vec<u64> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("tfd:"));
        lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    };
    texts.flat_map(fds).collect()
}

/// A system call that the program waits for: of all that do nothing, nobody else makes this one here.
fn sign(number: i32) {
    // SAFETY: takes a number; asks for the group of a process that may not exist.
    unsafe { libc::getpgid(number) };
}

impl Truth {
    /// Reads the lines of `bpftrace -f json`.
    ///
    /// # Errors
    /// Where a line is no JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let mut truth = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line: Value =
                serde_json::from_str(line).with_context(|| format!("bpftrace printed {line:?}"))?;
            for (name, value) in line["data"].as_object().into_iter().flatten() {
                let map = truth.maps.entry(name.trim_start_matches('@').to_owned()).or_default();
                match value {
                    Value::Object(keys) => {
                        map.extend(
                            keys.iter().filter_map(|(key, value)| Some((key.clone(), value.as_i64()?))),
                        );
                    }
                    value => map.extend(value.as_i64().map(|value| (String::new(), value))),
                }
            }
        }
        Ok(truth)
    }

    /// A value of a map by key; 0 if there is none.
    pub fn get(&self, map: &str, key: &str) -> u64 {
        let value = self.maps.get(map).and_then(|map| map.get(key));
        value.map_or(0, |&value| value.max(0).cast_unsigned())
    }

    /// The value of a map without keys.
    pub fn alone(&self, map: &str) -> u64 {
        self.get(map, "")
    }

    /// The sum of a map over all keys.
    pub fn total(&self, map: &str) -> u64 {
        let values = self.maps.get(map).into_iter().flat_map(|map| map.values());
        values.map(|&value| value.max(0).cast_unsigned()).sum()
    }

    /// The sum of a map over some syscalls.
    pub fn of(&self, map: &str, calls: &[(&str, libc::c_long)]) -> u64 {
        calls.iter().map(|(_, nr)| self.get(map, &nr.to_string())).sum()
    }

    /// The median pickup in ns: the middle of its step.
    pub fn pickup_p50_ns(&self) -> Option<u64> {
        let mut steps: Vec<(u64, i64)> = self
            .maps
            .get("pickup")?
            .iter()
            .filter_map(|(key, &count)| Some((key.parse().ok()?, count)))
            .collect();
        steps.sort_unstable();
        let half = steps.iter().map(|&(_, count)| count).sum::<i64>() / 2;
        let mut sum = 0;
        let (step, _) = steps.into_iter().find(|&(_, count)| {
            sum += count;
            sum > half
        })?;
        Some(if step < 8192 { step * 256 + 128 } else { (step - 8192) * 1_000_000 + 500_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let text = r#"{"type": "attached_probes", "data": {"probes": 3}}

{"type": "map", "data": {"@edge": 0}}
{"type": "map", "data": {"@calls": {"0": 5, "7": 2}}}
{"type": "map", "data": {"@errors": {"0,11": 3}}}
{"type": "map", "data": {"@pickup": {"10": 1, "4": 2, "8193": 2}}}"#;
        let truth = Truth::parse(text).expect("what bpftrace prints");
        assert_eq!((truth.get("calls", "7"), truth.total("calls"), truth.alone("edge")), (2, 7, 0));
        assert_eq!((truth.get("errors", "0,11"), truth.get("nothing", "1")), (3, 0));
        assert_eq!(truth.of("calls", &[("read", 0), ("write", 1)]), 5);
        assert_eq!(truth.pickup_p50_ns(), Some(10 * 256 + 128));
        assert!(Truth::parse("Segmentation fault").is_err());
    }
}
