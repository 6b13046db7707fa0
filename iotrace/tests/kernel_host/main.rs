//! `iotrace trace` on programs of others: servers and tools from Debian, one at least for each family of
//! models. On this machine only: a VM has none of them. `cargo xtask test` installs them; one that is
//! missing is a failure.

mod programs;
#[path = "../support/trace.rs"]
#[expect(dead_code, reason = "what starts a trace and checks its result is for all suites")]
mod trace;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use iotrace_core::summary::{Call, Document};
use programs::{Perf, Program, free_port, require, scratch};
use trace::{Trace, calls, process, row};

/// The model that brought the most data, and its share.
fn first_model(document: &Document, pid: i32) -> (String, f64, String) {
    let models = &process(document, pid).models;
    let first = models.first().unwrap_or_else(|| panic!("no model: {document:?}"));
    (first.model.clone(), first.share, first.evidence.clone())
}

/// Sends lines to an echo server and gets them back.
fn converse(port: u16, rounds: usize) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_nodelay(true).expect("TCP");
    for _ in 0..rounds {
        stream.write_all(b"hello, server").expect("it reads");
        stream.read_exact(&mut [0; 13]).expect("it answers");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Two counters of one tracepoint may differ at the edges, where one was there and the other was not.
fn same_but_for_the_edges(what: &str, ours: u64, perfs: u64) {
    assert!(ours.abs_diff(perfs) <= 3 + perfs / 200, "{what}: {ours} here, {perfs} by perf");
}

#[test]
#[ignore = "needs root"]
fn nginx_under_wrk_is_epoll_edge_triggered_and_counted_like_perf() {
    let (nginx, wrk) = (require("nginx"), require("wrk"));
    let folder = scratch("nginx");
    let port = free_port();
    let config = folder.join("nginx.conf");
    let at = folder.display();
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\nhttp {{ access_log off; client_body_temp_path {at}; proxy_temp_path {at}; \
             fastcgi_temp_path {at}; uwsgi_temp_path {at}; scgi_temp_path {at};\n\
             server {{ listen 127.0.0.1:{port}; return 200 'hello'; }} }}\n"
        ),
    )
    .expect("a temporary file");
    let server = Program::start(Command::new(nginx).arg("-p").arg(&folder).arg("-c").arg(&config));
    server.listens(port);
    let tracer = Trace::of(&[server.pid()], &[]);
    let perf = Perf::count(server.pid(), &["epoll_wait", "recvfrom", "writev"]);
    let load = Command::new(wrk)
        .args(["-t1", "-c8", "-d2s", &format!("http://127.0.0.1:{port}/")])
        .output()
        .expect("wrk runs");
    assert!(load.status.success(), "{load:?}");
    let counted = perf.stop();
    let document = tracer.stop();
    assert!(document.complete, "{:?}", document.loss);
    let server_rows = process(&document, server.pid());
    for (syscall, perfs) in counted {
        assert!(perfs > 100, "{syscall}: {perfs}");
        same_but_for_the_edges(&syscall, row(server_rows, &syscall).calls, perfs);
    }
    let (model, share, evidence) = first_model(&document, server.pid());
    assert!(model == "epoll-et" && share > 0.5, "{model} {share} {evidence}");
    assert!(evidence.contains("events from") && evidence.contains("EAGAIN"), "{evidence}");
    drop(server);
    fs::remove_dir_all(folder).expect("it is still there");
}

/// An echo server in Python around one of its selectors, or asyncio.
fn python(program: &str) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new(require("python3"));
    // Unbuffered, without the user's site: whatever lies there may do I/O of its own.
    command.args(["-I", "-S", "-u", "-c", program, &port.to_string()]);
    let server = Program::start(&mut command);
    server.listens(port);
    (server, port)
}

