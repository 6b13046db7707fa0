//! `MSG_ZEROCOPY`: the kernel sends the pages of the sender without copying them; a notification says when they are
//! free again, and whether the kernel copied them after all.

use std::io;
use std::os::fd::RawFd;

use super::pair;
use crate::host::clock::monotonic_ns;
use crate::study::pair::set_option;
use iotrace_core::domain::model::Transport;
use iotrace_core::samples::sheet::Sheet;

/// Bytes of a send.
pub const SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];
/// Sends of one sample.
const SENDS: usize = 15;

/// `SO_EE_ORIGIN_ZEROCOPY`: a notification, not an error.
const ORIGIN_ZEROCOPY: u8 = 5;
/// `SO_EE_CODE_ZEROCOPY_COPIED`: the pages were copied after all.
const CODE_COPIED: u8 = 1;

/// Notifications of sends, counted in sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Completions {
    seen: u64,
    copied: u64,
}

impl Completions {
    /// The counts in a sentence; `None` if there was no notification.
    pub fn finding(&self) -> Option<String> {
        let Self { seen, copied } = self;
        (*seen > 0).then(|| {
            format!(
                "Of {seen} sends with MSG_ZEROCOPY, {copied} were copied after all, \
             by their notifications (over loopback)."
            )
        })
    }
}

/// Times a send of `size` bytes, with or without `MSG_ZEROCOPY`. No sample where the kernel lacks it.
///
/// # Errors
/// A call failed.
pub fn timed(zerocopy: bool, size: usize, seen: &mut Completions, sheet: &mut Sheet) -> io::Result<()> {
    let pair = pair(Transport::Tcp)?;
    if zerocopy && set_option(pair.writer(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).is_err() {
        return Ok(());
    }
    let flags = if zerocopy { libc::MSG_ZEROCOPY } else { 0 };
    let bytes = vec![1; size];
    let mut buffer = vec![0; size];
    let mut times = Vec::new();
    for _ in 0..SENDS {
        let start = monotonic_ns();
        // SAFETY: the buffer is as long as it says, and is not changed while the pages are in use.
        let put = unsafe { libc::send(pair.writer(), bytes.as_ptr().cast(), size, flags) };
        let time = monotonic_ns() - start;
        if put < 0 {
            return Err(io::Error::last_os_error());
        }
        pair.read_all(&mut buffer[..put as usize])?;
        if zerocopy {
            notifications(pair.writer(), seen);
        }
        if put as usize == size {
            times.push(time as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    if let Some(&time) = times.get(times.len() / 10) {
        sheet.add("send", if zerocopy { "MSG_ZEROCOPY" } else { "copying" }, Some(size as f64), time);
    }
    Ok(())
}

/// Reads all notifications from the error queue of the socket.
pub(super) fn notifications(fd: RawFd, seen: &mut Completions) {
    loop {
        let mut control = [0u64; 16];
        // SAFETY: all zeros are a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the control buffer is valid and as long as it says; no data is asked for.
        if unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) } < 0 {
            return;
        }
        // SAFETY: the kernel filled in the message, whose first header holds a sock_extended_err, if there is one.
        let error = unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if header.is_null() {
                return;
            }
            libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned()
        };
        if error.ee_origin != ORIGIN_ZEROCOPY {
            continue;
        }
        // One notification covers a range of sends, `ee_info` to `ee_data`.
        let sends = u64::from(error.ee_data.wrapping_sub(error.ee_info)) + 1;
        seen.seen += sends;
        if error.ee_code & CODE_COPIED != 0 {
            seen.copied += sends;
        }
    }
}
