use super::*;
use crate::domain::{Direction, Role, syscall};
use crate::summary::{Elsewhere, InCalls, InFlight, Reply, Taker, Time, WokenBy};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// A process of one thread that nothing is known of.
fn bare() -> Process {
    let json = r#"{"pid": 7, "comm": "it", "processes": 1, "threads": 1, "calls": [], "operations": null, "models": [],
        "wakers": [], "in_flight": []}"#;
    serde_json::from_str(json).expect("a process")
}

/// A process of one thread that was observed for a second.
fn process(time: Time, calls: Vec<Call>) -> Process {
    let mut process = bare();
    process.calls = calls;
    process.time = Some(Time { observed_ns: SECOND, ..time });
    process
}

fn codes(process: &Process) -> Vec<Code> {
    of_process(process, SECOND).into_iter().map(|one| one.code).collect()
}

fn asleep(what: &str, class: Class, held_lock: bool, ns: u64) -> Vec<Elsewhere> {
    let woken_by = vec![WokenBy { tid: 9, comm: "holder".to_owned(), wakes: 4 }];
    vec![Elsewhere { what: what.to_owned(), class, held_lock, ns, sleeps: 10, woken_by }]
}

/// A row of calls that all ended well.
fn call(name: &str, calls: u64, bytes: u64, wait_ns: u64, work_ns: u64) -> Call {
    let dist = r#"{"count":0,"sum_ns":0,"min_ns":0,"p50_ns":0,"p90_ns":0,"p99_ns":0,"max_ns":0,"error":0.0,"buckets":[]}"#;
    let json = format!(
        r#"{{"syscall":"{name}","role":"data","direction":null,"thread_role":"app","tid":null,"fd":null,"calls":{calls},
        "bytes":{bytes},"errors":{{}},"timeouts":0,"restarts":0,"slept_calls":0,"sleeps":0,"total_ns":0,"wait_ns":{wait_ns},
        "disk_ns":0,"lock_ns":0,"runq_ns":0,"copy_ns":0,"work_ns":{work_ns},"copy_source":"none","copy_upper_ns":null,
        "copy_floor_ns":null,"phase1":{dist},"phase2":null,"latency":{dist}}}"#
    );
    let mut call: Call = serde_json::from_str(&json).expect("a row");
    call.role = syscall::role_of_name(name).expect("a traced call");
    call.direction = syscall::direction_of_name(name);
    call.slept_calls = if wait_ns > 0 { calls } else { 0 };
    call
}

/// Asleep for so much of a second in calls.
fn waits(wait_ns: u64, calls: Vec<Call>) -> Process {
    process(Time { in_calls: InCalls { wait_ns, ..InCalls::default() }, ..Time::default() }, calls)
}

fn open(name: &str) -> InFlight {
    InFlight { tid: 7, syscall: name.to_owned(), at_least_ns: 2 * SECOND, since_before: true }
}

fn first(process: &Process) -> (Code, String) {
    let one = of_process(process, SECOND).remove(0);
    (one.code, one.text)
}

#[test]
fn a_lock_that_is_held_is_told_and_a_wait_for_work_is_not() {
    let of = |held| Time { elsewhere: asleep("futex", Class::Lock, held, 300 * MS), ..Time::default() };
    let found = of_process(&process(of(true), Vec::new()), SECOND);
    assert_eq!((found[0].code, found[0].share), (Code::LockContention, 0.3));
    assert!(found[0].text.contains("holder (thread 9)"), "{}", found[0].text);
    assert_eq!(codes(&process(of(false), Vec::new())), [Code::None]);
}

#[test]
fn who_has_no_cpu_hears_of_that_first() {
    let cpu_taken_by = vec![Taker { pid: 5, comm: "hog".to_owned(), ns: 400 * MS }];
    let time = Time { runq_ns: 450 * MS, own_ns: 550 * MS, cpu_taken_by, ..Time::default() };
    let mut process = process(time, Vec::new());
    assert_eq!(codes(&process), [Code::CpuStarved, Code::Computing]);
    assert!(of_process(&process, SECOND)[0].text.contains("hog (5) 89 %"));
    process.throttled_ns = Some(400 * MS);
    assert_eq!(codes(&process), [Code::Throttled, Code::Computing]);
    assert!(of_process(&process, SECOND)[0].next.contains("cpu.cfs_quota_us on cgroup v1"));
    process.throttled_ns = Some(0);
    assert_eq!(codes(&process)[0], Code::CpuStarved);
}

