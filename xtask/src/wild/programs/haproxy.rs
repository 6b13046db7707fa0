//! haproxy in front of nginx.

use std::process::Command;

use super::{Scene, nginx};
use crate::wild::client::wrk;
use crate::wild::compare::Expect;
use crate::wild::observe::observe;
use crate::wild::stage::{User, program, tcp_port};

/// HTTP, connections kept on both sides.
pub static HTTP: Scene = Scene {
    name: "haproxy, wrk",
    packages: &[("haproxy", "haproxy"), ("nginx", "nginx"), ("wrk", "wrk")],
    // A request is picked up here, and its answer from nginx, too.
    expect: Expect { model: "epoll", requests: None },
    play: |stage| {
        let (behind, port) = (tcp_port()?, tcp_port()?);
        let _nginx = nginx::start(stage, behind)?;
        let config = format!(
            "global\n  nbthread 1\n  maxconn 256\n\
             defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\
             frontend front\n  bind 127.0.0.1:{port}\n  default_backend back\n\
             backend back\n  server nginx 127.0.0.1:{behind}\n"
        );
        let config = stage.file("haproxy.cfg", config)?;
        let mut command = Command::new(program("haproxy")?);
        let mut haproxy = stage.start(command.arg("-db").arg("-f").arg(config), &User::NOBODY)?;
        haproxy.listens(port)?;
        observe(stage, &haproxy.tree(), || wrk(stage, &format!("http://127.0.0.1:{port}/file"), &[]))
    },
};
