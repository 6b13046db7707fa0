//! One observation: iotrace and bpftrace attached at once, the load between.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::client::Client;
use super::stage::{Stage, User, interrupt};
use super::traced::Traced;
use super::truth::{Collector, Truth};
use crate::process;

/// What all three sides of a scene say.
pub struct Seen {
    /// iotrace.
    pub traced: Traced,
    /// bpftrace.
    pub truth: Truth,
    /// The program that made the load.
    pub client: Client,
}

impl Seen {
    /// Leaves the results in a directory.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn keep(&self, dir: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let write = |file: PathBuf, text: String| {
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        write(dir.join(format!("{name}.json")), format!("{:#}\n", self.traced.json))?;
        write(dir.join(format!("{name}.truth")), format!("{:#?}\n", self.truth))
    }
}

/// Observes processes, and those they fork, while `load` runs.
///
/// # Errors
/// Where iotrace, bpftrace or the load fails.
pub fn observe(stage: &Stage, targets: &[u32], load: impl FnOnce() -> Result<Client>) -> Result<Seen> {
    let file = stage.dir.join("iotrace.json");
    // bpftrace's gate opens and closes right beside the attaching and detaching of iotrace: the two see the same.
    let truth = Collector::start(&stage.dir, targets)?;
    let mut iotrace = attach(stage, targets, &file)?;
    truth.open();
    let client = load();
    // The last answer is on its way to the client before the server is back in its wait.
    sleep(Duration::from_millis(50));
    truth.close();
    interrupt(&iotrace);
    let truth = truth.finish();
    let status = iotrace.wait().context("cannot wait for iotrace")?;
    if !status.success() {
        bail!("iotrace: {status}");
    }
    let text = fs::read_to_string(&file).context("iotrace left no result")?;
    let json = serde_json::from_str(&text).context("iotrace's result is no JSON")?;
    Ok(Seen { traced: Traced { json }, truth: truth?, client: client? })
}

/// Starts `iotrace trace` and waits until its probes are attached.
fn attach(stage: &Stage, targets: &[u32], file: &Path) -> Result<Child> {
    let mut command = Command::new(&stage.iotrace);
    command.args(["trace", "-v", "-f", "--format", "json", "-o"]).arg(file);
    for pid in targets {
        command.arg("-p").arg(pid.to_string());
    }
    User::ROOT.becomes(&mut command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", process::shown(&command)))?;
    let mut said = BufReader::new(child.stderr.take().context("a pipe was asked for")?).lines();
    let mut before = String::new();
    for line in said.by_ref().map_while(Result::ok) {
        if line.starts_with("attached in") {
            // It must find a reader for what else it says.
            std::thread::spawn(move || said.for_each(drop));
            return Ok(child);
        }
        before += &line;
    }
    bail!("iotrace: {}\n{before}", child.wait()?)
}
