//! PostgreSQL and pgbench.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::Scene;
use super::nginx::requests;
use crate::wild::client::{Client, pgbench_log};
use crate::wild::compare::Expect;
use crate::wild::observe::{Seen, observe};
use crate::wild::stage::{Stage, Started, User, tcp_port};

const PACKAGES: &[(&str, &str)] = &[("pgbench", "postgresql")];

/// Transactions of one query each.
pub static SELECT: Scene = Scene {
    name: "PostgreSQL, pgbench -S",
    packages: PACKAGES,
    expect: Expect { model: "epoll", requests: Some(requests) },
    play: |stage| play(stage, &["-S", "-t", "3000"]),
};

/// Transactions that wait for the disk.
pub static DURABLE: Scene = Scene {
    name: "PostgreSQL, pgbench",
    packages: PACKAGES,
    // A transaction is seven queries.
    expect: Expect { model: "epoll", requests: None },
    play: |stage| play(stage, &["-t", "200"]),
};

fn play(stage: &Stage, load: &[&str]) -> Result<Seen> {
    let port = tcp_port()?;
    let user = User::named("postgres")?;
    let room = stage.room("postgres", &user)?;
    let data = room.join("data");
    let mut initdb = Command::new(tool("initdb")?);
    stage.start(initdb.arg("-D").arg(&data).args(["-N", "-A", "trust"]), &user)?.finish()?;
    let mut command = Command::new(tool("postgres")?);
    command.arg("-D").arg(&data).arg("-k").arg(&room).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    let mut server = stage.start(&mut command, &user)?;
    server.listens(port)?;
    let pgbench = |args: &[&str]| -> Result<Started> {
        let mut command = Command::new(tool("pgbench")?);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"]).args(args);
        stage.start(command.arg("postgres"), &user)
    };
    // It listens before it takes queries.
    let mut ready = Ok(());
    for _ in 0..50 {
        ready = pgbench(&["-i", "-q", "-s", "1"])?.finish().map(drop);
        if ready.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    ready?;
    // The processes of its connections end after these.
    std::thread::sleep(std::time::Duration::from_millis(500));
    observe(stage, &server.tree(), || {
        let prefix = room.join("pgbench_log");
        let prefix = format!("--log-prefix={}", prefix.display());
        let args = [&["-n", "-c", "4", "-l", &prefix], load].concat();
        pgbench(&args)?.finish()?;
        let (requests, p50_ns) = pgbench_log(&room)?;
        Ok(Client { name: "pgbench", requests, p50_ns })
    })
}

/// A program of the newest PostgreSQL: Debian has them in a directory for each version.
fn tool(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL")?;
    let mut found: Vec<PathBuf> =
        versions.flatten().map(|entry| entry.path().join("bin").join(name)).collect();
    found.retain(|file| file.exists());
    found.sort();
    found.pop().with_context(|| format!("PostgreSQL without {name}"))
}
