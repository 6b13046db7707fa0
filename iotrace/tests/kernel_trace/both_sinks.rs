//! Two sinks, one truth: the sums of the kernel are, field by field, what its records of the same calls add up to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use iotrace::bpf::btf::Btf;
use iotrace::bpf::loader::Observer;
use iotrace::bpf::probes::Group;
use iotrace::bpf::settings::{Per, Settings};
use iotrace_core::domain::syscall;
use iotrace_core::records::record::Record;
use iotrace_core::rows::booked::{By, book};
use iotrace_core::rows::sums::Snapshot;
use iotrace_ebpf::abi::{FLOORS_OF, WAKE_OUTSIDE, sinks};
use iotrace_ebpf::book::Prices;

use crate::children::{Child, Page, has_tracepoint, ok, pipe, read, unix_pair, write};
use crate::support;

/// Turns of the child: each makes every kind of call.
const TURNS: usize = 60;
/// The largest message, bytes: more than one page, so that TCP copies it out of several buffers.
const LARGEST: usize = 48_000;
/// Floors under marked copies by what ends them, ns: each its own, so that a mix-up shows.
const FLOORS: [u64; FLOORS_OF] = [40, 60, 80, 100, 120];
/// Prices of copies without marks.
const PRICES: Prices = Prices { socket_per_kib: 37, file_per_kib: 53 };
/// Rows of the kernel.
const ROWS: u32 = 512;

/// Descriptors of the child.
struct Ends {
    streams: (TcpStream, TcpStream),
    datagrams: (UdpSocket, UdpSocket),
    unix: (i32, i32),
    pipe: (i32, i32),
    spliced: (i32, i32),
    file: i32,
    epoll: i32,
}

