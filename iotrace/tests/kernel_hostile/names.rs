//! Names that others chose: not UTF-8, with what steers a terminal, with newlines that look like more.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc::channel;

use iotrace_core::domain::name;

use crate::trace::{Trace, binary, command};

/// Four emoji, as the kernel cuts them: 15 bytes.
const COMM: &[u8; 16] = b"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\0";
const READS: usize = 20;

/// What a terminal may get, lines aside.
fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || name::is_harmless(c))
}

/// A thread of that name reads from a socket whose name has a line of `/proc/net/unix` in it.
#[test]
#[ignore = "needs root"]
fn a_name_of_any_bytes_is_found_and_harms_no_screen() {
    let forged = format!(
        "@dbus\n0000000000000000: 00000002 00000000 00010000 0001 01 1 /run/evil \u{202e}\u{9b}2J{}",
        std::process::id()
    );
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&forged).unwrap()).unwrap();
    let (say, go) = channel::<()>();
    let (tell, named) = channel::<()>();
    let reader = std::thread::spawn(move || {
        // SAFETY: the name ends with a zero, and this thread alone gets it.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, COMM.as_ptr()) }, 0);
        tell.send(()).unwrap();
        go.recv().unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        for _ in 0..READS {
            accepted.read_exact(&mut [0]).unwrap();
        }
    });
    named.recv().unwrap();
    let tape = std::env::temp_dir().join(format!("iotrace-names-{}.tape", std::process::id()));
    let mut iotrace = command();
    iotrace.args(["trace", "--format", "json", "-v", "--tier", "tracepoint", "--per", "fd", "--comm"]);
    iotrace.arg(OsStr::from_bytes(&COMM[..15])).env("IOTRACE_TAPE", &tape);
    let trace = Trace::spawn_as(iotrace);
    trace.attached();
    say.send(()).unwrap();
    let mut writer = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&forged).unwrap()).unwrap();
    for _ in 0..READS {
        writer.write_all(b"x").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // It is named while it is there; until then the reader keeps the socket open.
    std::thread::sleep(std::time::Duration::from_millis(300));
    trace.signal(libc::SIGINT);
    let outcome = trace.end();
    reader.join().unwrap();

    assert!(is_harmless(&outcome.stdout) && is_harmless(&outcome.stderr), "{}", outcome.stdout);
    let document = outcome.document();
    let process =
        document.processes.iter().find(|process| process.pid == std::process::id()).expect("it was found");
    let row = process.calls.iter().find(|call| call.calls == READS as u64).expect("its reads");
    let fd = row.fd.as_ref().unwrap();
    assert_eq!((fd.kind.as_str(), fd.name.as_str()), ("unix", format!("@{forged}").as_str()));
    // The same as a table, of the same observation.
    let table = Command::new(binary()).arg("replay").arg(&tape).output().unwrap();
    std::fs::remove_file(&tape).unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(is_harmless(&table) && table.contains("@@dbus?0000"), "{table}");
    assert!(table.lines().all(|line| !line.starts_with("0000")), "{table}");
}

/// What is said of what was typed, and of paths, has one line and steers nothing.
#[test]
#[ignore = "needs root"]
fn messages_about_names_are_harmless() {
    let evil = OsStr::from_bytes(b"/nowhere/\x1b[2J\xe2\x80\xae\niotrace: all is well\xff");
    for args in [
        &[OsStr::new("replay"), evil][..],
        &[OsStr::new("trace"), OsStr::new("--cgroup"), evil],
        &[OsStr::new("trace"), OsStr::new("--"), evil],
        &[OsStr::new("trace"), OsStr::new("-o"), evil, OsStr::new("-p"), OsStr::new("1")],
    ] {
        let outcome = Command::new(binary()).args(args).output().unwrap();
        let said = String::from_utf8(outcome.stderr).expect("text");
        assert!(!outcome.status.success() && is_harmless(&said), "{said}");
        assert!(said.contains("?[2J??iotrace: all is well\\xff"), "{said}");
        assert!(said.lines().all(|line| !line.starts_with("iotrace: all is well")), "{said}");
    }
    // An argument that is not understood is repeated by the parser of arguments.
    let outcome = Command::new(binary()).args(["trace", "--unit", "\u{1b}[2J\u{202e}"]).output().unwrap();
    let said = String::from_utf8(outcome.stderr).expect("text");
    assert!(outcome.status.code() == Some(2) && is_harmless(&said), "{said}");
}
