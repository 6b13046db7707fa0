//! redis with I/O threads.

use std::process::Command;

use super::Scene;
use super::nginx::requests;
use crate::wild::client;
use crate::wild::compare::Expect;
use crate::wild::observe::observe;
use crate::wild::stage::{User, program, tcp_port};

/// Threads that read and write beside the one that waits.
pub static IO_THREADS: Scene = Scene {
    name: "redis, io-threads 2",
    packages: &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")],
    expect: Expect { model: "epoll", requests: Some(requests) },
    play: |stage| {
        let port = tcp_port()?;
        let room = stage.room("redis", &User::NOBODY)?;
        let mut command = Command::new(program("redis-server")?);
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--io-threads", "2", "--io-threads-do-reads", "yes", "--dir"]).arg(&room);
        let mut redis = stage.start(&mut command, &User::NOBODY)?;
        redis.listens(port)?;
        observe(stage, &redis.tree(), || client::redis(stage, port, 60_000))
    },
};
