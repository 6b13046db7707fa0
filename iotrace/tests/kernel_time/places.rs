//! Every place that time can go to, each with its own clock.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use iotrace_core::summary::{Class, Document, ThreadTime, Time};

use crate::attempts;
use crate::children::{Child, pipe, read, write};
use crate::programs::{compute, nanosleep, now, on_one_cpu, schedstat, steal, wait_for, wake};
use crate::trace::{Trace, process, row};

const MS: u64 = 1_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn asleep(time: &Time, what: &str) -> u64 {
    time.elsewhere.iter().filter(|one| one.what == what).map(|one| one.ns).sum()
}

fn thread(document: &Document, pid: i32, name: &str) -> ThreadTime {
    let threads = &process(document, pid).thread_times;
    threads.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}: {threads:#?}")).clone()
}

/// Within 1 %, or 2 ms where a busy machine is late: the program's clock has the way to the CPU in it.
pub fn agrees(what: &str, measured: u64, expected: u64) -> Result<(), String> {
    match measured.abs_diff(expected) <= (expected / 100).max(2 * MS) {
        true => Ok(()),
        false => Err(format!("{what}: {measured} ns measured, {expected} ns by the program's clock")),
    }
}

static WORK: AtomicU32 = AtomicU32::new(0);
static NEVER: AtomicU32 = AtomicU32::new(0);

/// One thread that never runs while it is observed, one that is born and dies, and one that does a bit of everything.
fn everything() -> Child {
    let (reading, writing) = pipe();
    Child::fork(move |page| {
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        named("never").spawn(|| wait_for(&NEVER)).unwrap();
        let helper = named("helper").spawn(move || {
            while WORK.load(std::sync::atomic::Ordering::SeqCst) != 7 {
                std::thread::sleep(ms(1));
            }
            WORK.store(0, std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(ms(250));
            wake(&WORK);
            std::thread::sleep(ms(150));
            write(writing, 1)
        });
        std::thread::sleep(ms(20));
        crate::children::name(c"doer");
        page.gate();
        page.note(0, now());
        compute(ms(300));
        page.note(1, (0..3).map(|_| nanosleep(ms(100))).sum());
        let began = now();
        let born = named("born").spawn(|| {
            compute(ms(60));
            nanosleep(ms(60))
        });
        page.note(2, born.unwrap().join().unwrap());
        page.note(7, now() - began);
        WORK.store(7, std::sync::atomic::Ordering::SeqCst);
        while WORK.load(std::sync::atomic::Ordering::SeqCst) == 7 {
            std::hint::spin_loop();
        }
        page.note(3, wait_for(&WORK));
        let began = now();
        assert_eq!(read(reading, 1), 1);
        page.note(4, now() - began);
        helper.unwrap().join().unwrap();
        // SAFETY: plain calls: a child that sleeps, and waiting for it.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                nanosleep(ms(120));
                libc::_exit(0);
            }
            let began = now();
            libc::waitpid(child, std::ptr::null_mut(), 0);
            page.note(5, now() - began);
        }
        page.note(6, now());
    })
}

/// The schedule's own account of a thread agrees with ours, beside what it leaves out.
fn as_the_scheduler(time: &Time, before: [u64; 2], after: [u64; 2], stolen: u64) -> Result<(), String> {
    let [ran, waited] = [after[0] - before[0], after[1] - before[1]];
    let off = (time.on_cpu_ns() + time.runnable_ns()).abs_diff(ran + waited);
    // Of a VM's two CPUs one stands still while the other is emulated, and at a wake-up of the one by the other the
    // scheduler's clock and ours are read on different ones.
    let emulated = if crate::in_vm() { 50_000 } else { 0 };
    let sleeps: u64 = time.elsewhere.iter().map(|one| one.sleeps).sum();
    let allowed = ((ran + waited) / 100).max(2 * MS) + stolen + sleeps * emulated;
    match off <= allowed {
        true => Ok(()),
        false => Err(format!("{off} ns off, {allowed} allowed, schedstat {ran} and {waited}: {time:?}")),
    }
}

#[test]
#[ignore = "needs root and eBPF"]
fn every_place_is_told_as_the_program_and_the_scheduler_tell_it() {
    attempts::until(3, "a busy machine delays a time stamp", |_| {
        let child = everything();
        let stolen = steal();
        let trace = Trace::of(&[child.pid], &["--per", "thread", "--no-follow"]);
        let (before, began) = (schedstat(child.pid, child.pid), now());
        child.run();
        // SAFETY: a plain call on our own child.
        unsafe { libc::kill(child.pid, libc::SIGSTOP) };
        std::thread::sleep(ms(200));
        // SAFETY: as above.
        unsafe { libc::kill(child.pid, libc::SIGCONT) };
        std::thread::sleep(ms(20));
        let (after, ended) = (schedstat(child.pid, child.pid), now());
        let document = trace.stop();
        let stolen = steal() - stolen;
        let page = child.page;

        let doer = thread(&document, child.pid, "doer").time;
        agrees("nanosleep", asleep(&doer, "nanosleep"), page.noted(1))?;
        agrees("futex", asleep(&doer, "futex"), page.noted(3) + page.noted(7))?;
        agrees("the read", row_of(&document, child.pid, "read"), page.noted(4))?;
        agrees("wait4", asleep(&doer, "wait4"), page.noted(5))?;
        if doer.own_ns < 300 * MS || doer.own_ns > 420 * MS {
            return Err(format!("own: {}", doer.own_ns));
        }
        if !(190 * MS..260 * MS).contains(&doer.stopped_ns) {
            return Err(format!("stopped: {}", doer.stopped_ns));
        }
        as_the_scheduler(&doer, before, after, stolen)?;
        if doer.observed_ns < ended - began || doer.observed_ns > ended - began + 400 * MS {
            return Err(format!("observed {} of {}", doer.observed_ns, ended - began));
        }

        let never = thread(&document, child.pid, "never").time;
        // It ran to be stopped, and to go on; else it sleeps in one thing.
        assert!(never.own_ns < MS && never.elsewhere.len() == 1, "{never:?}");
        assert_eq!((never.elsewhere[0].class, never.elsewhere[0].held_lock), (Class::Lock, false));

        let born = thread(&document, child.pid, "born").time;
        agrees("sleep of the newborn", asleep(&born, "nanosleep"), page.noted(2))?;
        if born.on_cpu_ns() < 60 * MS || born.observed_ns > 400 * MS {
            return Err(format!("born: {born:?}"));
        }
        Ok(())
    });
}

