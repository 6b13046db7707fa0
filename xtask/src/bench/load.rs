//! The loads: small programs inside xtask itself, started as a child so that tools can attach to it.
//!
//! A load says first which processes are to be traced, then one line a window: when it began and ended
//! by CLOCK_MONOTONIC, operations, and the nanoseconds they took. It runs until it is killed.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

mod calls;
mod crowd;
mod pairs;
pub mod sys;

/// Arguments of the hidden `bench-load`.
#[derive(clap::Args)]
pub struct Args {
    /// Which, see [`LOADS`], or `count`
    name: String,
    /// Length of a window: shorter than a time slice, so that some are not disturbed
    #[arg(long, default_value_t = 2)]
    window_ms: u64,
    /// `count` only: how long
    #[arg(long, default_value_t = 1)]
    seconds: u64,
}

/// Does some operations; returns how many, and the nanoseconds they took.
type Batch = Box<dyn FnMut() -> io::Result<(u64, u64)>>;

/// A load made ready: whom to trace, and what to do.
struct Ready {
    pids: Vec<u32>,
    batch: Batch,
}

impl Ready {
    /// A load of this process alone.
    fn alone(batch: Batch) -> Self {
        Self { pids: vec![std::process::id()], batch }
    }
}

/// One load, as the table names it.
pub struct Load {
    /// Its name.
    pub name: &'static str,
    /// What an operation is.
    pub unit: &'static str,
    /// What a tool that saw it must mention.
    pub mentions: &'static str,
    /// Whether foreign tools are measured on it.
    pub peers: bool,
    make: fn() -> io::Result<Ready>,
}

const fn load(
    name: &'static str,
    unit: &'static str,
    mentions: &'static str,
    peers: bool,
    make: fn() -> io::Result<Ready>,
) -> Load {
    Load { name, unit, mentions, peers, make }
}

/// Every load.
pub const LOADS: &[Load] = &[
    load("recvfrom", "call (EAGAIN)", "recvfrom", true, calls::recvfrom),
    load("read", "call (EAGAIN, pipe)", "read", false, calls::read),
    load("getppid", "call (never traced)", "getppid", true, calls::getppid),
    load("neighbour", "call of a process that is not traced", "", true, calls::neighbour),
    load("tcp-recv", "receive of 1 KiB that is there", "recvfrom", true, calls::tcp_recv),
    load("tcp-stream", "64 KiB received", "recvfrom", true, pairs::tcp_stream),
    load("unix-1cpu", "round trip, AF_UNIX, one CPU", "recvfrom", true, pairs::unix_one),
    load("unix-2cpu", "round trip, AF_UNIX, two CPUs", "recvfrom", true, pairs::unix_two),
    load("tcp-1cpu", "round trip, TCP, one CPU", "recvfrom", true, pairs::tcp_one),
    load("tcp-2cpu", "round trip, TCP, two CPUs", "recvfrom", true, pairs::tcp_two),
    load("epoll-100", "request of one of 100 connections", "epoll_wait", true, pairs::epoll),
    load("yield", "switch between two traced threads", "", false, crowd::yields),
    load("futex", "two wake-ups, two switches, four calls that are not traced", "", false, crowd::futex),
    load("threads-10", "call, 16 a turn, of 10 threads in turn", "", false, || crowd::threads(10)),
    load("threads-10000", "call, 16 a turn, of 10,000 threads in turn", "", false, || crowd::threads(10_000)),
    load("fds-10", "call on 10 sockets in turn", "", false, || crowd::descriptors(10)),
    load("fds-10000", "call on 10,000 sockets in turn", "", false, || crowd::descriptors(10_000)),
];

/// `cargo xtask bench-load`.
pub fn run(args: &Args) -> Result<()> {
    sys::die_with_parent();
    if args.name == "count" {
        println!("{}", calls::count(Duration::from_secs(args.seconds))?);
        return Ok(());
    }
    let load = LOADS.iter().find(|load| load.name == args.name).context("there is no such load")?;
    let mut ready = (load.make)().with_context(|| format!("cannot set up {}", load.name))?;
    let mut out = io::stdout().lock();
    let pids: Vec<String> = ready.pids.iter().map(u32::to_string).collect();
    writeln!(out, "pids {}", pids.join(" "))?;
    let window = Duration::from_millis(args.window_ms);
    loop {
        let (began, begin) = (Instant::now(), sys::now());
        let (mut ops, mut ns) = (0, 0);
        while began.elapsed() < window {
            let (more, took) = (ready.batch)()?;
            ops += more;
            ns += took;
        }
        writeln!(out, "window {begin} {} {ops} {ns}", sys::now())?;
        out.flush()?;
    }
}
