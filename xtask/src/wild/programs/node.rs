//! A file server by node, with libuv's threads and with io_uring.

use std::process::Command;

use anyhow::Result;

use super::Scene;
use super::nginx::requests;
use crate::wild::client::wrk;
use crate::wild::compare::{Expect, Line, counts};
use crate::wild::observe::{Seen, observe};
use crate::wild::stage::{Stage, User, program, tcp_port};

const SOURCE: &str = include_str!("../sources/server.js");
const PACKAGES: &[(&str, &str)] = &[("node", "nodejs"), ("wrk", "wrk")];

/// Files read by threads of libuv.
pub static FILES: Scene = Scene {
    name: "node, file server, wrk",
    packages: PACKAGES,
    expect: Expect { model: "epoll", requests: Some(requests) },
    play: |stage| play(stage, "0"),
};

/// Files read by io_uring.
pub static FILES_URING: Scene = Scene {
    name: "node, file server, UV_USE_IO_URING=1, wrk",
    packages: PACKAGES,
    // libuv registers its sockets with epoll by requests, too, and opens, reads and closes the file by four.
    expect: Expect { model: "io-uring-sqpoll", requests: Some(handed_over) },
    play: |stage| play(stage, "1"),
};

/// Requests to io_uring, as the evidence of the models says.
fn handed_over(seen: &Seen) -> Line {
    let truth = seen.truth.total("requests");
    counts(
        "requests",
        seen.traced.words(" requests "),
        truth,
        "bpftrace, io_uring_submit_req",
        (truth / 500).max(16),
    )
}

fn play(stage: &Stage, io_uring: &str) -> Result<Seen> {
    let port = tcp_port()?;
    let source = stage.file("server.js", SOURCE)?;
    let file = stage.file("served", vec![b'x'; 4096])?;
    let mut command = Command::new(program("node")?);
    command.arg(source).arg(port.to_string()).arg(file).env("UV_USE_IO_URING", io_uring);
    let mut server = stage.start(&mut command, &User::NOBODY)?;
    server.listens(port)?;
    observe(stage, &server.tree(), || wrk(stage, &format!("http://127.0.0.1:{port}/"), &[]))
}
