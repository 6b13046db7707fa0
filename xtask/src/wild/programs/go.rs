//! A server by Go's net/http.

use std::process::Command;

use super::Scene;
use super::nginx::requests;
use crate::wild::client::{run, wrk};
use crate::wild::compare::Expect;
use crate::wild::observe::observe;
use crate::wild::stage::{User, program, tcp_port};

const SOURCE: &str = include_str!("../sources/server.go");

/// wrk, connections kept.
pub static NET_HTTP: Scene = Scene {
    name: "Go net/http, wrk",
    packages: &[("go", "golang-go"), ("wrk", "wrk")],
    expect: Expect { model: "epoll", requests: Some(requests) },
    play: |stage| {
        let source = stage.file("server.go", SOURCE)?;
        let binary = stage.dir.join("server");
        let mut build = Command::new(program("go")?);
        build.args(["build", "-o"]).arg(&binary).arg(source);
        build.env("GOCACHE", stage.dir.join("cache")).env("GO111MODULE", "off").env("GOFLAGS", "");
        build.env("GOPATH", stage.dir.join("gopath"));
        run(stage, &mut build)?;
        let port = tcp_port()?;
        let mut server =
            stage.start(Command::new(&binary).arg(format!("127.0.0.1:{port}")), &User::NOBODY)?;
        server.listens(port)?;
        observe(stage, &server.tree(), || wrk(stage, &format!("http://127.0.0.1:{port}/"), &[]))
    },
};
