//! The same number of bytes in more and more socket buffers: what each buffer costs the reader.
//!
//! An AF_UNIX stream keeps the bytes of each send in a buffer of its own, and one read empties many buffers.

use std::io;

use super::pair;
use crate::study::clock;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;

/// Numbers of buffers that the bytes are divided into.
pub const POINTS: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Bytes of a read, whatever the number of buffers.
const BYTES: usize = 32 << 10;

/// Times the one read that empties `buffers` buffers.
///
/// # Errors
/// A call failed, or the read did not bring all bytes.
pub fn timed(buffers: usize, sheet: &mut Sheet) -> io::Result<()> {
    let pair = pair(Transport::Unix)?;
    let mut buffer = vec![0; BYTES];
    let piece = vec![1; BYTES / buffers];
    let ns = clock::call_ns(
        || (0..buffers).try_for_each(|_| pair.write(&piece)),
        || match pair.read(&mut buffer)? {
            BYTES => Ok(()),
            got => Err(io::Error::other(format!("one read brought {got} of {BYTES} bytes"))),
        },
    )?;
    sheet.add("buffers", "unix", Some(buffers as f64), ns);
    Ok(())
}