impl Ends {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let here = TcpStream::connect(address).expect("it listens");
        let (there, _) = listener.accept().expect("it has connected");
        let datagrams = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let addresses = [0, 1].map(|n: usize| datagrams[n].local_addr().expect("it is bound"));
        datagrams[0].connect(addresses[1]).expect("loopback");
        datagrams[1].connect(addresses[0]).expect("loopback");
        let [from, to] = datagrams;
        // SAFETY: plain calls that make new descriptors.
        let (file, epoll) = unsafe { (libc::memfd_create(c"both".as_ptr(), 0), libc::epoll_create1(0)) };
        let unix = unix_pair();
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: both descriptors are open, the event is valid.
        assert_eq!(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, unix.0, &raw mut event) }, 0);
        Self {
            streams: (here, there),
            datagrams: (from, to),
            unix,
            pipe: pipe(),
            spliced: pipe(),
            file,
            epoll,
        }
    }

    /// Data that is there when it is asked for.
    fn at_once(&mut self, buffer: &mut [u8], size: usize) {
        let Self { streams, datagrams, .. } = self;
        streams.1.write_all(&buffer[..size]).expect("the buffers of a connection hold it");
        streams.0.read_exact(&mut buffer[..size]).expect("it was written");
        let datagram = size.min(9000);
        datagrams.1.send(&buffer[..datagram]).expect("loopback");
        assert_eq!(datagrams.0.recv(buffer).expect("it was sent"), datagram);
        assert_eq!(write(self.unix.1, size) as usize, size);
        let mut got = 0;
        while got < size {
            got += ok(read(self.unix.0, size - got));
        }
        assert_eq!(write(self.pipe.1, size) as usize, size);
        assert_eq!(read(self.pipe.0, size) as usize, size);
        let at = buffer.as_mut_ptr();
        // SAFETY: the buffer is longer than `size`.
        unsafe {
            ok(libc::pwrite(self.file, at.cast(), size, 0));
            ok(libc::pread(self.file, at.cast(), size, 0));
        }
    }

    /// Calls that return messages, and calls that move bytes past the process.
    fn unusual(&self, buffer: &mut [u8], size: usize) {
        for _ in 0..2 {
            self.datagrams.1.send(&buffer[..size.min(500)]).expect("loopback");
        }
        let mut slices = [0, 1]
            .map(|n: usize| libc::iovec { iov_base: buffer[n * 1000..].as_mut_ptr().cast(), iov_len: 1000 });
        // SAFETY: a zeroed header names nothing; each slice lies in the buffer.
        unsafe {
            let mut many: [libc::mmsghdr; 2] = std::mem::zeroed();
            for (message, slice) in many.iter_mut().zip(&mut slices) {
                message.msg_hdr.msg_iov = slice;
                message.msg_hdr.msg_iovlen = 1;
            }
            let socket = self.datagrams.0.as_raw_fd();
            assert_eq!(libc::recvmmsg(socket, many.as_mut_ptr(), 2, 0, std::ptr::null_mut()), 2);
        }
        assert_eq!(write(self.pipe.1, size) as usize, size);
        let none = std::ptr::null_mut();
        // SAFETY: descriptors only.
        let moved = ok(unsafe { libc::splice(self.pipe.0, none, self.spliced.1, none, size, 0) });
        assert_eq!(read(self.spliced.0, moved) as usize, moved);
        if moved < size {
            assert_eq!(read(self.pipe.0, size) as usize, size - moved);
        }
    }

    /// Nothing is there, and the ways to be told so.
    fn nothing(&self, buffer: &mut [u8]) {
        let at = buffer.as_mut_ptr().cast();
        let mut poll = libc::pollfd { fd: self.unix.0, events: libc::POLLIN, revents: 0 };
        // SAFETY: the buffer has room for a byte, the structures are valid.
        unsafe {
            for _ in 0..3 {
                assert_eq!(libc::recv(self.unix.0, at, 1, libc::MSG_DONTWAIT), -1);
                assert_eq!(libc::recv(self.streams.0.as_raw_fd(), at, 1, libc::MSG_DONTWAIT), -1);
            }
            assert_eq!(libc::read(9999, at, 1), -1);
            assert_eq!(libc::read(self.pipe.1, at, 1), -1, "it is the end to write to");
            for timeout_ms in [0, 1] {
                assert_eq!(libc::poll(&raw mut poll, 1, timeout_ms), 0);
                let mut event: libc::epoll_event = std::mem::zeroed();
                assert_eq!(libc::epoll_wait(self.epoll, &raw mut event, 1, timeout_ms), 0);
            }
        }
    }

    /// Data that another thread of the process sends while the call sleeps.
    fn asleep(&mut self, buffer: &mut [u8]) {
        let Self { streams: (here, there), datagrams: (from, to), unix, pipe, epoll, .. } = self;
        thread::scope(|scope| {
            scope.spawn(|| {
                let later = |send: &mut dyn FnMut()| {
                    thread::sleep(Duration::from_millis(1));
                    send();
                };
                later(&mut || there.write_all(&[1; 100]).expect("it is connected"));
                later(&mut || assert_eq!(to.send(&[1; 100]).expect("loopback"), 100));
                later(&mut || assert_eq!(write(unix.1, 100), 100));
                later(&mut || assert_eq!(write(pipe.1, 100), 100));
            });
            here.read_exact(&mut buffer[..100]).expect("it will be written");
            assert_eq!(from.recv(buffer).expect("it will be sent"), 100);
            // SAFETY: a zeroed event is a valid one.
            let mut event: libc::epoll_event = unsafe { std::mem::zeroed() };
            // SAFETY: room for the one event asked for.
            assert_eq!(unsafe { libc::epoll_wait(*epoll, &raw mut event, 1, -1) }, 1);
            assert_eq!(read(unix.0, 100), 100);
            assert_eq!(read(pipe.0, 100), 100);
        });
    }
}

fn every_kind(page: &Page) {
    let mut ends = Ends::open();
    let mut buffer = vec![0; LARGEST.max(64 << 10)];
    page.gate();
    for turn in 0..TURNS {
        let size = 1 + turn * LARGEST / TURNS;
        ends.at_once(&mut buffer, size);
        ends.unusual(&mut buffer, size);
        ends.nothing(&mut buffer);
        ends.asleep(&mut buffer);
    }
}

