//! Level against edge: how often `epoll_wait` tells of one arrival, and whom an arrival wakes.
//!
//! The first part counts returns. Each sample sends one message of four bytes, asks again and again, and
//! reads nothing, a part or everything after each return. The second part (`sleepers.rs`) puts several
//! threads to sleep on one socket.

pub mod sleepers;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::pair::Pair;
use super::{Experiment, Lab, Outcome};
use crate::bpf::probes::Group;
use crate::session::error::Failure;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Axis, Source};

/// The study.
pub const TRIGGERS: Experiment = Experiment {
    name: "triggers",
    question: "How often does epoll tell of one arrival, and whom does it wake?",
    arms: &[],
    connections: None,
    run,
};

/// Bytes of a message, and those that a reader of a part takes.
pub(super) const MESSAGE: usize = 4;
/// How often a reader asks after one arrival.
const ASKS: usize = 6;
/// Arrivals of one sample of wake-ups.
const ARRIVALS: usize = 5;

/// How descriptors are registered.
const MODES: [(&str, u32); 3] =
    [("level", 0), ("edge", libc::EPOLLET as u32), ("oneshot", libc::EPOLLONESHOT as u32)];
/// What is read after each return: bytes a time.
const READS: [(&str, usize); 3] = [("nothing", 0), ("a part", 1), ("everything", MESSAGE)];
/// How threads sleep on one socket: name, whether each has an epoll of its own, flags.
const SLEEPERS: [(&str, bool, u32); 4] = [
    ("an epoll each", true, 0),
    ("EPOLLEXCLUSIVE", true, libc::EPOLLEXCLUSIVE as u32),
    ("one epoll, level", false, 0),
    ("one epoll, edge", false, libc::EPOLLET as u32),
];

fn run(lab: &mut Lab) -> Result<Outcome, Failure> {
    let threads: &[usize] = lab.size(&[1, 2, 4, 8, 16], &[1, 4]);
    let mut sheet = Sheet::default();
    let names: Vec<String> =
        MODES.iter().flat_map(|(mode, _)| READS.iter().map(move |(read, _)| arm(mode, read))).collect();
    let order = names.iter().map(String::as_str).chain(SLEEPERS.iter().map(|(name, ..)| *name));
    sheet.order(&order.collect::<Vec<_>>());
    sheet.measure(
        "returns",
        "returns of epoll_wait with the descriptor, for one arrival",
        "returns",
        Source::Count,
        None,
    );
    sheet.measure(
        "left",
        "bytes of 4 that such a reader has not had after it asked 6 times",
        "bytes",
        Source::Count,
        None,
    );
    sheet.measure(
        "calls",
        "epoll_wait and recv, until a reader that does what its mode demands knows that it had everything",
        "calls",
        Source::Count,
        None,
    );
    let axis = || Some(Axis { label: "threads".to_owned(), per: "thread".to_owned(), log: false });
    sheet.measure(
        "woken",
        "threads that one arrival wakes out of epoll_wait's sleep",
        "threads",
        Source::Ebpf,
        axis(),
    );
    sheet.measure("told", "returns of epoll_wait that tell of it", "returns", Source::Ebpf, axis());
    let pairs: Vec<(usize, usize)> =
        (0..MODES.len()).flat_map(|mode| (0..READS.len()).map(move |read| (mode, read))).collect();
    lab.rounds("counting returns", &mut sheet, pairs.len(), |index, sheet| {
        let (mode, read) = (MODES[pairs[index].0], READS[pairs[index].1]);
        counted(mode, read, sheet).map_err(Failure::while_doing("counting returns of epoll_wait"))
    })?;
    let arms: Vec<(usize, usize)> =
        threads.iter().flat_map(|&count| (0..SLEEPERS.len()).map(move |way| (way, count))).collect();
    let mut watching = lab.watch(&[Group::Core], false)?;
    lab.rounds("counting wake-ups", &mut sheet, arms.len(), |index, sheet| {
        let (way, count) = arms[index];
        let (name, own, flags) = SLEEPERS[way];
        let seen = sleepers::on_one_socket(own, flags, count, ARRIVALS, &mut watching)
            .map_err(Failure::while_doing("counting wake-ups of epoll_wait"))?;
        sheet.add("woken", name, Some(count as f64), seen.woken);
        sheet.add("told", name, Some(count as f64), seen.told);
        Ok(())
    })?;
    lab.unwatch(watching);
    Ok(conclude(sheet, threads.last().copied().unwrap_or(1)))
}

/// The name of a combination.
fn arm(mode: &str, read: &str) -> String {
    format!("{mode}, {read} read")
}

pub(super) fn epoll(fd: RawFd, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes a plain integer.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor, nothing else owns it.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32 | flags, u64: fd as u64 };
    // SAFETY: a valid epoll_event, and both descriptors are open.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
        0 => Ok(epoll),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Events that one `epoll_wait` brings.
