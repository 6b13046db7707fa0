//! What iotrace itself adds, measured on this machine before or after the target is observed: floors
//! under marked copies, the price of bytes without marks, and the cost of a traced call and switch.
//!
//! iotrace observes its own thread for it, with the same probes, for a few milliseconds.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use iotrace_ebpf::abi::FLOORS_OF;

use crate::bpf::btf::Btf;
use crate::bpf::loader::Observer;
use crate::bpf::probes::Group;
use crate::bpf::settings::{Settings, Wish};
use crate::workload::{empty_call_ns, empty_calls_ns, pin};
use iotrace_core::domain::{ProbeId, Tier};
use iotrace_core::records::journal::Journal;
use iotrace_core::samples::stats;
use iotrace_core::summary::CopyFloors;

/// One-byte reads of a kind: enough for a median.
const READS: usize = 24;
/// Bytes of the larger reads that give the price of a byte.
const LARGE: usize = 32 << 10;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// Floors under marked copies: ended by TCP, by the freed buffer, by the end of the receive; by hooks on
    /// the copy of a socket buffer, on that of a small datagram.
    pub floors: [u64; FLOORS_OF],
    /// Added to a traced call that returns at once.
    pub per_call_ns: Option<u64>,
    /// The least that such a call takes without any probe.
    pub untraced_call_ns: Option<u64>,
    /// Added to such a call of a thread that is not observed; measured with the target's own probes.
    pub per_other_call_ns: Option<u64>,
    /// Added to a context switch of a traced thread, with the wake-up that led to it.
    pub per_switch_ns: Option<u64>,
}

/// Samples of a duration that are taken at a time.
const SAMPLES: usize = 6;
/// Where the first samples take longer than this, the machine is emulated or has no time: there are fewer of them then.
const QUICK: Duration = Duration::from_millis(40);

/// Probes that tell nothing of these calls, which begin and end as they should; the verifier is long at them.
const UNNEEDED: [ProbeId; 4] = [
    ProbeId::SchedProcessExit,
    ProbeId::SchedProcessExitAgain,
    ProbeId::SignalDeliver,
    ProbeId::PageFaultKernel,
];

/// Measures with tracepoints of its own attached, and detaches them.
pub fn measure(btf: &Btf) -> Calibration {
    measure_by(btf, &[], Wish::Tracepoint)
}

/// The same, with function hooks as they will be used.
///
/// Calls are recorded one by one, for `trace` too: a second program that sums would take the verifier another 70 ms.
pub fn measure_by(btf: &Btf, hooks: &[Group], tier: Wish) -> Calibration {
    let began = Instant::now();
    let mut bare = vec![Samples::take()];
    let quick = began.elapsed() < QUICK;
    let groups = [&[Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix], hooks].concat();
    let settings = Settings {
        ring_bytes: 1 << 20,
        tier,
        unneeded: &UNNEEDED,
        ..Settings::records(std::process::id(), groups)
    };
    let Ok(mut observer) = Observer::attach(btf, &settings) else { return Calibration::default() };
    let exact = observer.tier() == Tier::Exact;
    let mut floor = |reads: fn() -> io::Result<()>| floor(&mut observer, reads);
    let floors = match exact {
        true => [0, 0, 0, floor(read_tcp), floor(read_udp)],
        false => [floor(read_tcp), floor(read_unix), floor(read_unix_in_part), 0, 0],
    };
    // In turn: what slows down the machine for a while slows down neighbours alike.
    let mut probed = vec![Samples::take()];
    if quick {
        bare.extend(observer.without_probes(Samples::take).or_else(|| bare.first().cloned()));
        probed.push(Samples::take());
    }
    drop(observer);
    bare.push(Samples::take());
    let (call, round) = (|one: &Samples| one.calls.clone(), |one: &Samples| one.rounds.clone());
    let per_call_ns = added_between(&bare, &probed, call);
    let per_round_ns = added_between(&bare, &probed, round).zip(per_call_ns);
    Calibration {
        floors,
        per_call_ns,
        untraced_call_ns: bare.iter().flat_map(call).min(),
        per_other_call_ns: None,
        // A round has two switches and two traced calls.
        per_switch_ns: per_round_ns.and_then(|(round, call)| (round / 2).checked_sub(call)),
    }
}

