//! dnsmasq that forwards to another: of each query, the client and dnsmasq open a socket of their own.

use std::process::Command;

use anyhow::Result;

use super::Scene;
use crate::wild::compare::{Expect, Line, counts};
use crate::wild::dns::ask;
use crate::wild::observe::{Seen, observe};
use crate::wild::stage::{Stage, Started, User, program, udp_port};

/// Nothing is cached.
pub static FORWARD: Scene = Scene {
    name: "dnsmasq, a socket for each query",
    packages: &[("dnsmasq", "dnsmasq-base")],
    expect: Expect { model: "poll", requests: Some(requests) },
    play: |stage| {
        let (behind, port) = (udp_port()?, udp_port()?);
        let _upstream = start(stage, behind, "--address=/test/127.0.0.9")?;
        let dnsmasq = start(stage, port, &format!("--server=127.0.0.1#{behind}"))?;
        observe(stage, &dnsmasq.tree(), || ask(port, 5_000))
    },
};

/// A query comes from the client, and its answer from upstream.
fn requests(seen: &Seen) -> Line {
    let truth = 2 * seen.client.requests;
    counts("requests", seen.traced.pickup().0, truth, "client", truth / 100)
}

fn start(stage: &Stage, port: u16, answers: &str) -> Result<Started> {
    let mut command = Command::new(program("dnsmasq")?);
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--cache-size=0",
    ]);
    command.args([
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--pid-file=",
        &format!("--port={port}"),
    ]);
    let mut dnsmasq = stage.start(command.arg(answers), &User::NOBODY)?;
    dnsmasq.until("waiting for an answer", || ask(port, 1).is_ok())?;
    Ok(dnsmasq)
}