fn row_of(document: &Document, pid: i32, syscall: &str) -> u64 {
    let calls = process(document, pid).calls.iter().filter(|call| call.syscall == syscall);
    calls.map(|call| call.total_ns).max().unwrap_or(0)
}

/// With intervals, each has the time of its own stretch, and a sleep that goes on is in each of them.
#[test]
#[ignore = "needs root and eBPF"]
fn intervals_have_the_time_of_their_stretch() {
    let child = Child::fork(|page| {
        page.gate();
        nanosleep(ms(900));
        compute(ms(100));
    });
    let trace = Trace::of(&[child.pid], &["-i", "200ms", "-d", "1.3s"]);
    child.go();
    let outcome = trace.end();
    let documents: Vec<Document> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    documents.iter().for_each(crate::trace::whole_time);
    let (whole, intervals) = documents.split_last().unwrap();
    let of = |document: &Document| process(document, child.pid).time.clone().unwrap();
    let mut sleeping = 0;
    for interval in intervals {
        let time = of(interval);
        let off = time.observed_ns.abs_diff(interval.elapsed_ns);
        assert!(off <= 20 * MS, "{off}: {interval:?}");
        sleeping += u64::from(asleep(&time, "nanosleep") > interval.elapsed_ns / 2);
    }
    assert!(sleeping >= 3, "{sleeping} of {}", intervals.len());
    let sum: u64 = intervals.iter().map(|interval| of(interval).observed_ns).sum();
    assert!(sum.abs_diff(of(whole).observed_ns) <= 5 * MS, "{sum}: {whole:?}");
}

/// Threads that are born and die while others are counted: every moment of each is in one place.
#[test]
#[ignore = "needs root and eBPF"]
fn a_storm_of_births_adds_up() {
    let child = Child::fork(|page| {
        page.gate();
        let began = now();
        let rounds = if crate::in_vm() { 10 } else { 100 };
        for _ in 0..rounds {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    std::thread::spawn(|| {
                        let born = now();
                        nanosleep(ms(1));
                        compute(Duration::from_micros(100));
                        now() - born
                    })
                })
                .collect();
            page.numbers[1].fetch_add(
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>(),
                std::sync::atomic::Ordering::SeqCst,
            );
        }
        page.note(0, now() - began);
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.run();
    let document = trace.stop();
    let time = process(&document, child.pid).time.clone().unwrap();
    // The first thread, and those that were born: each a little more than it can see of itself.
    let least = child.page.noted(0) + child.page.noted(1);
    assert!(time.observed_ns >= least, "{least}: {time:?}");
    assert!(time.observed_ns <= least + least / 2 + 400 * MS, "{least}: {time:?}");
}

/// Who had the CPU meanwhile is told by name.
#[test]
#[ignore = "needs root and eBPF"]
fn who_took_the_cpu_is_told() {
    let busy = |name: &'static std::ffi::CStr| {
        Child::fork(move |page| {
            crate::children::name(name);
            on_one_cpu();
            page.gate();
            crate::programs::busy(ms(800));
        })
    };
    let (victim, hog) = (busy(c"victim"), busy(c"the-hog"));
    let trace = Trace::of(&[victim.pid], &[]);
    hog.go();
    victim.go();
    // Whoever looks meanwhile, as `run` does, wakes up between the two: on one CPU it is then what is known to have run
    // first and last in each wait.
    std::thread::sleep(ms(900));
    victim.finished();
    let document = trace.stop();
    let process = process(&document, victim.pid);
    let time = process.time.as_ref().unwrap();
    assert!(time.runq_ns > 200 * MS, "{time:?}");
    let most = &time.cpu_taken_by[0];
    assert_eq!((most.pid, most.comm.as_str()), (hog.pid as u32, "the-hog"), "{time:?}");
    // Others of a busy machine are among them, and what two of them had between them is nobody's.
    assert!(most.ns * 4 > time.runq_ns, "{time:?}");
    let taken: u64 = time.cpu_taken_by.iter().map(|one| one.ns).sum();
    assert!(taken <= time.runq_ns, "{time:?}");
    let first = &process.diagnosis[0];
    assert_eq!(first.code, iotrace_core::summary::Code::CpuStarved, "{:?}", process.diagnosis);
    assert!(first.text.contains("the-hog"), "{}", first.text);
    // The row that is not there: it made no call.
    assert!(process.calls.is_empty() || row(process, "read").calls > 0);
}
