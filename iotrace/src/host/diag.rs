//! Asks the kernel by `sock_diag(7)` which sockets there are in a network namespace: tens of microseconds, where the tables
//! in `/proc/net` take milliseconds if there are many, and show a name with a newline in it as two sockets.

use std::collections::HashSet;
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
/// Number of the request, which is in each part of the answer.
const SEQUENCE: u32 = 1;
/// How long the kernel is waited for. It answers at once.
static PATIENCE: libc::timeval = libc::timeval { tv_sec: 2, tv_usec: 0 };

/// A socket to ask by. It asks about the network namespace of the thread that opens it.
pub fn open() -> Option<OwnedFd> {
    // SAFETY: a plain call that makes a descriptor, which nothing else owns.
    unsafe {
        let fd =
            libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        let socket = (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))?;
        let (patience, length) = ((&raw const PATIENCE).cast(), size_of::<libc::timeval>() as u32);
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, patience, length);
        Some(socket)
    }
}

/// TCP ports in state LISTEN; `None`: the kernel refuses to tell, as the module that would may not be loaded.
pub fn listening(socket: &OwnedFd) -> Option<HashSet<u16>> {
    let mut ports = HashSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        ask(socket, &inet_request(family as u8), |body| ports.extend(port(body)))?;
    }
    Some(ports)
}

/// Inodes and paths of those of the `wanted` AF_UNIX sockets that are bound; an abstract name begins with `@`. `None` as
/// above. Others are not kept: anybody may make any number of them.
pub fn paths(socket: &OwnedFd, wanted: &HashSet<u64>) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut paths = Vec::new();
    let take = |body: &[u8]| paths.extend(path(body).filter(|(inode, _)| wanted.contains(inode)));
    ask(socket, &unix_request(), take)?;
    Some(paths)
}

/// A message to the kernel that asks for a dump: header and body.
fn request(body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(SEQUENCE.to_ne_bytes());
    message.extend([0; 4]);
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

/// Sends a request, and hands on the body of each message of the answer; `None`: it was refused.
fn ask(socket: &OwnedFd, request: &[u8], mut each: impl FnMut(&[u8])) -> Option<()> {
    // SAFETY: the request is as long as it says.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    if sent != request.len() as isize {
        return None;
    }
    let mut part = vec![0u8; ANSWER];
    loop {
        let got = receive(socket, &mut part)?;
        for Message { kind, sequence, body } in messages(&part[..got]) {
            match i32::from(kind) {
                _ if sequence != SEQUENCE => {}
                libc::NLMSG_DONE => return Some(()),
                libc::NLMSG_ERROR => return None,
                _ => each(body),
            }
        }
    }
}

/// Receives a part of an answer of the kernel; returns its length, `None` after an error. Parts that processes sent are
/// passed over: who has CAP_NET_ADMIN in a network namespace, and everybody has in one of their own, may send what looks
/// like an answer to a socket there (`netlink_sendmsg`, `net/netlink/af_netlink.c`).
fn receive(socket: &OwnedFd, part: &mut [u8]) -> Option<usize> {
    loop {
        // SAFETY: zeros are a valid address.
        let mut from: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        let (buffer, address) = (part.as_mut_ptr().cast(), (&raw mut from).cast());
        // SAFETY: buffer and address are as long as they say.
        let got = unsafe {
            libc::recvfrom(socket.as_raw_fd(), buffer, part.len(), libc::MSG_TRUNC, address, &raw mut length)
        };
        let got = usize::try_from(got).ok()?;
        if from.nl_pid == 0 {
            // With `MSG_TRUNC` it is the length before it was cut.
            return Some(got).filter(|got| (1..=part.len()).contains(got));
        }
    }
}

/// A message of netlink.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of a part; each begins at a multiple of four bytes. They end where one is cut off.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
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

/// The name of an AF_UNIX socket as `/proc/net/unix` shows it: zeros of an abstract name become `@`, unix(7). A path that
/// begins with `@` is relative, and shown as such: it must not pass for an abstract name.
fn shown(name: &[u8]) -> Vec<u8> {
    if name.first() == Some(&0) {
        return name.iter().map(|&byte| if byte == 0 { b'@' } else { byte }).collect();
    }
    // A path may end with zeros that do not belong to it.
    let path = name.split(|&byte| byte == 0).next().unwrap_or_default();
    if path.starts_with(b"@") { [b"./", path].concat() } else { path.to_vec() }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::host::fixed;

    #[test]
    fn names_of_any_bytes_are_taken_as_they_are() {
        assert_eq!(shown(b"\0forged\0\n1: x"), b"@forged@\n1: x");
        assert_eq!(shown(b"/run/x\0\0"), b"/run/x");
    }

    #[test]
    fn a_path_does_not_pass_for_an_abstract_name() {
        assert_eq!(shown(b"\0dbus"), b"@dbus");
        assert_eq!(shown(b"@dbus"), b"./@dbus");
    }

    #[test]
    fn garbage_is_no_message() {
        for bytes in [&[][..], &[1, 0], &[8, 0, 0, 0, 0, 0, 0, 0], &[255; 40]] {
            assert_eq!(messages(bytes).count(), 0);
            assert!(path(bytes).is_none());
        }
    }

    /// Needs privileges to be an attack: without them the kernel refuses to pass the forgery on.
    #[test]
    fn an_answer_of_another_process_is_none() {
        let (asking, forging) = (open().unwrap(), open().unwrap());
        let mut address: libc::sockaddr_nl = unsafe_zeroed();
        let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: plain calls on open sockets, with addresses as long as they say.
        unsafe {
            address.nl_family = libc::AF_NETLINK as u16;
            let at = (&raw const address).cast();
            assert_eq!(libc::bind(asking.as_raw_fd(), at, length), 0);
            assert_eq!(libc::getsockname(asking.as_raw_fd(), (&raw mut address).cast(), &raw mut length), 0);
        }
        let mut body = vec![0u8; UNIX_MESSAGE];
        body[INODE_AT..INODE_AT + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        body.extend([9, 0, 0, 0]);
        body.extend(b"/evil\0\0\0");
        let forged = request(&body);
        // SAFETY: message and address are as long as they say. Whether it is sent is for the kernel to decide.
        unsafe {
            let (message, at) = (forged.as_ptr().cast(), (&raw const address).cast());
            libc::sendto(forging.as_raw_fd(), message, forged.len(), 0, at, length);
        }
        assert!(path(&body).is_some_and(|(_, name)| name == b"/evil"));
        let wanted = HashSet::from([u64::from(u32::MAX)]);
        // `None`: this kernel does not answer at all.
        assert!(paths(&asking, &wanted).is_none_or(|paths| paths.is_empty()));
    }

    fn unsafe_zeroed() -> libc::sockaddr_nl {
        // SAFETY: zeros are a valid address.
        unsafe { std::mem::zeroed() }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..fixed() })]

        #[test]
        fn any_answer_is_read_without_a_panic(body in vec(any::<u8>(), 0..80), length in 0..99u32, name in 0..99u16) {
            let mut answer = request(&body);
            answer[..4].copy_from_slice(&length.to_ne_bytes());
            answer.extend(request(&body));
            prop_assert!(messages(&answer).map(|message| message.body.len()).sum::<usize>() <= answer.len());
            let mut message = vec![0; UNIX_MESSAGE];
            message.extend(name.to_ne_bytes());
            message.extend([0, 0]);
            message.extend(&body);
            prop_assert!(path(&message).is_none_or(|(_, path)| path.len() <= body.len() + 2));
            let _ = (path(&body), port(&body));
        }
    }
}
