//! nginx with one worker, and ab and wrk.

use std::process::Command;

use anyhow::Result;

use super::Scene;
use crate::wild::client::{Client, ab, wrk};
use crate::wild::compare::{Expect, Line, counts};
use crate::wild::observe::{Seen, observe};
use crate::wild::stage::{Stage, Started, User, program, tcp_port};

const PACKAGES: &[(&str, &str)] = &[("nginx", "nginx"), ("ab", "apache2-utils"), ("wrk", "wrk")];
const EXPECT: Expect = Expect { model: "epoll", requests: Some(requests) };

/// ab, connections kept.
pub static KEEP_ALIVE: Scene = Scene {
    name: "nginx, ab -k",
    packages: PACKAGES,
    expect: EXPECT,
    play: |stage| play(stage, |url| ab(stage, url, 20_000, true)),
};

/// ab, a connection for each request.
pub static CLOSE: Scene = Scene {
    name: "nginx, ab, Connection: close",
    packages: PACKAGES,
    expect: EXPECT,
    play: |stage| play(stage, |url| ab(stage, url, 8_000, false)),
};

/// wrk, connections kept.
pub static WRK: Scene = Scene {
    name: "nginx, wrk",
    packages: PACKAGES,
    expect: EXPECT,
    play: |stage| play(stage, |url| wrk(stage, url, &[])),
};

/// wrk, a connection for each request.
pub static WRK_CLOSE: Scene = Scene {
    name: "nginx, wrk, Connection: close",
    packages: PACKAGES,
    expect: EXPECT,
    play: |stage| play(stage, |url| wrk(stage, url, &["Connection: close"])),
};

fn play(stage: &Stage, load: impl FnOnce(&str) -> Result<Client>) -> Result<Seen> {
    let port = tcp_port()?;
    let nginx = start(stage, port)?;
    observe(stage, &nginx.tree(), || load(&format!("http://127.0.0.1:{port}/file")))
}

/// Requests that the client had answered, and messages that iotrace saw picked up: of HTTP/1.1, each request of a few
/// bytes is one. wrk leaves as many unanswered as it has connections.
pub fn requests(seen: &Seen) -> Line {
    let requests = seen.client.requests;
    counts("requests", seen.traced.pickup().0, requests, seen.client.name, (requests / 100).max(16))
}

/// nginx that serves a file of 1 KiB.
///
/// # Errors
/// Where it does not start.
pub fn start(stage: &Stage, port: u16) -> Result<Started> {
    let room = stage.room("nginx", &User::NOBODY)?;
    let dir = room.display();
    stage.file("file", vec![b'x'; 1024])?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 1000000; {temporary}\
         server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
        stage.dir.display()
    );
    let config = stage.file("nginx.conf", config)?;
    let mut command = Command::new(program("nginx")?);
    command.arg("-c").arg(config).arg("-e").arg(room.join("first.log"));
    let mut nginx = stage.start(&mut command, &User::NOBODY)?;
    nginx.listens(port)?;
    Ok(nginx)
}