pub(super) fn wait(epoll: RawFd, timeout: libc::c_int) -> io::Result<usize> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
    // SAFETY: room for four events.
    match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 4, timeout) } {
        -1 => Err(io::Error::last_os_error()),
        found => Ok(found as usize),
    }
}

/// `recv` that does not wait: bytes, or `None` for `EAGAIN`.
pub(super) fn take(pair: &Pair, most: usize) -> io::Result<Option<usize>> {
    let mut buffer = [0u8; MESSAGE];
    // SAFETY: the buffer is longer than what is asked for.
    let got = unsafe { libc::recv(pair.reader(), buffer.as_mut_ptr().cast(), most, libc::MSG_DONTWAIT) };
    match got {
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        got => Ok(Some(got as usize)),
    }
}

/// Returns of `epoll_wait` for one arrival, asked for [`ASKS`] times, and bytes that were left.
pub(super) fn returns(flags: u32, bytes: usize) -> io::Result<(u32, usize)> {
    let pair = Pair::new(Transport::Unix)?;
    let epoll = epoll(pair.reader(), flags)?;
    pair.write(&[1; MESSAGE])?;
    let (mut returns, mut left) = (0, MESSAGE);
    for _ in 0..ASKS {
        if wait(epoll.as_raw_fd(), 0)? > 0 {
            returns += 1;
            if bytes > 0 {
                left -= take(&pair, bytes)?.unwrap_or(0);
            }
        }
    }
    Ok((returns, left))
}

/// One combination of mode and reading.
fn counted((mode, flags): (&str, u32), (read, bytes): (&str, usize), sheet: &mut Sheet) -> io::Result<()> {
    let (returns, left) = returns(flags, bytes)?;
    let name = arm(mode, read);
    sheet.add("returns", &name, None, f64::from(returns));
    sheet.add("left", &name, None, left as f64);
    // After EPOLLONESHOT somebody has to arm it again: there is no such moment by itself.
    if bytes > 0 && mode != "oneshot" {
        sheet.add("calls", &name, None, f64::from(until_empty(flags, bytes)?));
    }
    Ok(())
}

/// Calls until a reader knows that it had everything, if it does as its mode demands: with level, that
/// `epoll_wait` tells nothing more; with edge, that a read says `EAGAIN`.
fn until_empty(flags: u32, bytes: usize) -> io::Result<u32> {
    let pair = Pair::new(Transport::Unix)?;
    let epoll = epoll(pair.reader(), flags)?;
    pair.write(&[1; MESSAGE])?;
    let mut calls = 0;
    loop {
        calls += 1;
        if wait(epoll.as_raw_fd(), 0)? == 0 {
            return Ok(calls);
        }
        loop {
            calls += 1;
            let got = take(&pair, bytes)?;
            match (flags, got) {
                // Level: one read a return.
                (0, _) => break,
                (_, None) => return Ok(calls),
                _ => {}
            }
        }
    }
}

fn conclude(sheet: Sheet, most: usize) -> Outcome {
    let mut findings = Vec::new();
    for (mode, _) in MODES {
        let told = |read| sheet.median("returns", &arm(mode, read), None);
        if let (Some(nothing), Some(part), Some(all)) = (told("nothing"), told("a part"), told("everything"))
        {
            findings.push(format!(
                "{mode}: one arrival is told {nothing:.0} times of {ASKS} if nothing is read, {part:.0} if a part is, \
                 {all:.0} if everything is."
            ));
        }
    }
    let bytes = |read| sheet.median("left", &arm("edge", read), None);
    if let Some(left) = bytes("a part").filter(|left| *left > 0.0) {
        findings.push(format!(
            "Edge-triggered, who reads a part of {MESSAGE} bytes waits for {left:.0} that are there."
        ));
    }
    for (name, ..) in SLEEPERS {
        let at = Some(most as f64);
        if let (Some(woken), Some(told)) = (sheet.median("woken", name, at), sheet.median("told", name, at)) {
            findings
                .push(format!("{name}, {most} threads: an arrival wakes {woken:.1} and tells {told:.1}."));
        }
    }
    Outcome { sheet, findings, ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_repeats_and_edge_tells_once() {
        assert_eq!(returns(0, 0).unwrap(), (ASKS as u32, MESSAGE));
        assert_eq!(returns(libc::EPOLLET as u32, 0).unwrap(), (1, MESSAGE));
        assert_eq!(returns(0, MESSAGE).unwrap(), (1, 0));
        assert_eq!(until_empty(0, MESSAGE).unwrap(), 3, "told, read, told nothing");
        assert_eq!(until_empty(libc::EPOLLET as u32, MESSAGE).unwrap(), 3, "told, read, EAGAIN");
    }
}