const ASYNCIO: &str = "
import asyncio, sys
async def serve(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
";

fn selector(kind: &str) -> String {
    format!(
        "
import selectors, socket, sys
selector = selectors.{kind}()
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            selector.register(listener.accept()[0], selectors.EVENT_READ)
        elif data := key.fileobj.recv(4096):
            key.fileobj.send(data)
        else:
            selector.unregister(key.fileobj)
            key.fileobj.close()
"
    )
}

fn served_by(program: &str, model: &str) {
    const ROUNDS: usize = 100;
    let (server, port) = python(program);
    let tracer = Trace::of(&[server.pid()], &[]);
    converse(port, ROUNDS);
    let document = tracer.stop();
    assert!(document.complete, "{:?}", document.loss);
    let (found, share, evidence) = first_model(&document, server.pid());
    assert!(found == model && share > 0.9, "{found} {share}: {evidence}");
    let rows = process(&document, server.pid());
    let received = row(rows, "recvfrom");
    // The end of the connection is a receive of nothing.
    assert!(received.calls.abs_diff(ROUNDS as u64 + 1) <= 1, "{received:?}");
    assert_eq!(received.bytes, 13 * ROUNDS as u64);
    assert_eq!(row(rows, "sendto").bytes, received.bytes);
    let waits = |call: &&Call| call.role == iotrace_core::domain::Role::Readiness;
    let waited: u64 = rows.calls.iter().filter(waits).map(|call| call.sleeps).sum();
    assert!(waited as usize >= ROUNDS / 2, "it sleeps for its readers: {rows:?}");
}

#[test]
#[ignore = "needs root"]
fn asyncio_is_epoll() {
    served_by(ASYNCIO, "epoll");
}

#[test]
#[ignore = "needs root"]
fn a_select_server_is_select_and_a_poll_server_poll() {
    served_by(&selector("SelectSelector"), "select");
    served_by(&selector("PollSelector"), "poll");
}

/// netcat polls its socket and its input.
#[test]
#[ignore = "needs root"]
fn netcat_is_poll() {
    let port = free_port();
    let mut command = Command::new(require("nc"));
    command.args(["-l", "127.0.0.1", &port.to_string()]).stdin(Stdio::piped());
    let server = Program::start(&mut command);
    server.listens_without_connecting(port);
    let tracer = Trace::of(&[server.pid()], &["--per", "fd"]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    for _ in 0..50 {
        stream.write_all(&[b'x'; 100]).expect("it reads");
        std::thread::sleep(Duration::from_millis(2));
    }
    let document = tracer.stop();
    let (model, share, evidence) = first_model(&document, server.pid());
    assert!(model == "poll" && share > 0.9, "{model} {share} {evidence}");
    let rows = process(&document, server.pid());
    let tcp = |call: &&Call| call.fd.as_ref().is_some_and(|fd| fd.kind == "tcp");
    let received: u64 = rows.calls.iter().filter(tcp).map(|call| call.bytes).sum();
    assert_eq!(received, 5000, "{rows:?}");
    let named = rows.calls.iter().filter(tcp).all(|call| {
        call.fd.as_ref().is_some_and(|fd| fd.name.starts_with(&format!("127.0.0.1:{port} <-> 127.0.0.1:")))
    });
    assert!(named, "{rows:?}");
}

/// The simplest of all: `dd` out of a pipe, whose writer is slow.
#[test]
#[ignore = "needs root"]
fn dd_out_of_a_slow_pipe_is_blocking() {
    let script = "while sleep 0.01; do echo; done | exec dd of=/dev/null bs=1 count=60 2>/dev/null";
    let tracer = Trace::spawn(&["--no-follow", "--comm", "dd", "--", "sh", "-c", script]);
    let outcome = tracer.end();
    let document = outcome.document();
    let dd = document.processes.iter().find(|process| process.comm == "dd").expect("dd was seen");
    let (model, share, _) = first_model(&document, dd.pid as i32);
    assert!(model == "blocking" && share > 0.7, "{model} {share} {:?}", dd.models);
    assert!((60..70).contains(&calls(dd, "read")), "{dd:?}");
    let read = row(dd, "read");
    assert!(read.wait_ns > 10 * read.work_ns, "60 times some 10 ms: {read:?}");
}

/// fio's engines are the textbook uses of io_uring and of Linux's own aio.
#[test]
#[ignore = "needs root"]
fn fio_shows_io_uring_and_linux_aio() {
    let fio = require("fio");
    let folder = scratch("fio");
    for (engine, model, syscall) in
        [("io_uring", "io-uring", "io_uring_enter"), ("libaio", "linux-aio", "io_submit")]
    {
        let file = folder.join(engine);
        let words = [
            fio.clone(),
            "--name=one".into(),
            format!("--filename={}", file.display()),
            format!("--ioengine={engine}"),
            "--rw=randread".into(),
            "--size=1M".into(),
            "--bs=4k".into(),
            "--iodepth=4".into(),
            "--thread".into(),
            "--output=/dev/null".into(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = Trace::spawn(&[&["--"], &words[..]].concat()).end();
        assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
        let document = outcome.document();
        assert!(document.complete, "{:?}", document.loss);
        let user = document.processes.iter().find(|process| calls(process, syscall) > 0);
        let user = user.unwrap_or_else(|| panic!("nobody calls {syscall}: {document:?}"));
        let found = user.models.iter().find(|used| used.model == model);
        let found = found.unwrap_or_else(|| panic!("{model} in {:?}", user.models));
        assert!(found.evidence.contains(syscall), "{found:?}");
        assert!(found.share > 0.0, "{found:?}");
    }
    fs::remove_dir_all(folder).expect("it is still there");
}
