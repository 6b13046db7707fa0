//! Known preemption: two threads compete for one CPU, one of them inside a call.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::evidence::{CLOCK_NS, Evidence};
use super::stage::{self, Stage, Stop, bracket};
use crate::workload::{now_ns, own_work};

/// Time in which both threads are busy, ns.
const WINDOW_NS: u64 = 200_000_000;
/// Bytes of the buffer.
const SIZE: usize = 1 << 20;
/// Time that a read shall take without the rival, ns: far longer than a tick of the scheduler, so that nearly all
/// preemptions happen inside calls.
const CALL_NS: u64 = 25_000_000;
/// Allowance, as a share of the time, for what the scheduler accounts differently: its clock stands still from the
/// wake-up that preempts until the switch, and interrupts count for no thread.
const ELSEWHERE: f64 = 0.05;
/// Most buffers of one read, `UIO_MAXIOV`.
const MOST: u64 = 1024;

/// Reads /dev/zero while another thread computes on the same CPU.
///
/// # Errors
/// A call of the scene failed.
pub fn play(stage: &mut Stage) -> Result<(), Stop> {
    let zeros = std::fs::File::open("/dev/zero")?;
    let mut buffer = vec![1u8; SIZE];
    // On a thread of its own, because it is pinned to a CPU.
    let acted = std::thread::spawn(move || -> std::io::Result<Stage> {
        let mut stage = Stage::default();
        let cpu = stage::pin(None)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let rival = std::thread::spawn(move || -> std::io::Result<()> {
            stage::pin(Some(cpu))?;
            while !told.load(Ordering::Relaxed) {
                own_work(100);
            }
            Ok(())
        });
        let fd = zeros.as_raw_fd();
        let slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: SIZE };
        let slices = vec![slice; MOST as usize];
        let read = |times: u64| {
            // SAFETY: as many slices as it says, each as long as the buffer; they may all be the same buffer.
            bracket(libc::SYS_readv, Some(fd), || unsafe { libc::readv(fd, slices.as_ptr(), times as i32) })
        };
        // The fastest of three reads is one that the rival did not interrupt.
        let one = (0..3).map(|_| read(1).elapsed() as u64).min().unwrap_or(1).max(1);
        let times = (CALL_NS / one).clamp(1, MOST);
        let (delay, switches) = (stage::run_delay_ns(), stage::switches());
        stage.begin();
        while now_ns() < stage.scene.from_ns + WINDOW_NS || stage.scene.calls.len() < 3 {
            stage.scene.calls.push(read(times));
        }
        stage.end();
        stage.note("preempted", stage::switches().involuntary - switches.involuntary);
        if let (Some(before), Some(after)) = (delay, stage::run_delay_ns()) {
            stage.note("run_delay", after - before);
        }
        stop.store(true, Ordering::Relaxed);
        stage::joined(rival)?;
        Ok(stage)
    });
    let name = std::mem::take(&mut stage.scene.name);
    *stage = stage::joined(acted)?;
    stage.scene.name = name;
    Ok(())
}

/// Compares what iotrace recorded of the scene with the truth.
pub fn judge(evidence: &Evidence) {
    let scene = evidence.scene;
    let seen = evidence.pairs(|_| true);
    // A preemption after the end mark of a call, on its way out, counts between the calls.
    let inside: i64 = seen.iter().map(|one| one.record.parts.total as i64).sum();
    let between = scene.to_ns.saturating_sub(scene.from_ns) as i64 - inside;
    let runq: i64 = seen.iter().map(|one| one.record.parts.runq as i64).sum();
    let beyond = |time: i64| (time as f64 * ELSEWHERE) as i64 + CLOCK_NS;
    match scene.facts.get("run_delay") {
        Some(&delay) => evidence.near(
            "run-queue",
            "/proc/TID/schedstat, less what the thread may have waited between its calls",
            "ns",
            (delay as i64, runq),
            between + beyond(delay as i64),
        ),
        None => {
            evidence.skip("run-queue", "this kernel keeps no /proc/PID/schedstat (CONFIG_SCHED_INFO)", None);
        }
    }
    evidence.ranges(
        "off-cpu",
        "the call's time less CLOCK_THREAD_CPUTIME_ID",
        seen.iter()
            .map(|one| {
                let total = one.record.parts.total as i64;
                let least = total - one.own.cpu_ns as i64 - beyond(total);
                (one.off(), (least.max(0), total))
            })
            .collect(),
    );
    let preempts: i64 = seen.iter().map(|one| i64::from(one.record.preempts)).sum();
    evidence.near(
        "preemptions",
        "getrusage: involuntary switches, of which one may come after the end of each call",
        "switches",
        (scene.fact("preempted") as i64, preempts),
        scene.calls.len() as i64,
    );
    let slept: u64 =
        seen.iter().map(|one| one.record.parts.wait + one.record.parts.disk + one.record.parts.lock).sum();
    evidence.exactly("sleep", "a read of zeros never sleeps", "ns", 0, slept);
}
