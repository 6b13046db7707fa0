//! Calls that move pages between two files wait for the end that they sleep on.

use std::time::Duration;

use iotrace_core::domain::Direction;

use crate::children::{Child, ok, pipe, read, unix_pair, write};
use crate::trace::{Trace, process};

const TIMES: u64 = 15;
const PIECE: usize = 4096;
const GAP: Duration = Duration::from_millis(10);

fn splice(from: i32, to: i32) -> usize {
    let none = std::ptr::null_mut();
    // SAFETY: descriptors of our own, no offsets.
    ok(unsafe { libc::splice(from, none, to, none, PIECE, 0) })
}

#[test]
#[ignore = "needs root"]
fn a_proxy_that_splices_waits_for_input_and_not_for_room() {
    let (inbound, client) = unix_pair();
    let (outbound, server) = unix_pair();
    let child = Child::fork(|page| {
        let (from, to) = pipe();
        page.gate();
        for _ in 0..TIMES {
            assert_eq!(splice(inbound, to), PIECE);
            assert_eq!(splice(from, outbound), PIECE);
        }
    });
    let trace = Trace::of(&[child.pid], &[]);
    child.go();
    for _ in 0..TIMES {
        std::thread::sleep(GAP);
        assert_eq!(write(client, PIECE), PIECE as isize);
        assert_eq!(read(server, PIECE), PIECE as isize);
    }
    child.finished();
    let document = trace.stop();
    let rows = &process(&document, child.pid).calls;
    let of = |direction| {
        let found = rows.iter().find(|row| row.syscall == "splice" && row.direction == Some(direction));
        found.unwrap_or_else(|| panic!("no splice {direction:?}: {rows:?}"))
    };
    let (input, output) = (of(Direction::In), of(Direction::Out));
    assert_eq!((input.calls, input.bytes), (TIMES, TIMES * PIECE as u64));
    assert_eq!((output.calls, output.bytes), (TIMES, TIMES * PIECE as u64));
    assert!(input.wait_ns > TIMES * GAP.as_nanos() as u64 * 8 / 10, "{input:?}");
    assert_eq!(output.slept_calls, 0, "there was room: {output:?}");
}

#[test]
#[ignore = "needs root"]
fn a_splice_into_a_full_pipe_waits_for_room_and_out_of_an_empty_one_for_input() {
    let (from, to) = pipe();
    let (inbound, client) = unix_pair();
    let (outbound, _server) = unix_pair();
    let full = Child::fork(|page| {
        // SAFETY: a plain call; one page of buffers.
        ok(unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, PIECE) } as isize);
        assert_eq!(write(to, PIECE), PIECE as isize);
        assert_eq!(write(client, PIECE), PIECE as isize);
        page.gate();
        assert_eq!(splice(inbound, to), PIECE);
    });
    let empty = Child::fork(|page| {
        page.gate();
        assert_eq!(splice(from, outbound), PIECE);
        assert_eq!(splice(from, outbound), PIECE);
        assert_eq!(splice(from, outbound), 1);
    });
    let trace = Trace::of(&[full.pid, empty.pid], &[]);
    full.go();
    std::thread::sleep(GAP * 3);
    empty.go();
    std::thread::sleep(GAP * 3);
    assert_eq!(write(to, 1), 1);
    full.finished();
    empty.finished();
    let document = trace.stop();
    let slept = |child: &Child| {
        let rows = process(&document, child.pid).calls.iter();
        let mut slept = rows.filter(|row| row.syscall == "splice" && row.slept_calls > 0);
        let row = slept.next().expect("it slept");
        assert!(slept.next().is_none(), "{:?}", process(&document, child.pid));
        (row.direction.expect("it moves data"), row.wait_ns)
    };
    let least = GAP.as_nanos() as u64 * 2;
    let (direction, wait) = slept(&full);
    assert!(direction == Direction::Out && wait > least, "{direction:?} {wait}");
    let (direction, wait) = slept(&empty);
    assert!(direction == Direction::In && wait > least, "{direction:?} {wait}");
}