/// Durations that were measured one after the other, ns.
#[derive(Clone)]
struct Samples {
    calls: Vec<u64>,
    rounds: Vec<u64>,
}

impl Samples {
    fn take() -> Self {
        let several =
            |measured: fn() -> io::Result<u64>| (0..SAMPLES).filter_map(|_| measured().ok()).collect();
        Self { calls: several(call_ns), rounds: several(pingpong_ns) }
    }
}

/// What probes added: the median of what each sample with probes took longer than the samples without, before and
/// after it. `None` where the samples do not agree that something was added.
fn added_between(bare: &[Samples], probed: &[Samples], of: impl Fn(&Samples) -> Vec<u64>) -> Option<u64> {
    let mut differences = Vec::new();
    for (beside, probed) in bare.windows(2).zip(probed) {
        for ((before, after), probed) in of(&beside[0]).into_iter().zip(of(&beside[1])).zip(of(probed)) {
            differences.push(probed as f64 - u64::midpoint(before, after) as f64);
        }
    }
    let sure = stats::median_ci95(&differences).is_some_and(|interval| interval[0] > 0.0);
    if sure { stats::median(&differences).map(|added| added as u64) } else { None }
}

/// The median copy of one byte.
fn floor(observer: &mut Observer, reads: fn() -> io::Result<()>) -> u64 {
    observer.drain(|_| {});
    let mut journal = Journal::default();
    if reads().is_err() {
        return 0;
    }
    observer.drain(|item| journal.take(item));
    let calls = journal.calls.iter().filter(|entry| entry.call.copies == 1);
    let mut raw: Vec<u64> = calls.map(|entry| entry.call.parts.copy).collect();
    raw.sort_unstable();
    raw.get(raw.len() / 2).copied().unwrap_or(0)
}

impl Calibration {
    /// The target's probes are attached: what they add to calls of this process, which is not the target.
    pub fn of_others(&mut self) {
        self.per_other_call_ns = others(self.untraced_call_ns);
    }

    /// What is subtracted from marked copies.
    pub fn copy_floors(&self) -> CopyFloors {
        // A floor that could not be measured is set to 0: nothing is subtracted then.
        let [tcp, buffer, receive, hooked_buffer, hooked_datagram] =
            self.floors.map(|floor| (floor > 0).then_some(floor));
        CopyFloors { tcp, buffer, receive, hooked_buffer, hooked_datagram }
    }
}

/// What attached probes add to a call of this process, given the least that it took without them.
pub fn others(untraced: Option<u64>) -> Option<u64> {
    added(Some(untraced?), empty_call_ns().ok())
}

/// What came on top. Less than before is another load on the machine, and no measurement.
pub fn added(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after?.checked_sub(before?)
}

fn read_tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    sender.set_nodelay(true)?;
    let (mut reader, _) = listener.accept()?;
    one_byte_reads(&mut sender, &mut reader, 1)
}

fn read_unix() -> io::Result<()> {
    let (mut sender, mut reader) = UnixStream::pair()?;
    one_byte_reads(&mut sender, &mut reader, 1)
}

/// The buffer is not used up: no `consume_skb` ends the copy.
fn read_unix_in_part() -> io::Result<()> {
    let (mut sender, mut reader) = UnixStream::pair()?;
    one_byte_reads(&mut sender, &mut reader, 2)
}

fn read_udp() -> io::Result<()> {
    let (sender, reader) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    sender.connect(reader.local_addr()?)?;
    for _ in 0..READS {
        sender.send(&[0])?;
        reader.recv(&mut [0])?;
    }
    Ok(())
}

fn one_byte_reads(sender: &mut impl Write, reader: &mut impl Read, sent: usize) -> io::Result<()> {
    for _ in 0..READS {
        sender.write_all(&[0; 2][..sent])?;
        for _ in 0..sent {
            reader.read_exact(&mut [0])?;
        }
    }
    Ok(())
}

/// ns per KiB of a copy out of a socket, and out of a pipe: what a large read takes longer than a
/// small one. No probes are needed, so none are in the way.
pub fn per_kib() -> [u64; 2] {
    // A price that cannot be found leaves such copies at 0, below their bound.
    [socket_price().unwrap_or(0), pipe_price().unwrap_or(0)]
}

