//! Waiting compared with copying: a peer answers each request at once, with answers of different sizes.

use std::io;

use super::pair;
use crate::study::observe::{Watching, calls_of, own_tid};
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;
use iotrace_core::samples::stats;

/// Exchanges of one sample.
const EXCHANGES: usize = 5;

/// Sends requests and reads answers of `size` bytes; takes waiting and copying from the records of the reads.
///
/// # Errors
/// A call failed.
pub fn observed(
    transport: Transport,
    size: usize,
    watching: &mut Watching,
    sheet: &mut Sheet,
) -> io::Result<()> {
    let (answers, requests) = (pair(transport)?, pair(transport)?);
    let name = transport.to_string();
    let (mut waits, mut copies) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| -> io::Result<()> {
        let peer = scope.spawn(|| -> io::Result<()> {
            let answer = vec![1; size];
            for _ in 0..EXCHANGES {
                requests.read_all(&mut [0])?;
                let mut rest = &answer[..];
                while !rest.is_empty() {
                    // SAFETY: the buffer is as long as it says.
                    let put = unsafe { libc::write(answers.writer(), rest.as_ptr().cast(), rest.len()) };
                    if put < 0 {
                        return Err(io::Error::last_os_error());
                    }
                    rest = &rest[put as usize..];
                }
            }
            Ok(())
        });
        let mut buffer = vec![0; size];
        for _ in 0..EXCHANGES {
            let (done, journal) = watching.during(|| {
                requests.write(&[1])?;
                answers.read_all(&mut buffer)
            });
            done?;
            let own = calls_of(&journal, own_tid()).filter(|call| call.fd == answers.reader());
            let (wait, copy) = own.fold((0, 0), |(wait, copy), call| {
                (wait + call.parts.wait + call.parts.runq, copy + call.parts.copy)
            });
            waits.push(wait as f64);
            copies.push(copy as f64);
        }
        peer.join().unwrap_or_else(|_| Err(io::Error::other("the peer panicked")))
    })?;
    for (what, samples) in [("waiting", waits), ("copying", copies)] {
        if let Some(time) = stats::median(&samples) {
            sheet.add("exchange", &format!("{name} {what}"), Some(size as f64), time);
        }
    }
    Ok(())
}
