//! Blocking I/O, the simplest loop there is: `recv` sleeps until data is there, and copies it.
//!
//! ```text
//! for each message:  n = recv(fd, buf, rest of the message)    repeat until it is whole
//! ```
//!
//! One call a message where it arrives whole, recv(2), pipe(7). A blocked thread can look at nothing
//! else, so several connections need a thread each, made before the first message. Both phases are in
//! the one call: `sk_wait_data`, `__skb_wait_for_more_packets` or `anon_pipe_read`, then the copy.

use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::thread;

use super::Stage;
use super::reader::{Inbox, Reader};
use super::sys::{Stop, gettid, now_ns};

/// Bytes of the stack of a thread that only calls `recv`.
const STACK: usize = 128 * 1024;

/// Runs the loop: in this thread for one connection, else in one thread for each.
///
/// # Errors
/// A call of the loop failed, or the connection ended before its last message.
pub fn run(stage: &mut Stage) -> Result<(), Stop> {
    match &mut stage.inboxes[..] {
        [inbox] => {
            let mut reader = Reader::new(stage.recorder);
            stage.peer.go();
            reader.begin();
            serve(&mut reader, inbox)
        }
        _ => threads(stage),
    }
}

/// The textbook loop: receives until the last message of the connection.
fn serve(reader: &mut Reader, inbox: &mut Inbox) -> Result<(), Stop> {
    while inbox.expects_more(reader.recorder) {
        reader.take(inbox)?;
    }
    Ok(())
}

/// Serves a connection without traffic: its thread sleeps in `recv` until the connections with traffic are done.
fn serve_idle(reader: &mut Reader, inbox: &mut Inbox) -> Result<(), Stop> {
    match reader.take(inbox) {
        Err(Stop::Closed) if reader.recorder.done() => Ok(()),
        Err(stop) => Err(stop),
        Ok(_) => Err(Stop::Surplus),
    }
}

/// Serves each connection in a thread of its own; the main thread waits for these threads.
fn threads(stage: &mut Stage) -> Result<(), Stop> {
    let Stage { inboxes, threads, .. } = stage;
    let (spec, recorder, peer) = (stage.spec, stage.recorder, stage.peer);
    let fds: Vec<_> = inboxes.iter().map(|inbox| inbox.fd).collect();
    // Set to true when all threads exist, to false if one could not be made.
    let gate = OnceLock::new();
    let failed = Mutex::new(None);
    let fail = |stop| {
        if let Ok(mut first) = failed.lock() {
            first.get_or_insert(stop);
        }
        peer.kill();
        shut_down(&fds);
    };
    let (report, started) = mpsc::channel();
    threads.resize(fds.len(), 0);
    thread::scope(|scope| {
        let mut handles = Vec::with_capacity(fds.len());
        for (index, inbox) in inboxes.iter_mut().enumerate() {
            let (gate, fail, report) = (&gate, &fail, report.clone());
            let thread = move || {
                let mut reader = Reader::new(recorder);
                let main_listens = report.send((index, gettid())).is_ok();
                if !(main_listens && *gate.wait()) {
                    return;
                }
                reader.begin();
                let serve = if inbox.expects_more(recorder) { serve } else { serve_idle };
                if let Err(stop) = serve(&mut reader, inbox) {
                    fail(stop);
                }
            };
            match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, thread) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    let _ = gate.set(false);
                    return Err(Stop::Call("pthread_create", error.raw_os_error().unwrap_or(libc::EAGAIN)));
                }
            }
        }
        for (index, thread) in started.iter().take(fds.len()) {
            threads[index] = thread;
        }
        recorder.wants(now_ns());
        let _ = gate.set(true);
        peer.go();
        // The threads of the active connections end by themselves; those of the idle ones sleep in `recv`.
        let idle = handles.split_off(spec.active as usize);
        for handle in handles {
            if handle.join().is_err() {
                fail(Stop::Call("a thread", libc::ECANCELED));
            }
        }
        shut_down(&fds[spec.active as usize..]);
        drop(idle);
        Ok(())
    })?;
    failed.into_inner().ok().flatten().map_or(Ok(()), Err)
}

/// Makes the calls that sleep on these sockets return 0, shutdown(2). Calls on pipes return 0 when the peer ends.
fn shut_down(fds: &[i32]) {
    for &fd in fds {
        // SAFETY: takes plain integers; on a pipe it fails with ENOTSOCK and nothing happens.
        unsafe { libc::shutdown(fd, libc::SHUT_RD) };
    }
}
