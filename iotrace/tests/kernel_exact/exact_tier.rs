//! `--tier`, and what a result says of it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use iotrace::bpf::btf::Btf;
use iotrace_core::domain::{CopySource, ReadySource, Role, Tier};
use iotrace_core::summary::Document;

use crate::has_hooks;
use crate::program::{Ran, iotrace};

fn run(more: &[&str]) -> Ran {
    let args = ["run", "--model", "blocking", "--messages", "20", "--format", "json"];
    iotrace(args.iter().chain(more))
}

fn result(ran: &Ran) -> Document {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
#[ignore = "needs root"]
fn the_tier_is_as_asked_for_and_said() {
    let has = has_hooks();
    let tcp = ["--transport", "tcp", "--size", "16KiB", "-v"];
    for (wish, exact) in [("auto", has), ("exact", true), ("tracepoint", false)] {
        let ran = run(&[&["--tier", wish][..], &tcp].concat());
        if exact && !has {
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
            for words in ["--tier exact", "skb_copy_datagram_iter", "lockdown: ", "--tier tracepoint"] {
                assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
            }
            continue;
        }
        let document = result(&ran);
        let (tier, source) = match exact {
            true => (Tier::Exact, CopySource::Exact),
            false => (Tier::Tracepoint, CopySource::Marked),
        };
        let run = &document.runs[0];
        let row = run.calls.iter().find(|row| row.role == Role::Data).expect("a data row");
        assert_eq!((document.host.tier, row.copy_source), (tier, source), "{document:?}");
        assert_eq!(run.operations.phase2.source, source, "{document:?}");
        assert!(row.copy_floor_ns.is_some(), "calibrated: {document:?}");
        assert!(row.copy_ns > 0 && row.copy_upper_ns.is_none(), "{document:?}");
        assert_eq!(ran.stderr.contains("not in the exact tier"), wish == "auto" && !has, "{ran:?}");
        assert_eq!(ran.stderr.contains("skb_copy_datagram_iovec"), !exact, "one of both is enough: {ran:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn half_a_pair_of_hooks_is_none() {
    if !has_hooks() {
        return;
    }
    for half in ["skb_copy_datagram_iter", "skb_copy_datagram_iter_return"] {
        let ran = run(&["--transport", "unix", "--without", half, "-v"]);
        let document = result(&ran);
        assert_eq!(document.host.tier, Tier::Tracepoint, "{document:?}");
        assert_eq!(document.runs[0].operations.phase2.source, CopySource::Marked, "{document:?}");
        assert!(ran.stderr.contains("switched off with --without"), "{ran:?}");
        let ran = run(&["--transport", "unix", "--without", half, "--tier", "exact"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}

/// Without the hooks around a small datagram its copy is estimated; those around a buffer are there still.
#[test]
#[ignore = "needs root"]
fn without_the_hooks_of_datagrams_their_copies_are_estimated() {
    if !has_hooks() {
        return;
    }
    for (probe, size, source) in [
        ("__skb_recv_udp", "1000", CopySource::Estimated),
        ("skb_consume_udp", "1000", CopySource::Estimated),
        ("skb_consume_udp", "40000", CopySource::Exact),
    ] {
        let document = result(&run(&["--transport", "udp", "--size", size, "--without", probe]));
        assert_eq!(document.host.tier, Tier::Exact, "{document:?}");
        assert_eq!(document.runs[0].operations.phase2.source, source, "{probe} {size}: {document:?}");
    }
}

/// Wherever a request is carried out, hooks see its copy; before the sender is done or after.
#[test]
#[ignore = "needs root"]
fn copies_of_requests_are_exact_too() {
    if !has_hooks() {
        return;
    }
    for (model, transport) in
        [("io-uring", "tcp"), ("io-uring", "udp"), ("linux-aio", "unix"), ("posix-aio", "udp")]
    {
        let args =
            ["run", "--model", model, "--transport", transport, "--messages", "20", "--format", "json"];
        let document = result(&iotrace(args.iter().chain(&["--interval", "3ms", "--tier", "exact"])));
        let operations = &document.runs[0].operations;
        assert_eq!(operations.count, 20, "{document:?}");
        assert_eq!(operations.phase2.source, CopySource::Exact, "{model} {transport}: {document:?}");
    }
}

/// Before 6.3 there is no tracepoint that says that data is ready; a hook says it as well.
#[test]
#[ignore = "needs root"]
fn hooks_stand_in_for_tracepoints_that_are_missing() {
    let native = Btf::of_kernel().expect("this kernel has BTF").tracepoint("sk_data_ready").is_some();
    for (tier, told) in [("auto", native || has_hooks()), ("tracepoint", native)] {
        // Nobody sleeps, so no wake-up tells.
        let args = ["run", "--model", "nonblocking", "--messages", "20", "--format", "json", "--tier", tier];
        let document = result(&iotrace(args.iter().chain(&["--interval", "3ms"])));
        let source = document.runs[0].operations.ready_source;
        assert_eq!(source == ReadySource::SkDataReady, told, "{tier}: {document:?}");
        let missing = document.warnings.iter().filter(|warning| warning.code == "probe_missing");
        assert_eq!(missing.count() == 0, told, "{tier}: {document:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_pipe_has_no_exact_copies() {
    let ran = run(&["--transport", "pipe", "--tier", "exact"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    let document = result(&run(&["--transport", "pipe", "--tier", "auto"]));
    let source = document.runs[0].operations.phase2.source;
    assert_eq!((document.host.tier, source), (Tier::Tracepoint, CopySource::Estimated), "{document:?}");
}

/// Does something over and over on a thread of its own, while `observe` runs.
fn meanwhile<T>(mut each: impl FnMut() + Send + 'static, observe: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Relaxed) {
            each();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let observed = observe();
    stop.store(true, Relaxed);
    thread.join().expect("it only reads and writes");
    observed
}

#[test]
#[ignore = "needs root"]
fn tracing_has_exact_copies_too() {
    let has = has_hooks();
    let (mut sender, mut reader) = UnixStream::pair().expect("two descriptors");
    let mut bytes = vec![0; 16 << 10];
    let read = move || {
        sender.write_all(&bytes).expect("there is room");
        reader.read_exact(&mut bytes).expect("it was sent");
    };
    let pid = std::process::id().to_string();
    let args = ["trace", "--format", "json", "-d", "1500ms", "-e", "trace=recvfrom,read", "-p", &pid];
    let sources = |tier| {
        let document = result(&iotrace(args.iter().chain(&["--tier", tier])));
        let rows = document.processes.iter().flat_map(|process| &process.calls);
        let row = rows.filter(|row| row.bytes > 0).max_by_key(|row| row.bytes).expect("it reads");
        let parts = row.wait_ns + row.disk_ns + row.lock_ns + row.runq_ns + row.copy_ns + row.work_ns;
        assert_eq!(parts, row.total_ns, "{row:?}");
        assert!(row.copy_ns > 0, "{row:?}");
        (document.host.tier, row.copy_source)
    };
    meanwhile(read, || {
        let best =
            if has { (Tier::Exact, CopySource::Exact) } else { (Tier::Tracepoint, CopySource::Marked) };
        assert_eq!(sources("auto"), best);
        assert_eq!(sources("tracepoint"), (Tier::Tracepoint, CopySource::Marked));
    });
}
