//! Where results go, without privileges: what cannot be written is an error, two outputs are never one, and nobody who does
//! not read keeps iotrace.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A result that needs no kernel, with all the formats that `run` has.
const TAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/core/tests/tapes/run-select-io-uring.tape");
/// Every form of a result.
const FORMATS: [&str; 3] = ["table", "json", "timeline"];

fn iotrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iotrace"));
    command.args(args).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn to_full(args: &[&str]) -> (Option<i32>, String) {
    let full = File::options().write(true).open("/dev/full").expect("there is one");
    ended(iotrace(args).stdout(full))
}

/// A directory of its own for a test.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("iotrace-outputs-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("it is new");
    path
}

/// A pipe that has no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    // pipe(7): 16 pages.
    writer.write_all(&[0; 65_536]).expect("an empty pipe takes as much");
    (reader, writer)
}

#[test]
fn a_full_device_is_an_error_of_every_command() {
    for args in [
        &["schema"][..],
        &["doctor"],
        &["doctor", "--format", "json"],
        &["study"],
        &["--help"],
        &["--version"],
    ] {
        let (code, said) = to_full(args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write to stdout: No space left"), "{args:?}: {said}");
    }
    for format in FORMATS {
        let (code, said) = to_full(&["replay", TAPE, "--format", format]);
        assert_eq!(code, Some(1), "{format}: {said}");
        assert!(said.contains("cannot write the result to stdout: No space left"), "{format}: {said}");
        let given =
            iotrace(&["replay", TAPE, "--format", format, "-o", "/dev/full"]).output().expect("it runs");
        let said = String::from_utf8_lossy(&given.stderr);
        assert_eq!(given.status.code(), Some(1), "{format}: {said}");
        assert!(said.contains("cannot write /dev/full: No space left"), "{format}: {said}");
        assert!(given.stdout.len() > 1000, "the result is on stdout instead");
    }
    assert!(fs::metadata("/dev/full").expect("it is still there").file_type().is_char_device());
}

/// By whatever name it has, the open file is written to, behind what is there.
#[test]
fn names_of_stdout_are_stdout() {
    let dir = directory("stdout");
    let expected = iotrace(&["replay", TAPE, "--format", "json"]).output().expect("it runs").stdout;
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1"] {
        let mut file = File::create(dir.join("f")).expect("it can be made");
        file.write_all(b"before\n").expect("there is room");
        let (code, said) = ended(iotrace(&["replay", TAPE, "--format", "json", "-o", name]).stdout(file));
        assert_eq!(code, Some(0), "{name}: {said}");
        let got = fs::read(dir.join("f")).expect("it is there");
        assert_eq!(got, [b"before\n", &expected[..]].concat(), "{name}");
    }
    assert!(fs::symlink_metadata("/dev/stdout").expect("it is still there").is_symlink());
    fs::remove_dir_all(dir).expect("it can be removed");
}