#[test]
fn idle_processes_are_told_what_for() {
    let timers = Time { elsewhere: asleep("nanosleep", Class::Timer, false, 900 * MS), ..Time::default() };
    assert_eq!(codes(&process(timers, Vec::new())), [Code::Timers]);
    let in_calls = InCalls { wait_ns: 980 * MS, ..InCalls::default() };
    let waits = Time { in_calls, ..Time::default() };
    assert_eq!(codes(&process(waits.clone(), Vec::new())), [Code::WaitingForRequests]);
    let mut client = process(waits, vec![call("write", 30, 240, 0, 0)]);
    client.replies = vec![Reply { endpoint: "tcp 127.0.0.1:5432".to_owned(), wait_ns: 900 * MS, waits: 30 }];
    assert_eq!(codes(&client), [Code::WaitingForReply]);
    assert!(of_process(&client, SECOND)[0].text.contains("127.0.0.1:5432"));
}

#[test]
fn without_a_time_nothing_is_said() {
    assert!(of_process(&bare(), SECOND).is_empty());
}

#[test]
fn a_writer_without_room_is_not_idle() {
    let mut in_write = waits(990 * MS, vec![call("write", 22, 1 << 20, 0, 0)]);
    in_write.in_flight = vec![open("write")];
    assert_eq!(first(&in_write).0, Code::WaitingForRoom);
    let mut poll = waits(990 * MS, vec![call("poll", 3, 0, 750 * MS, 0), call("write", 7, 40, 0, 0)]);
    assert_eq!(first(&poll).0, Code::WaitingForRequests, "small writes after some events");
    poll.calls[1].errors.insert("EAGAIN".to_owned(), 4);
    assert_eq!(first(&poll).0, Code::WaitingForRoom);
    let epoll = [call("epoll_wait", 12, 0, 900 * MS, 0), call("write", 13, 13 << 16, 0, 0)];
    assert_eq!(first(&waits(990 * MS, epoll.to_vec())).0, Code::WaitingForRoom);
    let both = [&epoll[..], &[call("read", 12, 100, 0, 0)]].concat();
    assert_eq!(first(&waits(990 * MS, both)).0, Code::WaitingForRequests);
    let mut long = waits(990 * MS, Vec::new());
    long.in_flight = vec![open("poll")];
    let (code, text) = first(&long);
    assert!(code == Code::WaitingForRequests && text.contains("room to write is not known"), "{text}");
}

#[test]
fn what_input_is_for_is_said_only_where_it_is_known() {
    let mut pair =
        waits(990 * MS, vec![call("recvfrom", 121, 7744, 980 * MS, 0), call("sendto", 122, 7808, 0, 0)]);
    let (code, text) = first(&pair);
    assert!(code == Code::WaitingForRequests && !text.contains("idle"), "{text}");
    assert!(text.contains("requests of others or for replies") && text.contains("8.2 ms a time"), "{text}");
    pair.calls.push(call("accept", 1, 0, 0, 0));
    assert!(first(&pair).1.starts_with("waiting for requests or other input"));
    pair.calls[0].waits_for = Some(crate::domain::WaitsFor::NextRequest);
    assert!(first(&pair).1.starts_with("idle, waiting for the next request"));
    // Data that comes without a request is no reply.
    let mut subscriber = waits(990 * MS, vec![call("read", 5, 320, 980 * MS, 0)]);
    subscriber.replies = vec![Reply { endpoint: "tcp 127.0.0.1:1".to_owned(), wait_ns: 980 * MS, waits: 5 }];
    let (code, text) = first(&subscriber);
    assert!(code == Code::WaitingForRequests && text.contains("no write was seen"), "{text}");
    let timer = waits(990 * MS, vec![call("read", 99, 99 * 8, 980 * MS, 0)]);
    assert!(first(&timer).1.contains("timer and event descriptors"));
}

