//! The programs, each with its loads.

use super::compare::Expect;
use super::observe::Seen;
use super::stage::Stage;
use anyhow::Result;

mod dnsmasq;
mod fio;
mod go;
mod haproxy;
mod nginx;
mod node;
mod postgres;
mod redis;

/// A program under a load.
pub struct Scene {
    /// Program and load.
    pub name: &'static str,
    /// Programs that it takes, each with its package.
    pub packages: &'static [(&'static str, &'static str)],
    /// What is known beforehand.
    pub expect: Expect,
    /// Plays it.
    pub play: fn(&Stage) -> Result<Seen>,
}

/// All scenes.
pub static SCENES: &[&Scene] = &[
    &nginx::KEEP_ALIVE,
    &nginx::CLOSE,
    &nginx::WRK,
    &nginx::WRK_CLOSE,
    &redis::IO_THREADS,
    &postgres::SELECT,
    &postgres::DURABLE,
    &go::NET_HTTP,
    &node::FILES,
    &node::FILES_URING,
    &fio::PSYNC_COLD,
    &fio::PSYNC_HOT,
    &fio::PSYNC_DIRECT,
    &fio::LIBAIO,
    &fio::IO_URING,
    &fio::SQTHREAD,
    &dnsmasq::FORWARD,
    &haproxy::HTTP,
];
