//! Planted problems: the first line of what iotrace says of each is the right one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use iotrace_core::summary::{Code, Process};

use crate::children::{Child, Page, pipe, read, write};
use crate::programs::{busy, compute, nanosleep};
use crate::trace::{Trace, process};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What iotrace says of a program, with what it was told by.
fn said_of(body: impl FnOnce(&Page)) -> Process {
    let child = Child::fork(body);
    let trace = Trace::of(&[child.pid], &["--no-follow"]);
    child.run();
    let document = trace.stop();
    process(&document, child.pid).clone()
}

fn first(of: &Process) -> Code {
    of.diagnosis.first().unwrap_or_else(|| panic!("nothing is said of {of:?}")).code
}

/// A client that sends `requests` messages, one every `every`, whatever comes back, in a process of its own.
fn client(port: u16, requests: u32, every: Duration) -> Child {
    Child::fork(move |page| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        page.gate();
        for _ in 0..requests {
            socket.write_all(b"request").unwrap();
            std::thread::sleep(every);
        }
        let _ = socket.shutdown(std::net::Shutdown::Write);
    })
}

#[test]
#[ignore = "needs root and eBPF"]
fn a_slow_handler_in_an_event_loop_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Connected as soon as the backlog has it, before the server is there.
    let sender = client(port, 40, ms(15));
    let server = Child::fork(move |page| {
        let (mut socket, _) = listener.accept().unwrap();
        page.gate();
        let mut buffer = [0; 7];
        // SAFETY: descriptors and structures of our own.
        unsafe {
            let epoll = libc::epoll_create1(0);
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
            while libc::epoll_wait(epoll, &raw mut event, 1, 1000) == 1 {
                match socket.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => busy(ms(30)),
                }
            }
        }
    });
    let trace = Trace::of(&[server.pid], &[]);
    sender.go();
    server.run();
    let document = trace.stop();
    let said = process(&document, server.pid);
    let known = crate::children::has_tracepoint("sk_data_ready");
    if !crate::support::has("pickup", (6, 3), known) {
        return;
    }
    assert_eq!(first(said), Code::Late, "{:?}", said.diagnosis);
    assert!(said.diagnosis[0].text.contains("ran its own code"), "{}", said.diagnosis[0].text);
}

#[test]
#[ignore = "needs root and eBPF"]
fn one_byte_a_read_is_small_io() {
    let (reading, writing) = pipe();
    let said = said_of(move |page| {
        write(writing, 60_000);
        page.gate();
        for _ in 0..if crate::in_vm() { 3 } else { 20 } {
            (0..50_000).for_each(|_| assert_eq!(read(reading, 1), 1));
            write(writing, 50_000);
        }
    });
    assert!(crate::trace::calls(&said, "read") > 100_000);
    assert_eq!(first(&said), Code::SmallIo, "{:?}", said.diagnosis);
}

static LOCK: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "needs root and eBPF"]
fn a_mutex_that_another_thread_holds_is_told_with_its_holder() {
    let said = said_of(|page| {
        page.gate();
        let holder = std::thread::Builder::new().name("holder".to_owned()).spawn(|| {
            for _ in 0..100 {
                let held = LOCK.lock().unwrap();
                nanosleep(ms(4));
                drop(held);
                nanosleep(Duration::from_micros(200));
            }
        });
        for _ in 0..60 {
            drop(LOCK.lock().unwrap());
            nanosleep(Duration::from_micros(300));
        }
        holder.unwrap().join().unwrap();
    });
    assert_eq!(first(&said), Code::LockContention, "{:?}", said.diagnosis);
    assert!(said.diagnosis[0].text.contains("holder"), "{}", said.diagnosis[0].text);
}

