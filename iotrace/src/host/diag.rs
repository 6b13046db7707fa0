//! Asks the kernel by `sock_diag(7)` which sockets there are in a network namespace: tens of microseconds, where the tables
//! in `/proc/net` take milliseconds if there are many.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use iotrace_ebpf::abi::kernel::tcp_state;

/// `SOCK_DIAG_BY_FAMILY` (`include/uapi/linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_NAME` and the attribute that answers it (`include/uapi/linux/unix_diag.h`).
const SHOW_NAME: u32 = 1;
const NAME: u16 = 0;
/// Bytes of a `struct inet_diag_msg` up to the local port, and of a `struct unix_diag_msg`.
const PORT_AT: usize = 4;
const UNIX_MESSAGE: usize = 16;
const INODE_AT: usize = 4;
/// Bytes of a `struct nlmsghdr` and of a `struct nlattr`.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// Longest answer that is read at a time, bytes: the kernel's dumps fill 32 KiB at most (`netlink_dump`).
const ANSWER: usize = 32 << 10;

/// A socket to ask by. It asks about the network namespace of the thread that opens it.
pub fn open() -> Option<OwnedFd> {
    // SAFETY: a plain call that makes a descriptor, which nothing else owns.
    unsafe {
        let fd =
            libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// TCP ports in state LISTEN; `None`: the kernel refuses to tell, as the module that would may not be loaded.
pub fn listening(socket: &OwnedFd) -> Option<Vec<u16>> {
    let mut ports = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let answer = ask(socket, &inet_request(family as u8))?;
        ports.extend(messages(&answer).filter_map(port));
    }
    Some(ports)
}

/// Inodes and paths of the AF_UNIX sockets that are bound; an abstract name begins with `@`. `None` as above.
pub fn paths(socket: &OwnedFd) -> Option<Vec<(u64, Vec<u8>)>> {
    let answer = ask(socket, &unix_request())?;
    Some(messages(&answer).filter_map(path).collect())
}

/// A message to the kernel that asks for a dump: header and body.
fn request(body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and an `inet_diag_sockid` of 48 bytes that
/// a dump does not look at.
fn inet_request(family: u8) -> Vec<u8> {
    let mut body = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend((1u32 << tcp_state::LISTEN).to_ne_bytes());
    body.extend([0; 48]);
    request(&body)
}

/// `struct unix_diag_req`: family, protocol, padding, states, inode, what to show, cookie.
fn unix_request() -> Vec<u8> {
    let mut body = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [u32::MAX, 0, SHOW_NAME, 0, 0] {
        body.extend(word.to_ne_bytes());
    }
    request(&body)
}

/// Sends a request and receives to the end of the answer; `None`: it was refused.
fn ask(socket: &OwnedFd, request: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: the request is as long as it says.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent != request.len() as isize {
        return None;
    }
    let (mut answer, mut part) = (Vec::new(), vec![0u8; ANSWER]);
    loop {
        // SAFETY: the buffer is as long as it says.
        let got = unsafe { libc::recv(socket.as_raw_fd(), part.as_mut_ptr().cast(), part.len(), 0) };
        let got = usize::try_from(got).ok().filter(|&got| got > 0)?;
        for (kind, body) in raw_messages(&part[..got]) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Some(answer),
                libc::NLMSG_ERROR => return None,
                _ => answer.extend(framed(body)),
            }
        }
    }
}

/// A body behind its length, in the form that [`messages`] reads.
fn framed(body: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (body.len() as u32).to_ne_bytes().into_iter().chain(body.iter().copied())
}

/// Bodies of an answer.
fn messages(mut answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = answer.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_ne_bytes(length) as usize)?;
        answer = rest;
        Some(body)
    })
}

/// Kind and body of each netlink message; each begins at a multiple of four bytes.
fn raw_messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The local port of a `struct inet_diag_msg`.
fn port(message: &[u8]) -> Option<u16> {
    message.get(PORT_AT..)?.first_chunk().map(|&port| u16::from_be_bytes(port))
}

/// Inode and path of a `struct unix_diag_msg` and its attributes, of which the path is one.
fn path(message: &[u8]) -> Option<(u64, Vec<u8>)> {
    let inode = u32::from_ne_bytes(*message.get(INODE_AT..)?.first_chunk()?);
    let mut attributes = message.get(UNIX_MESSAGE..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if kind == NAME {
            return Some((u64::from(inode), shown(value)));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// The name of an AF_UNIX socket as `/proc/net/unix` shows it: zeros of an abstract name become `@`, unix(7).
fn shown(name: &[u8]) -> Vec<u8> {
    let path = match name.split_first() {
        Some((0, _)) => name,
        // A path may end with zeros that do not belong to it.
        _ => name.split(|&byte| byte == 0).next().unwrap_or_default(),
    };
    path.iter().map(|&byte| if byte == 0 { b'@' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_bytes_are_taken_as_they_are() {
        assert_eq!(shown(b"\0forged\0\n1: x"), b"@forged@\n1: x");
        assert_eq!(shown(b"/run/x\0\0"), b"/run/x");
    }

    #[test]
    fn garbage_is_no_message() {
        for bytes in [&[][..], &[1, 0], &[8, 0, 0, 0, 0, 0, 0, 0], &[255; 40]] {
            assert_eq!(raw_messages(bytes).count(), 0);
            assert!(path(bytes).is_none() && messages(bytes).count() == 0);
        }
    }
}