fn socket_price() -> io::Result<u64> {
    let (mut sender, mut reader) = UnixStream::pair()?;
    price(&mut sender, &mut reader)
}

fn pipe_price() -> io::Result<u64> {
    let (mut reader, mut sender) = io::pipe()?;
    price(&mut sender, &mut reader)
}

fn price(sender: &mut impl Write, reader: &mut impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; LARGE];
    let mut fastest = |size: usize| -> io::Result<u64> {
        let mut best = u64::MAX;
        for _ in 0..READS {
            sender.write_all(&buffer[..size])?;
            let start = Instant::now();
            reader.read_exact(&mut buffer[..size])?;
            best = best.min(start.elapsed().as_nanos() as u64);
        }
        Ok(best)
    };
    let (small, large) = (fastest(1)?, fastest(LARGE)?);
    Ok(large.saturating_sub(small) * 1024 / LARGE as u64)
}

/// A call that returns at once: the smallest mean of a few windows.
fn call_ns() -> io::Result<u64> {
    empty_calls_ns(4, 64)
}

/// A round trip between two threads of this process on one CPU: two switches. The smallest mean of a
/// few windows.
fn pingpong_ns() -> io::Result<u64> {
    const ROUNDS: u32 = 16;
    const WINDOWS: u32 = 2;
    let (mut here, mut there) = UnixStream::pair()?;
    let cpu = current_cpu();
    let echo = std::thread::spawn(move || -> io::Result<()> {
        pin(cpu).map_err(io::Error::from_raw_os_error)?;
        let mut byte = [0];
        while there.read(&mut byte)? == 1 {
            there.write_all(&byte)?;
        }
        Ok(())
    });
    let main = std::thread::spawn(move || -> io::Result<u64> {
        pin(cpu).map_err(io::Error::from_raw_os_error)?;
        let mut best = u64::MAX;
        for _ in 0..WINDOWS {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                here.write_all(&[0])?;
                here.read_exact(&mut [0])?;
            }
            best = best.min(start.elapsed().as_nanos() as u64 / u64::from(ROUNDS));
        }
        Ok(best)
    });
    let failed = |_| io::Error::other("a calibrating thread panicked");
    let best = main.join().map_err(failed)?;
    echo.join().map_err(failed)??;
    best
}

fn current_cpu() -> usize {
    // SAFETY: no arguments.
    unsafe { libc::sched_getcpu() }.max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_price() {
        let prices = per_kib();
        // A copy of 1 KiB takes from 10 ns (100 GB/s) to 100 us (10 MB/s, an emulated machine).
        assert!(prices.iter().all(|price| (10..100_000).contains(price)), "{prices:?}");
    }

    #[test]
    fn a_round_trip_takes_its_time() {
        assert!(pingpong_ns().unwrap() > 100);
    }

    #[test]
    fn samples_must_agree_that_something_was_added() {
        let taken = |calls: [u64; SAMPLES]| Samples { calls: calls.into(), rounds: Vec::new() };
        let added = |before: u64, probed: [u64; SAMPLES], after: u64| {
            let bare = [[before; SAMPLES], [100; SAMPLES], [after; SAMPLES]].map(taken);
            added_between(&bare, &[taken(probed), taken([150; SAMPLES])], |one| one.calls.clone())
        };
        assert_eq!(added(100, [150; SAMPLES], 100), Some(50));
        // One disturbed sample changes nothing, three do; nor does a machine that gets slower meanwhile.
        assert_eq!(added(100, [20, 150, 150, 149, 151, 900], 100), Some(50));
        assert_eq!(added(100, [20, 20, 20, 150, 150, 150], 100), None);
        assert_eq!(added(80, [130, 140, 140, 140, 140, 140], 120), Some(40));
    }

    #[test]
    fn what_is_not_more_is_not_measured() {
        assert_eq!(added(Some(100), Some(350)), Some(250));
        assert_eq!(added(Some(100), Some(100)), Some(0));
        assert_eq!(added(Some(100), Some(99)), None);
        assert_eq!(added(None, Some(99)), None);
        assert_eq!(added(Some(100), None), None);
    }
}