#[test]
#[ignore = "needs root and eBPF"]
fn a_thread_that_waits_for_work_waits_for_no_lock() {
    let said = said_of(|page| {
        page.gate();
        let (send, work) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || work.iter().for_each(drop));
        for _ in 0..50 {
            send.send(()).unwrap();
            nanosleep(ms(10));
        }
        drop(send);
        worker.join().unwrap();
    });
    assert!(said.diagnosis.iter().all(|one| one.code != Code::LockContention), "{:?}", said.diagnosis);
}

#[test]
#[ignore = "needs root and eBPF"]
fn a_slow_upstream_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut buffer = [0; 7];
        while socket.read_exact(&mut buffer).is_ok() {
            std::thread::sleep(ms(20));
            socket.write_all(b"answer").unwrap();
        }
    });
    let said = said_of(move |page| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        page.gate();
        let mut buffer = [0; 6];
        for _ in 0..30 {
            socket.write_all(b"request").unwrap();
            socket.read_exact(&mut buffer).unwrap();
        }
        drop(socket);
    });
    upstream.join().unwrap();
    let known = crate::children::has_tracepoint("sk_data_ready");
    if !crate::support::has("the socket of a wake-up", (6, 3), known) {
        return;
    }
    assert_eq!(first(&said), Code::WaitingForReply, "{:?}", said.diagnosis);
    assert!(said.diagnosis[0].text.contains(&format!("127.0.0.1:{port}")), "{}", said.diagnosis[0].text);
}

#[test]
#[ignore = "needs root and eBPF"]
fn a_peer_that_reads_slowly_is_waited_for() {
    let (reading, writing) = pipe();
    let reader = std::thread::spawn(move || {
        while read(reading, 4096) == 4096 {
            std::thread::sleep(ms(2));
        }
    });
    let said = said_of(move |page| {
        page.gate();
        (0..250).for_each(|_| assert_eq!(write(writing, 4096), 4096));
        write(writing, 1);
    });
    reader.join().unwrap();
    assert_eq!(first(&said), Code::WaitingForRoom, "{:?}", said.diagnosis);
}

#[test]
#[ignore = "needs root and eBPF"]
fn who_polls_who_computes_and_who_sleeps() {
    let (reading, _writing) = pipe();
    let said = said_of(move |page| {
        // SAFETY: a descriptor of our own.
        unsafe { libc::fcntl(reading, libc::F_SETFL, libc::O_NONBLOCK) };
        page.gate();
        let began = std::time::Instant::now();
        while began.elapsed() < ms(500) {
            read(reading, 1);
        }
    });
    assert_eq!(first(&said), Code::Polling, "{:?}", said.diagnosis);

    let said = said_of(|page| {
        page.gate();
        compute(ms(500));
    });
    assert_eq!(first(&said), Code::Computing, "{:?}", said.diagnosis);

    let said = said_of(|page| {
        page.gate();
        for _ in 0..5 {
            nanosleep(ms(100));
        }
    });
    assert_eq!(first(&said), Code::Timers, "{:?}", said.diagnosis);
}

#[test]
#[ignore = "needs root and eBPF"]
fn idle_servers_are_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Child::fork(move |page| {
        page.note(0, 1);
        page.ready.store(1, std::sync::atomic::Ordering::SeqCst);
        let (mut socket, _) = listener.accept().unwrap();
        let mut byte = [0];
        while socket.read(&mut byte).is_ok_and(|read| read > 0) {}
    });
    std::thread::sleep(ms(20));
    let trace = Trace::of(&[server.pid], &[]);
    std::thread::sleep(ms(300));
    let document = trace.stop();
    let said = process(&document, server.pid);
    assert_eq!(first(said), Code::WaitingForConnections, "{said:?}");

    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"1").unwrap();
    std::thread::sleep(ms(50));
    let trace = Trace::of(&[server.pid], &[]);
    std::thread::sleep(ms(300));
    socket.write_all(b"2").unwrap();
    std::thread::sleep(ms(20));
    let document = trace.stop();
    drop(socket);
    let said = process(&document, server.pid);
    assert_eq!(first(said), Code::WaitingForRequests, "{said:?}");
}