#[test]
fn outputs_that_are_one_are_refused_before_anything_is_done() {
    let dir = directory("same");
    let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let refused = |command: &mut Command, what: &str| {
        let began = Instant::now();
        let (code, said) = ended(command);
        assert_eq!(code, Some(2), "{what}: {said}");
        assert!(said.contains("are the same"), "{what}: {said}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
    };
    let study = |more: &[&str]| iotrace(&[&["study", "models", "--quick"], more].concat());
    refused(
        study(&["-o", &at("new"), "--svg", &at("./new")]).stdout(Stdio::null()),
        "a file that is not there",
    );
    fs::write(at("f"), "old").expect("there is room");
    fs::hard_link(at("f"), at("hard")).expect("it can be made");
    std::os::unix::fs::symlink("f", at("soft")).expect("it can be made");
    for other in ["f", "./f", "hard", "soft"] {
        refused(study(&["-o", &at("f"), "--svg", &at(other)]).stdout(Stdio::null()), other);
    }
    refused(study(&["-o", "/dev/stdout", "--svg", "/dev/stdout"]).stdout(Stdio::piped()), "stdout twice");
    refused(study(&["--svg", "/dev/fd/1"]).stdout(Stdio::piped()), "stdout by default");
    let file = File::options().append(true).open(at("f")).expect("it is there");
    refused(study(&["--svg", &at("f")]).stdout(file), "a file that stdout is");
    let file = File::options().append(true).open(at("f")).expect("it is there");
    refused(
        iotrace(&["trace", "-p", "1", "-i", "1s", "-o", &at("f")]).stdout(file),
        "intervals and the whole",
    );
    assert_eq!(fs::read(at("f")).expect("it is there"), b"old");
    fs::copy(TAPE, at("tape")).expect("there is room");
    let (code, said) = ended(iotrace(&["replay", &at("tape"), "-o", &at("./tape")]).stdout(Stdio::null()));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is the tape"), "{said}");
    assert_eq!(fs::read(at("tape")).expect("it is there"), fs::read(TAPE).expect("it is there"));
    fs::remove_dir_all(dir).expect("it can be removed");
}

/// Neither a pipe that nobody reads nor a FIFO that nobody opens; the second is told from a full one.
#[test]
fn nobody_who_does_not_read_keeps_iotrace() {
    let dir = directory("stuck");
    let fifo = dir.join("p");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("coreutils");
    assert!(made.success());
    let (_reader, writer) = full_pipe();
    let began = Instant::now();
    let full = iotrace(&["replay", TAPE]).stdout(writer).spawn().expect("it runs");
    let fifo = iotrace(&["replay", TAPE, "-o", fifo.to_str().expect("UTF-8")]).stdout(Stdio::piped()).spawn();
    for (child, words) in
        [(full, "its reader took nothing for 5s; 0 of"), (fifo.expect("it runs"), "nobody opened it to read")]
    {
        let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    fs::remove_dir_all(dir).expect("it can be removed");
}

/// Nothing of the result came to anybody: it is not lost without a word.
#[test]
fn a_reader_who_leaves_before_the_result_is_told() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut command = iotrace(&["replay", TAPE, "-o", "/dev/stderr"]);
    let ran = command.stderr(writer).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stdout.len() > 1000, "the result is on stdout instead");
}

/// A pager is such a reader: it reads a page, and the rest when its user wants it.
#[test]
fn a_reader_who_takes_time_gets_everything() {
    let expected = iotrace(&["schema"]).output().expect("it runs").stdout;
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut child = iotrace(&["schema"]).stdout(writer).spawn().expect("it runs");
    assert!(child.wait().expect("it ends").success(), "the whole is in the pipe");
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("a pipe can be read");
    assert_eq!(got, expected);
}

/// `ulimit -f`: no death by SIGXFSZ, the old result is still there, and the new one is not lost.
#[test]
fn a_limit_of_file_sizes_costs_no_result() {
    let dir = directory("limit");
    let file = dir.join("f");
    fs::write(&file, "old").expect("there is room");
    let script = "ulimit -f 1; exec \"$0\" replay \"$1\" --format json -o \"$2\"";
    let ran = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_iotrace"), TAPE])
        .arg(&file)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!((ran.status.code(), ran.status.signal()), (Some(1), None), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(fs::read(&file).expect("it is there"), b"old");
    assert_eq!(ran.stdout, iotrace(&["replay", TAPE, "--format", "json"]).output().expect("it runs").stdout);
    assert_eq!(names(&dir), ["f"]);
    fs::remove_dir_all(dir).expect("it can be removed");
}

/// What cannot be said on stderr is no reason to die before the result is written.
#[test]
fn a_stderr_that_takes_nothing_costs_no_result() {
    let dir = directory("stderr");
    let mut damaged = fs::read(TAPE).expect("it is there");
    damaged.truncate(damaged.len() - 3);
    let tape = dir.join("tape");
    fs::write(&tape, damaged).expect("there is room");
    let (_reader, nobody_reads) = full_pipe();
    let full = File::options().write(true).open("/dev/full").expect("there is one");
    for stderr in [Stdio::from(full), Stdio::from(nobody_reads)] {
        let mut command = iotrace(&["replay", tape.to_str().expect("UTF-8")]);
        let ran = command.stderr(stderr).output().expect("it runs");
        assert!(ran.status.code().is_some(), "{:?}", ran.status);
    }
    fs::remove_dir_all(dir).expect("it can be removed");
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there");
    entries.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned()).collect()
}
