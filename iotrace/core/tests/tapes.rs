//! Tapes of real kernels, and what comes of them, word for word: whoever changes a figure or a word sees it in a diff.
//! `UPDATE_EXPECT=1 cargo test -p iotrace-core --test tapes` writes the results anew; docs/testing.md says how to
//! record tapes.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use iotrace_core::messages::replay;
use iotrace_core::report::{Format, Options, line, render};
use iotrace_core::rows::tape::{self, Tape};
use iotrace_core::summary::Document;

/// No tape is larger, in bytes; the calls that measure what the probes add are 440 kB of each model of a run.
const LARGEST: usize = 1_000_000;

fn of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tapes").join(name)
}

fn tape(name: &str) -> Tape {
    let bytes = std::fs::read(of(&format!("{name}.tape"))).expect("it is there");
    assert!(bytes.len() <= LARGEST, "{name}: {} bytes", bytes.len());
    let tape = tape::read(&bytes).unwrap_or_else(|damage| {
        panic!("{name}: {damage}: record the tapes anew, see \"Tapes\" in docs/testing.md")
    });
    assert_eq!(tape.damage, None, "{name}: record the tapes anew, see \"Tapes\" in docs/testing.md");
    tape
}

fn text(format: Format, document: &Document) -> String {
    let mut out = Vec::new();
    render(format, document, &Options::default(), &mut out).expect("memory takes all");
    String::from_utf8(out).expect("text")
}

/// Its results, the last of which is the whole: as JSON, as `iotrace replay` prints it in that form.
fn check(name: &str, form: Format) -> Vec<Document> {
    let documents = replay::documents(&tape(name));
    let whole = documents.last().expect("a result");
    expect_file![of(&format!("{name}.json"))].assert_eq(&text(Format::Json, whole));
    expect_file![of(&format!("{name}.txt"))].assert_eq(&text(form, whole));
    assert!(whole.complete, "{name}: {:?}", whole.loss);
    documents
}

#[test]
fn a_run_of_two_models() {
    assert_eq!(check("run-select-io-uring", Format::Table).len(), 1);
}

#[test]
fn a_run_that_polls() {
    assert_eq!(check("run-nonblocking-pipe", Format::Table).len(), 1);
}

#[test]
fn a_trace_by_descriptor_with_its_intervals() {
    let name = "trace-per-fd";
    let mut documents = check(name, Format::Table);
    documents.pop();
    assert!(documents.len() > 1, "{} intervals", documents.len());
    let mut lines = Vec::new();
    documents.iter().for_each(|interval| line(interval, &mut lines).unwrap());
    let lines = String::from_utf8(lines).unwrap();
    expect_file![of(&format!("{name}.intervals.jsonl"))].assert_eq(&lines);
}

#[test]
fn a_trace_as_a_timeline() {
    check("trace-timeline", Format::Timeline);
}
