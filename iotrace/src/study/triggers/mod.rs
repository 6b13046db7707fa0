//! Level- against edge-triggered: how often `epoll_wait` reports one arrival, and which threads an arrival wakes.
//!
//! The first part counts returns. Each sample sends one message of four bytes, calls `epoll_wait` again and again,
//! and reads nothing, a part or everything after each return. The second part (`sleepers.rs`) puts several
//! threads to sleep on one socket.

pub mod sleepers;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::pair::Pair;
use super::{Experiment, Lab, Outcome, times};
use crate::bpf::probes::Group;
use crate::session::error::Failure;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::summary::{Axis, Source};

/// The study `triggers`: level- against edge-triggered epoll.
pub const TRIGGERS: Experiment = Experiment {
    name: "triggers",
    question: "How often does epoll report one arrival, and which threads does it wake?",
    arms: &[],
    connections: None,
    run,
};

/// Bytes of a message.
pub(super) const MESSAGE: usize = 4;
/// Calls of `epoll_wait` after one arrival.
const ASKS: usize = 6;
/// Arrivals of one sample of wake-ups.
const ARRIVALS: usize = 5;

/// How descriptors are registered: the name, and the flags of `epoll_ctl`.
const MODES: [(&str, u32); 3] =
    [("level", 0), ("edge", libc::EPOLLET as u32), ("oneshot", libc::EPOLLONESHOT as u32)];
/// What is read after each return: the name, and the bytes.
const READS: [(&str, usize); 3] = [("nothing", 0), ("a part", 1), ("everything", MESSAGE)];
/// How threads sleep on one socket: the name, whether each has an epoll of its own, and the flags of `epoll_ctl`.
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
    sheet.measure("left", "bytes (of 4) still unread after 6 calls", "bytes", Source::Count, None);
    sheet.measure(
        "calls",
        "calls of epoll_wait and recv until a reader that follows the rule of its mode \
             knows that it has read everything",
        "calls",
        Source::Count,
        None,
    );
    let axis = || Some(Axis { label: "threads".to_owned(), per: "thread".to_owned(), log: false });
    sheet.measure(
        "woken",
        "threads that one arrival wakes from their sleep in epoll_wait",
        "threads",
        Source::Ebpf,
        axis(),
    );
    sheet.measure("told", "returns of epoll_wait that report it", "returns", Source::Ebpf, axis());
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

/// The name of the arm of a mode and a reader.
fn arm(mode: &str, read: &str) -> String {
    format!("{mode}, {read} read")
}

/// A new epoll descriptor with `fd` registered for reading and with `flags`.
///
/// # Errors
/// The kernel refused the descriptor or the registration.
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

/// Number of events that one `epoll_wait` returns; `timeout_ms` as in the call.
///
/// # Errors
/// The call failed; a signal that interrupted it counts (`EINTR`).
pub(super) fn wait(epoll: RawFd, timeout_ms: libc::c_int) -> io::Result<usize> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
    // SAFETY: room for four events.
    match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 4, timeout_ms) } {
        -1 => Err(io::Error::last_os_error()),
        found => Ok(found as usize),
    }
}

/// `recv` that does not wait, for at most `most` bytes: how many bytes it brought, or `None` for `EAGAIN`.
///
/// # Errors
/// The call failed with another errno.
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

/// What came of one arrival after [`ASKS`] calls of `epoll_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Returns {
    /// Calls that returned the descriptor.
    pub returns: u32,
    /// Bytes of the message that were not read.
    pub left_bytes: usize,
}

/// Sends a message and calls `epoll_wait` [`ASKS`] times; after each return it reads `bytes` bytes.
///
/// # Errors
/// A call failed.
pub(super) fn returns(flags: u32, bytes: usize) -> io::Result<Returns> {
    let pair = Pair::new(Transport::Unix)?;
    let epoll = epoll(pair.reader(), flags)?;
    pair.write(&[1; MESSAGE])?;
    let (mut returns, mut left_bytes) = (0, MESSAGE);
    for _ in 0..ASKS {
        if wait(epoll.as_raw_fd(), 0)? > 0 {
            returns += 1;
            if bytes > 0 {
                left_bytes -= take(&pair, bytes)?.unwrap_or(0);
            }
        }
    }
    Ok(Returns { returns, left_bytes })
}

/// One sample of the arm of a mode and a reader.
fn counted((mode, flags): (&str, u32), (read, bytes): (&str, usize), sheet: &mut Sheet) -> io::Result<()> {
    let seen = returns(flags, bytes)?;
    let name = arm(mode, read);
    sheet.add("returns", &name, None, f64::from(seen.returns));
    sheet.add("left", &name, None, seen.left_bytes as f64);
    // Not for EPOLLONESHOT: it is off after one return until the program arms it again, so no call says "empty".
    if bytes > 0 && mode != "oneshot" {
        sheet.add("calls", &name, None, f64::from(until_empty(flags, bytes)?));
    }
    Ok(())
}

/// Calls until a reader knows that it has read everything: with level-triggered, because `epoll_wait` reports nothing
/// more; with edge-triggered, because a read returns `EAGAIN`.
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
                // Level-triggered: one read for each return.
                (0, _) => break,
                (_, None) => return Ok(calls),
                _ => {}
            }
        }
    }
}

/// A mean of counts: `16`, `1.4`.
fn short(mean: f64) -> String {
    if mean.fract() == 0.0 { format!("{mean:.0}") } else { format!("{mean:.1}") }
}

fn conclude(sheet: Sheet, most: usize) -> Outcome {
    let mut findings = Vec::new();
    for (mode, _) in MODES {
        let told = |read| sheet.median("returns", &arm(mode, read), None);
        if let (Some(nothing), Some(part), Some(all)) = (told("nothing"), told("a part"), told("everything"))
        {
            findings.push(format!(
                "{mode}: {ASKS} calls report one arrival {} if nothing is read, {} if a part is read, {} if everything \
                 is read.",
                times(nothing),
                times(part),
                times(all)
            ));
        }
    }
    let bytes = |read| sheet.median("left", &arm("edge", read), None);
    if let Some(left) = bytes("a part").filter(|left| *left > 0.0) {
        findings.push(format!(
            "Edge-triggered: a reader that reads one byte for each report leaves {left:.0} of {MESSAGE} bytes unread: \
             epoll does not report them again."
        ));
    }
    for (name, ..) in SLEEPERS {
        let at = Some(most as f64);
        if let (Some(woken), Some(told)) = (sheet.median("woken", name, at), sheet.median("told", name, at)) {
            let woken = format!("{} {}", short(woken), if woken == 1.0 { "thread" } else { "threads" });
            let told = format!("{} {}", short(told), if told == 1.0 { "gets" } else { "get" });
            findings.push(format!(
                "{name}, {most} asleep: one arrival wakes {woken}; {told} the event (by the records of epoll_wait)."
            ));
        }
    }
    Outcome { sheet, findings, ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_repeats_and_edge_reports_once() {
        let seen = |flags, bytes| {
            let seen = returns(flags, bytes).unwrap();
            (seen.returns, seen.left_bytes)
        };
        assert_eq!(seen(0, 0), (ASKS as u32, MESSAGE));
        assert_eq!(seen(libc::EPOLLET as u32, 0), (1, MESSAGE));
        assert_eq!(seen(0, MESSAGE), (1, 0));
        assert_eq!(until_empty(0, MESSAGE).unwrap(), 3, "reported, read, not reported again");
        assert_eq!(until_empty(libc::EPOLLET as u32, MESSAGE).unwrap(), 3, "reported, read, EAGAIN");
    }
}