#[test]
fn starvation_needs_takers_or_long_waits() {
    let mut time = Time { runq_ns: 445 * MS, own_ns: 100 * MS, ..Time::default() };
    time.elsewhere = asleep("futex", Class::Other, false, 400 * MS);
    time.elsewhere[0].sleeps = 44_500;
    let taker = |pid, ms| Taker { pid, comm: "some".to_owned(), ns: ms * MS };
    time.cpu_taken_by = vec![taker(5, 31), taker(6, 27)];
    assert_eq!(codes(&process(time.clone(), Vec::new())), [Code::None]);
    // Long waits, and nobody is known to have had the CPU for a notable part of them.
    time.elsewhere[0].sleeps = 100;
    time.cpu_taken_by[0].ns = MS;
    time.cpu_taken_by[1].ns = MS;
    assert!(first(&process(time.clone(), Vec::new())).1.contains("is not known"));
    time.elsewhere[0].sleeps = 44_500;
    time.cpu_taken_by[0].ns = 300 * MS;
    assert_eq!(codes(&process(time.clone(), Vec::new()))[0], Code::CpuStarved);
    // Its own threads: that comes after a lock that they wait for.
    time.cpu_taken_by[0].pid = 7;
    time.elsewhere = asleep("futex", Class::Lock, true, 400 * MS);
    let found = of_process(&process(time, Vec::new()), SECOND);
    assert_eq!((found[0].code, found[1].code), (Code::LockContention, Code::CpuStarved));
    assert!(found[1].text.starts_with("too few CPUs for its threads"), "{}", found[1].text);
}

#[test]
fn who_is_known_to_have_had_a_part_of_the_time_did_not_have_all_of_it() {
    let of = |ns| {
        let cpu_taken_by = vec![Taker { pid: 5, comm: "waker".to_owned(), ns }];
        first(&process(
            Time { runq_ns: 450 * MS, own_ns: 350 * MS, cpu_taken_by, ..Time::default() },
            Vec::new(),
        ))
    };
    let (code, text) = of(75 * MS);
    assert!(code == Code::CpuStarved && text.contains("who had most of that is not known"), "{text}");
    assert!(of(400 * MS).1.contains("which had, at least: waker (5) 89 %"));
}

#[test]
fn only_the_disk_counts_as_the_disk() {
    let mut row = call("fdatasync", 1000, 0, 0, 0);
    (row.disk_ns, row.runq_ns, row.slept_calls) = (150 * MS, 700 * MS, 1000);
    let in_calls = InCalls { disk_ns: 150 * MS, runq_ns: 700 * MS, ..InCalls::default() };
    let mut time = Time { in_calls, ..Time::default() };
    let of = |time: &Time, row: &Call| of_process(&process(time.clone(), vec![row.clone()]), SECOND);
    let found = of(&time, &row);
    let durable = found.iter().find(|one| one.code == Code::DurableWrites).expect("the disk");
    assert_eq!(durable.share, 0.15);
    assert!(
        durable.text.contains("150.0 ms") && durable.text.contains("150.0 us a time"),
        "{}",
        durable.text
    );
    // What else waits for a disk: writes to files that are open with O_SYNC, and calls that are not traced.
    let mut write = call("pwrite64", 1000, 1 << 20, 0, 0);
    write.disk_ns = 550 * MS;
    time.in_calls = InCalls { disk_ns: 550 * MS, ..InCalls::default() };
    let one = of(&time, &write).remove(0);
    assert_eq!((one.code, one.share), (Code::DurableWrites, 0.55));
    assert!(one.text.contains("pwrite64"), "{}", one.text);
    for (what, code) in
        [("getdents64", Code::DiskReads), ("rename", Code::DurableWrites), ("sync", Code::DurableWrites)]
    {
        let time = Time { elsewhere: asleep(what, Class::Disk, false, 450 * MS), ..Time::default() };
        let (found, text) = first(&process(time, Vec::new()));
        assert!(found == code && text.contains(what), "{text}");
    }
}

