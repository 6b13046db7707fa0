//! fio: reads of a file, by each of its engines.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Scene;
use crate::wild::client::Client;
use crate::wild::compare::{Expect, Line, counts};
use crate::wild::numbers::INPUT;
use crate::wild::observe::{Seen, observe};
use crate::wild::stage::{Stage, User, program};

const PACKAGES: &[(&str, &str)] = &[("fio", "fio")];

/// A scene of fio.
macro_rules! scene {
    ($(#[$doc:meta])* $id:ident, $name:literal, $model:literal, $requests:expr, $($arg:literal),+) => {
        $(#[$doc])*
        pub static $id: Scene = Scene {
            name: concat!("fio, ", $name),
            packages: PACKAGES,
            expect: Expect { model: $model, requests: Some($requests) },
            play: |stage| play(stage, &[$($arg),+]),
        };
    };
}

scene! {
    /// Pages come from the disk.
    PSYNC_COLD, "psync, cold", "file", reads, "--ioengine=psync", "--invalidate=1"
}
scene! {
    /// Pages are in memory.
    PSYNC_HOT, "psync, hot", "file", reads, "--ioengine=psync", "--invalidate=0", "--pre_read=1", "--loops=4"
}
scene! {
    /// The disk writes into the process's memory.
    PSYNC_DIRECT, "psync, direct", "file", reads, "--ioengine=psync", "--direct=1"
}
scene! {
    /// Several requests at once.
    LIBAIO, "libaio, iodepth 8", "linux-aio", handed, "--ioengine=libaio", "--direct=1", "--iodepth=8",
    "--iodepth_batch=4"
}
scene! {
    /// Several requests for each io_uring_enter.
    IO_URING, "io_uring, iodepth 8", "io-uring", handed, "--ioengine=io_uring", "--direct=1", "--iodepth=8",
    "--iodepth_batch=4"
}
scene! {
    /// Requests taken by a thread of the kernel.
    SQTHREAD, "io_uring, sqthread_poll", "io-uring-sqpoll", handed, "--ioengine=io_uring", "--direct=1",
    "--iodepth=8", "--sqthread_poll=1"
}

fn play(stage: &Stage, args: &[&str]) -> Result<Seen> {
    let room = stage.room("fio", &User::NOBODY)?;
    let data = room.join("data");
    let fio = program("fio")?;
    let common = ["--name=job", "--rw=randread", "--bs=4k", "--size=48m", "--thread", "--output-format=json"];
    let file = format!("--filename={}", data.display());
    // The file is made before: making it is no part of the scene.
    let mut make = Command::new(&fio);
    make.args(common).arg(&file).arg("--create_only=1").current_dir(&room);
    stage.start(&mut make, &User::NOBODY)?.finish()?;
    // The shell waits until it is observed, and becomes fio.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read go; exec \"$@\"", "sh"]).arg(&fio).args(common).arg(&file).args(args);
    let mut started = stage.start(command.stdin(Stdio::piped()), &User::NOBODY)?;
    observe(stage, &[started.pid()], || {
        started.stdin().context("a pipe was asked for")?.write_all(b"\n")?;
        let said = started.finish()?;
        let json = said.find('{').map_or("", |at| &said[at..]);
        let report: Value = serde_json::from_str(json).with_context(|| format!("fio said {said}"))?;
        let read = &report["jobs"][0]["read"];
        let requests = read["total_ios"].as_u64().context("fio counts no requests")?;
        Ok(Client { name: "fio", requests, p50_ns: read["clat_ns"]["percentile"]["50.000000"].as_u64() })
    })
}

/// Each request is a call; fio reads a few small files of its own, too.
fn reads(seen: &Seen) -> Line {
    let reads = seen.traced.of("calls", &INPUT[1..2]);
    counts("requests", reads, seen.client.requests, "fio, total_ios", 4)
}

/// Requests handed over, as the evidence of the model says.
fn handed(seen: &Seen) -> Line {
    let handed = seen.traced.words(" requests ");
    counts("requests", handed, seen.client.requests, "fio, total_ios", 4)
}
