//! The command line, without privileges: what is refused, in which words, and with which exit code.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use iotrace_core::domain::model::Model;
use program::{Ran, Started, binary, iotrace};

#[path = "support/program.rs"]
mod program;

/// `nobody`, who may do nothing.
const NOBODY: u32 = 65_534;

/// Runs it as somebody without privileges: `nobody` if this is root, else whoever this is.
///
/// A copy is run, since nobody may not be allowed to look into the directory of the build.
fn as_nobody(args: &[&str]) -> Ran {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return iotrace(args);
    }
    // Tests run at the same time, in threads of one process.
    // SAFETY: as above.
    let copy = std::env::temp_dir().join(format!("iotrace-cli-{}", unsafe { libc::gettid() }));
    // By another process: were it written here, a child that another thread forks meanwhile would hold it
    // open for writing, and it could not be executed.
    let copied = Command::new("cp").arg(binary()).arg(&copy).status().expect("cp");
    assert!(copied.success(), "{copied}");
    let ran = Started::new(Command::new(&copy).args(args).uid(NOBODY).gid(NOBODY)).end();
    fs::remove_file(&copy).expect("the copy can be removed");
    ran
}

/// Checks that it is refused as wrong usage, in these words, before anything is done.
fn refused(args: &[&str], words: &[&str]) {
    let ran = iotrace(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {ran:?}");
    // clap breaks lines to fit, so only the words and their order are compared.
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in words {
        assert!(said.contains(words), "no {words:?} for {args:?}: {said}");
    }
}

/// The same for options of `run` with a model.
fn run_refused(model: &str, args: &[&str], words: &[&str]) {
    refused(&[&["run", "--model", model], args].concat(), words);
}

#[test]
fn an_unknown_model_lists_the_known() {
    let all = Model::ALL.map(Model::name);
    run_refused("epol", &[], &[&["no such model", "all"], &all[..]].concat());
    run_refused("select,", &[], &["no such model"]);
    run_refused("", &[], &["no such model"]);
    refused(&["run"], &["--model"]);
}

#[test]
fn sizes() {
    run_refused("select", &["--size", "0"], &["0 bytes", "at least 1"]);
    run_refused("select", &["--size", "65508"], &["65508 bytes are too large for a datagram", "65507"]);
    run_refused("select", &["--size", "1GiB", "--transport", "tcp"], &["too large for a message", "64 MiB"]);
    run_refused("select", &["--size", "99999999999GiB"], &["does not fit into 64 bits"]);
    for garbage in ["", "many", "-1", "1.5", "0x10", "10 potatoes", "99999999999999999999"] {
        let option = format!("--size={garbage}");
        run_refused("select", &[&option], &["--size"]);
    }
}

#[test]
fn durations() {
    for option in ["--interval", "--poll-interval"] {
        run_refused("nonblocking", &[option, "-1ms"], &["negative"]);
        run_refused("nonblocking", &[option, "5"], &["needs a unit", "5ms"]);
        run_refused("nonblocking", &[option, "2days"], &["the longest duration is a day"]);
        run_refused("nonblocking", &[option, "99999999999years"], &[option]);
        run_refused("nonblocking", &[option, "soon"], &["500us"]);
        run_refused("nonblocking", &[option, ""], &[option]);
    }
    run_refused("select", &["--interval", "1day", "--messages", "1999000"], &["this century"]);
    run_refused("select", &["--poll-interval", "1ms"], &["only nonblocking"]);
}

#[test]
fn counts() {
    run_refused("select", &["--messages", "0"], &["0 messages", "at least 1"]);
    run_refused("select", &["--messages", "-3"], &["-3"]);
    run_refused("select", &["--messages", "3000000"], &["too many", "2000000"]);
    run_refused("select", &["--warmup", "18446744073709551615"], &["too many"]);
    run_refused("select", &["--connections", "0"], &["0 connections", "at least 1"]);
    run_refused("select", &["--connections", "2", "--active", "3"], &["3 active connections of 2"]);
    run_refused("select", &["--active", "0"], &["0 active connections"]);
    run_refused("select", &["--connections", "5000"], &["FD_SETSIZE"]);
    run_refused("linux-aio", &["--connections", "2"], &["io_submit blocks on the first"]);
}

#[test]
fn options_that_do_not_go_together() {
    run_refused(
        "blocking",
        &["--meanwhile", "wait"],
        &["--meanwhile is for models that leave the thread free"],
    );
    run_refused("select", &["--transport", "pipe", "--port", "7000"], &["pipe has no ports"]);
    run_refused("select", &["--transport", "unix", "--port", "7000"], &["unix has no ports"]);
    run_refused("select", &["--port", "65536"], &["--port"]);
    run_refused("select", &["--transport", "sctp"], &["sctp", "tcp, udp, unix, pipe"]);
    run_refused("select", &["--timeline", "--format", "json"], &["cannot be used with"]);
    run_refused(
        "select",
        &["--without", "sk_data_redy"],
        &["sk_data_redy", "no such probe", "sk_data_ready"],
    );
    refused(
        &["trace", "--without", "sk_data_redy", "-p", "1"],
        &["sk_data_redy", "no such probe", "sk_data_ready"],
    );
    refused(&["runn"], &["run"]);
}

#[test]
fn the_record_buffer_is_a_power_of_two() {
    for buffer in ["0", "5000", "2KiB", "2GiB", "4097"] {
        run_refused("select", &["--buffer", buffer], &["--buffer must be a power of two from 4KiB to 1GiB"]);
    }
}

/// What one of several models refuses is said before the first of them runs.
#[test]
fn one_bad_model_of_several_is_refused_at_once() {
    run_refused("blocking,linux-aio", &["--connections", "2"], &["linux-aio cannot serve 2 connections"]);
}

/// `all` leaves out what one model cannot do, but not what none can.
#[test]
fn all_does_not_hide_what_no_model_can_do() {
    run_refused("all", &["--messages", "0"], &["at least 1"]);
    run_refused("all", &["--size", "65508"], &["too large for a datagram"]);
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    for file in ["/nowhere/at/all.json", "/proc/iotrace.json"] {
        let ran = as_nobody(&["run", "--model", "select", "-o", file]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains(&format!("cannot write {file}: ")), "{ran:?}");
        assert!(ran.stderr.contains("-o"), "what to do: {ran:?}");
    }
}

#[test]
fn a_directory_is_no_file() {
    let directory = std::env::temp_dir();
    let ran = as_nobody(&["run", "--model", "select", "-o", directory.to_str().expect("a name in UTF-8")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("cannot write"), "{ran:?}");
}

#[test]
fn without_privileges_the_message_says_what_to_do() {
    let ran = as_nobody(&["run", "--model", "select"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for words in ["CAP_BPF", "CAP_PERFMON", "sudo", "setcap", "iotrace doctor"] {
        assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
    }
    assert!(ran.stderr.starts_with("iotrace: "), "{ran:?}");
}

#[test]
fn help_needs_no_privileges() {
    let ran = as_nobody(&["--help"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    for words in ["run", "doctor", "schema", "phase 1", "phase 2"] {
        assert!(ran.stdout.contains(words), "no {words}: {ran:?}");
    }
    assert!(!ran.stdout.contains("workload "), "it is hidden: {ran:?}");
    let run = as_nobody(&["run", "--help"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for words in ["--model", "--interval", "--meanwhile", "sudo iotrace run"] {
        assert!(run.stdout.contains(words), "no {words}: {run:?}");
    }
    let version = as_nobody(&["--version"]);
    assert_eq!(version.stdout, format!("iotrace {}\n", env!("CARGO_PKG_VERSION")));
    // Nothing asked for is wrong usage, and shows how it is used.
    let nothing = as_nobody(&[]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(nothing.stderr.contains("Usage: iotrace"), "{nothing:?}");
}

#[test]
fn the_schema_needs_no_privileges() {
    let ran = as_nobody(&["schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    for field in ["schema", "command", "complete", "loss", "runs", "warnings"] {
        assert!(schema["properties"].get(field).is_some(), "no {field}: {schema}");
    }
}

#[test]
fn the_doctor_needs_no_privileges() {
    let ran = as_nobody(&["doctor", "--format", "json"]);
    // Nothing can be measured, which is what it exists to say.
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let finding: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((finding["ok"].as_bool(), finding["command"].as_str()), (Some(false), Some("doctor")));
    let rows = finding["findings"].as_array().expect("a list");
    assert!(rows.len() > 10, "{finding}");
    for row in rows {
        let remedy = row["remedy"].as_str();
        assert_eq!(row["status"] == "ok", remedy.is_none(), "whatever is missing has a remedy: {row}");
        assert!(row["reason"].as_str().is_some_and(|text| !text.is_empty()), "{row}");
    }
    let table = as_nobody(&["doctor"]);
    assert_eq!(table.code, Some(1), "{table:?}");
    assert!(table.stdout.contains("iotrace cannot measure here."), "{table:?}");
    assert!(table.stdout.contains("CAP_BPF"), "{table:?}");
}

/// `iotrace schema | head -1`: the reader has seen enough, which is no error and no panic.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in [&["schema"][..], &["doctor"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new(binary());
        command.args(args).stdout(writer).stderr(Stdio::piped());
        drop(reader);
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && !said.contains("pipe"), "{args:?}: {said}");
        assert!(output.status.code().is_some(), "{args:?}: {:?}", output.status);
    }
}