#[test]
fn the_largest_time_comes_first() {
    let mut row = call("fdatasync", 100, 0, 0, 0);
    row.disk_ns = 120 * MS;
    let in_calls = InCalls { disk_ns: 120 * MS, ..InCalls::default() };
    let time = Time { own_ns: 850 * MS, in_calls, ..Time::default() };
    assert_eq!(codes(&process(time, vec![row])), [Code::Computing, Code::DurableWrites]);
    let time = Time {
        own_ns: 400 * MS,
        elsewhere: asleep("nanosleep", Class::Timer, false, 400 * MS),
        ..Time::default()
    };
    assert_eq!(codes(&process(time, Vec::new())), [Code::Computing]);
    // The loop around a poll is no computing, and small reads are why data lay ready.
    let mut polls = call("recvfrom", 1_000_000, 0, 0, 400 * MS);
    polls.errors.insert("EAGAIN".to_owned(), 1_000_000);
    let in_calls = InCalls { work_ns: 400 * MS, ..InCalls::default() };
    let time = Time { own_ns: 600 * MS, in_calls, ..Time::default() };
    assert_eq!(codes(&process(time.clone(), vec![polls])), [Code::Polling]);
    let mut small = call("read", 902_953, 902_883, 0, 600 * MS);
    small.pickup = Some(crate::domain::dist::Dist { count: 100, sum_ns: SECOND, ..Default::default() });
    let in_calls = InCalls { work_ns: 600 * MS, ..InCalls::default() };
    let time = Time { own_ns: 350 * MS, in_calls, ..Time::default() };
    let found = of_process(&process(time, vec![small]), SECOND);
    assert_eq!((found[0].code, found[1].code), (Code::SmallIo, Code::Late));
    assert!(found[0].text.contains("moved 1 byte each"), "{}", found[0].text);
    assert!(found[1].text.contains("was on a CPU in its calls for 600.0 ms"), "{}", found[1].text);
}

#[test]
fn one_thing_that_takes_all_the_time_is_named() {
    let stopped = Time { stopped_ns: SECOND, ..Time::default() };
    let (code, text) = first(&process(stopped, Vec::new()));
    assert!(code == Code::None && text.starts_with("stopped"), "{text}");
    let of = |what, class| Time { elsewhere: asleep(what, class, false, 930 * MS), ..Time::default() };
    assert_eq!(first(&process(of("fcntl", Class::Lock), Vec::new())).0, Code::LockContention);
    assert!(first(&process(of("wait4", Class::Child), Vec::new())).1.starts_with("waiting for its children"));
    let (_, text) = first(&process(of("futex", Class::Lock), Vec::new()));
    assert!(text.contains("a semaphore") && text.contains("holder (thread 9)"), "{text}");
    // Four threads of a pool have nothing to do, and one waits for events.
    let in_calls = InCalls { wait_ns: 980 * MS, ..InCalls::default() };
    let elsewhere = asleep("futex", Class::Lock, false, 4 * SECOND);
    let mut server =
        process(Time { in_calls, elsewhere, ..Time::default() }, vec![call("epoll_wait", 9, 0, 980 * MS, 0)]);
    server.threads = 5;
    server.time.as_mut().unwrap().observed_ns = 5 * SECOND;
    let (code, text) = first(&server);
    assert!(code == Code::WaitingForRequests && text.contains("other threads wait in futex"), "{text}");
}

/// A row of calls that were traced with `-e`.
fn row(syscall: &str, wait_ns: u64, lock_ns: u64) -> Call {
    let mut call =
        crate::report::sample::call(syscall, Role::Other, 10, [wait_ns, lock_ns, 0, 0, 0], CopySource::None);
    call.slept_calls = 10;
    call
}

/// What is said of a process does not depend on which calls are traced.
#[test]
fn a_call_that_is_asked_for_is_no_request() {
    let of = |call: Call| {
        let in_calls = InCalls { wait_ns: call.wait_ns, lock_ns: call.lock_ns, ..InCalls::default() };
        codes(&process(Time { in_calls, ..Time::default() }, vec![call]))
    };
    for timer in ["nanosleep", "clock_nanosleep"] {
        assert_eq!(of(row(timer, 900 * MS, 0)), [Code::Timers]);
    }
    assert_eq!(of(row("wait4", 900 * MS, 0)), [Code::None], "a child is no request");
    assert_eq!(of(row("flock", 0, 900 * MS)), [Code::LockContention]);
    assert_eq!(of(row("futex", 0, 900 * MS)), [Code::None], "which locks are held is not known there");
    let waits = Call { role: Role::Readiness, ..row("epoll_wait", 900 * MS, 0) };
    assert_eq!(of(waits), [Code::WaitingForRequests]);
}