/// What both sinks have of the child, from first to last: sums as the kernel has them, and sums of its records.
struct Both {
    kernel: Snapshot,
    records: Snapshot,
    /// Sums of the records as they are not: the price of a file is one ns per KiB too high.
    at_other_prices: Snapshot,
}

/// Observes a child with both sinks at once; `None` where the verifier has no room for that.
fn observed(per: Per, by: By) -> Option<Both> {
    let child = Child::fork(every_kind);
    let btf = Btf::of_kernel().expect("a kernel with BTF");
    let settings = Settings {
        sinks: sinks::RECORDS | sinks::AGGREGATES,
        per,
        traits: syscall::table(|one| !syscall::is_on_request(one)),
        per_kib: [PRICES.socket_per_kib, PRICES.file_per_kib],
        rows: ROWS,
        ..Settings::records(child.pid as u32, vec![Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix])
    };
    let attached = Observer::attach(&btf, &settings);
    if !support::has("records and sums at once", (6, 13), attached.is_ok()) {
        return None;
    }
    let mut observer = attached.ok()?;
    observer.set_floors(FLOORS);
    child.run();
    let (mut records, mut at_other_prices) = (Snapshot::default(), Snapshot::default());
    let other = Prices { file_per_kib: PRICES.file_per_kib + 1, ..PRICES };
    let mut unknown = 0;
    observer.drain(|item| match Record::parse(item) {
        Some(Record::Call(call)) => {
            book(&mut records, &call, by, PRICES);
            book(&mut at_other_prices, &call, by, other);
        }
        Some(_) => {}
        None => unknown += 1,
    });
    let kernel = observer.snapshot();
    child.leave();
    let loss = observer.loss(unknown);
    assert_eq!((loss.records, loss.map_full, loss.unmatched), (0, 0, 0), "{loss:?}");
    Some(Both { kernel, records, at_other_prices })
}

fn assert_same(per: Per, by: By) {
    let Some(Both { kernel, records, at_other_prices }) = observed(per, by) else { return };
    for (key, row) in &kernel.rows {
        let name = syscall::name(key.nr);
        assert_eq!(Some(row), records.rows.get(key), "{name}: the kernel's sums, and those of its records");
    }
    assert_eq!(kernel.rows.len(), records.rows.len(), "rows that the kernel does not have");
    assert_eq!(kernel.errors, records.errors);
    // Sleeps outside traced calls make no records.
    let mut wakes = kernel.wakes.clone();
    wakes.retain(|key, _| key.nr & WAKE_OUTSIDE == 0);
    assert_eq!(wakes, records.wakes);
    // Sums of nothing would be the same, too.
    let rows = || kernel.rows.values();
    let sum = |of: &dyn Fn(&iotrace_core::rows::sums::Row) -> u64| rows().map(of).sum::<u64>();
    let turns = TURNS as u64;
    assert!(sum(&|row| row.again) >= 6 * turns, "{kernel:?}");
    assert!(sum(&|row| row.errors) >= 2 * turns, "{kernel:?}");
    assert!(sum(&|row| row.empty) >= 2 * turns && sum(&|row| row.timeouts) >= 2 * turns, "{kernel:?}");
    assert!(sum(&|row| row.sleeps) >= 4 * turns, "{kernel:?}");
    assert!(sum(&|row| row.marked) > turns && sum(&|row| row.windows) > turns, "{kernel:?}");
    assert!(sum(&|row| row.parts.copy) > 0, "{kernel:?}");
    if support::has("pickup (sk_data_ready)", (6, 3), has_tracepoint("sk_data_ready")) {
        assert!(sum(&|row| row.pickups) > turns, "{kernel:?}");
    }
    assert_ne!(kernel.rows, at_other_prices.rows, "a price that is off is noticed");
    assert!(!kernel.errors.is_empty() && !kernel.wakes.is_empty(), "{kernel:?}");
}

#[test]
#[ignore = "needs root"]
fn sums_by_process_are_those_of_the_records() {
    assert_same(Per::Process, By::Process);
}

#[test]
#[ignore = "needs root"]
fn sums_by_thread_are_those_of_the_records() {
    assert_same(Per::Thread, By::Thread);
}
