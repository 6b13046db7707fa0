//! The house rules that neither the compiler nor clippy knows: which module may mention what, and a few
//! habits. Rules read text, so they are quick and simple; each is a row of a table or a short function.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;
use circles::Files;
use source::Source;

mod circles;
mod habits;
mod licences;
mod paths;
mod rooms;
mod source;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the workspace's root.
    file: String,
    /// Counted from 1; 0 is the whole file.
    line: usize,
    what: String,
}

/// `cargo xtask lint`.
pub fn run() -> Result<()> {
    let root = Workspace::find()?.root;
    let (mut findings, mut imports) = (Vec::new(), Files::default());
    let files = files(&root)?;
    for file in &files {
        // Not everything is text, and a file may be gone though git still has it.
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        check(file, &text, &mut findings);
        if file.ends_with(".rs") {
            imports.add(file, &Source::new(&text));
        }
    }
    for circle in imports.circles() {
        let what = format!("imports in a circle: {}", circle.join(", "));
        findings.push(Finding { file: circle[0].clone(), line: 0, what });
    }
    for what in licences::misfits(&root)? {
        let what = format!("{what}, which does not fit MIT OR Apache-2.0");
        findings.push(Finding { file: "Cargo.lock".to_owned(), line: 0, what });
    }
    for Finding { file, line, what } in &findings {
        eprintln!("{file}:{line}: {what}");
    }
    if !findings.is_empty() {
        bail!("lint: {} findings", findings.len());
    }
    eprintln!("xtask: lint: {} files, nothing found", files.len());
    Ok(())
}

/// What git has, or would have.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let list = process::output(&mut git).context("lint needs git, to know which files are ours")?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn check(file: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut report = |line: usize, what: String| findings.push(Finding { file: file.to_owned(), line, what });
    habits::no_machine_paths(text, &mut report);
    if file.ends_with(".rs") {
        let source = Source::new(text);
        rooms::check(file, &source, &mut report);
        habits::check(file, &source, &mut report);
    }
}

/// What the rules find in a file of that name, for their tests: `line: what`.
#[cfg(test)]
fn found(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    check(file, text, &mut findings);
    findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
}