/// A row of calls that slept for a disk.
fn at_disk(syscall: &str, role: Role, direction: Direction, disk_ns: u64) -> Call {
    let call = crate::report::sample::call(syscall, role, 100, [0; 5], CopySource::None);
    Call { direction: Some(direction), bytes: 4096, disk_ns, total_ns: disk_ns, ..call }
}

fn told(process: &Process) -> Vec<(Code, String)> {
    of_process(process, SECOND).into_iter().map(|one| (one.code, one.text)).collect()
}

#[test]
fn disk_reads_are_told_by_what_reads() {
    let of = |time: Time, calls| told(&process(time, calls)).remove(0);
    let read = at_disk("read", Role::Data, Direction::In, 300 * MS);
    assert!(of(Time::default(), vec![read]).1.contains("reads that the page cache had not"));
    // It writes to a socket what it reads from a disk.
    let sent = of(Time::default(), vec![at_disk("sendfile", Role::Data, Direction::Out, 300 * MS)]);
    assert_eq!(sent.0, Code::DiskReads, "{sent:?}");
    for (what, words) in [("page fault", "page faults"), ("getdents64", "most of it in getdents64")] {
        let time = Time { elsewhere: asleep(what, Class::Disk, false, 300 * MS), ..Time::default() };
        let (code, text) = of(time, Vec::new());
        assert!(code == Code::DiskReads && text.contains(words), "{text}");
    }
    // It may have waited for writes to end, to truncate the file.
    let time = Time { elsewhere: asleep("openat", Class::Disk, false, 300 * MS), ..Time::default() };
    assert_eq!(codes(&process(time, Vec::new())), [Code::None]);
}

#[test]
fn what_waits_until_data_is_on_the_disk_is_told_by_which_call() {
    let of = |time: Time, calls| told(&process(time, calls));
    for what in ["fdatasync", "sync", "32-bit fsync"] {
        let time = Time { elsewhere: asleep(what, Class::Disk, false, 300 * MS), ..Time::default() };
        let found = of(time, Vec::new());
        assert!(
            found.len() == 1 && found[0].0 == Code::DurableWrites && found[0].1.contains(what),
            "{found:?}"
        );
    }
    let synced = vec![
        at_disk("write", Role::Data, Direction::Out, 0),
        Call { direction: None, ..at_disk("fsync", Role::Durable, Direction::Out, 300 * MS) },
    ];
    let found = of(Time::default(), synced);
    assert!(found.len() == 1 && found[0].1.contains("100 calls of fsync"), "{found:?}");
    // O_SYNC, O_DIRECT
    let found = of(Time::default(), vec![at_disk("pwrite64", Role::Data, Direction::Out, 300 * MS)]);
    assert!(found.len() == 1 && found[0].0 == Code::DurableWrites, "{found:?}");
    assert!(found[0].1.contains("inside pwrite64"), "{found:?}");
}

#[test]
fn a_quota_explains_no_more_than_it_can_and_a_hog_beside_it_is_told_too() {
    let cpu_taken_by = vec![Taker { pid: 5, comm: "hog".to_owned(), ns: 500 * MS }];
    let time = Time { runq_ns: 700 * MS, own_ns: 100 * MS, cpu_taken_by, ..Time::default() };
    let mut one = process(time, Vec::new());
    one.throttled_ns = Some(150 * MS);
    assert_eq!(codes(&one), [Code::CpuStarved, Code::Throttled]);
    // Each of its threads may have waited for as long on the same CPU.
    one.threads = 5;
    assert_eq!(codes(&one), [Code::Throttled]);
    // Throttled for others of its cgroup.
    one.throttled_ns = Some(20 * MS);
    assert_eq!(codes(&one)[0], Code::CpuStarved);
}

/// A disk wakes a thread where the kernel's own threads for the disk run, too.
#[test]
fn a_longer_sleep_for_a_disk_comes_before_a_wait_for_a_cpu() {
    let read = |ns| vec![at_disk("read", Role::Data, Direction::In, ns)];
    let time = Time { runq_ns: 220 * MS, ..Time::default() };
    assert_eq!(codes(&process(time.clone(), read(460 * MS))), [Code::DiskReads, Code::CpuStarved]);
    assert_eq!(codes(&process(time, read(150 * MS))), [Code::CpuStarved, Code::DiskReads]);
}
