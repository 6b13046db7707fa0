//! What sockets there are in the network namespace of iotrace: TCP ports that are listened on, and paths of AF_UNIX
//! sockets.
//!
//! By `sock_diag(7)`, which answers in tens of microseconds and is asked only when a socket is seen for the first time.
//! The tables in `/proc/net`, which take milliseconds where there are many sockets, are read where it does not answer:
//! it may be a module that cannot be loaded.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `SOCK_DIAG_BY_FAMILY` (`include/uapi/linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` (`include/net/tcp_states.h`).
const LISTEN: u32 = 10;
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

/// The sockets of a network namespace, as far as they were asked for.
#[derive(Debug, Default)]
pub struct Sockets {
    /// `None`: not asked yet, or refused.
    diag: Option<OwnedFd>,
    refused: bool,
    listening: HashSet<u16>,
    paths: HashMap<u64, Vec<u8>>,
    asked: u64,
}

impl Sockets {
    /// None are known.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often the kernel was asked so far: dumps by netlink, and tables read.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// TCP ports in state LISTEN, as far as known.
    pub fn listening(&self) -> &HashSet<u16> {
        &self.listening
    }

    /// Looks anew at which TCP ports are listened on.
    pub fn look_at_listeners(&mut self) {
        let families = [libc::AF_INET, libc::AF_INET6].map(|family| family as u8);
        let answers: Option<Vec<Vec<u8>>> =
            families.into_iter().map(|family| self.dump(&inet_request(family))).collect();
        self.listening = match answers {
            Some(answers) => answers.iter().flat_map(|answer| messages(answer)).filter_map(port).collect(),
            None => {
                self.asked += 2;
                ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().flat_map(listening_in).collect()
            }
        };
    }

    /// Looks anew at the paths of all AF_UNIX sockets.
    pub fn look_at_paths(&mut self) {
        self.paths = match self.dump(&unix_request()) {
            Some(answer) => messages(&answer).filter_map(path).collect(),
            None => {
                self.asked += 1;
                let table = fs::read("/proc/net/unix").unwrap_or_default();
                table.split(|&byte| byte == b'\n').skip(1).filter_map(path_in).collect()
            }
        };
    }

    /// The path that the AF_UNIX socket with this inode is bound to, as far as known; an abstract name begins with `@`.
    pub fn path(&self, inode: u64) -> Option<String> {
        self.paths.get(&inode).map(|path| String::from_utf8_lossy(path).into_owned())
    }

    /// All of an answer to a dump request; `None` where sock_diag refuses.
    fn dump(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        if self.refused {
            return None;
        }
        self.asked += 1;
        let answer = self.socket().and_then(|socket| ask(socket, request));
        self.refused = answer.is_none();
        answer
    }

    fn socket(&mut self) -> Option<&OwnedFd> {
        if self.diag.is_none() {
            // SAFETY: a plain call that makes a descriptor, which nothing else owns.
            let made = unsafe {
                let fd = libc::socket(
                    libc::AF_NETLINK,
                    libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
                    libc::NETLINK_SOCK_DIAG,
                );
                (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
            };
            self.diag = made;
        }
        self.diag.as_ref()
    }
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
    body.extend((1u32 << LISTEN).to_ne_bytes());
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

/// TCP ports in state LISTEN in a table of `/proc/net`, proc_pid_net(5): the local address is `HEX:PORT`, state 0A.
fn listening_in(table: &str) -> Vec<u16> {
    let listening = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let port = columns.next()?.rsplit(':').next()?;
        (columns.nth(1)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    };
    fs::read_to_string(table).unwrap_or_default().lines().skip(1).filter_map(listening).collect()
}

/// Inode and path in a line of `/proc/net/unix`; a path may have blanks and any bytes but newlines.
fn path_in(line: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut columns = line.splitn(8, |&byte| byte == b' ');
    // The inode is padded with blanks to five columns.
    let rest = columns.by_ref().nth(6).into_iter().chain(columns).collect::<Vec<_>>().join(&b' ');
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(|&byte| byte == b' ')?;
    let inode = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((inode, rest[end + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn inode(fd: &impl AsRawFd) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn listeners_and_paths_are_found_by_netlink_and_in_the_tables_alike() {
        let ports = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let of = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let path = std::env::temp_dir().join(format!("a socket {}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        for refused in [false, true] {
            let mut sockets = Sockets { refused, ..Sockets::new() };
            sockets.look_at_listeners();
            sockets.look_at_paths();
            for listener in ports.iter().flatten() {
                assert!(sockets.listening().contains(&of(listener)), "{refused}");
            }
            assert_eq!(sockets.path(inode(&unix)).as_deref(), path.to_str(), "{refused}");
            assert_eq!(sockets.asked(), 3, "{refused}");
        }
        drop(unix);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn names_of_any_bytes_are_taken_as_they_are() {
        assert_eq!(shown(b"\0forged\0\n1: x"), b"@forged@\n1: x");
        assert_eq!(shown(b"/run/x\0\0"), b"/run/x");
        let line = b"00000000: 00000002 00000000 00010000 0001 01 12345 /run/a b\xff";
        assert_eq!(path_in(line), Some((12345, b"/run/a b\xff".to_vec())));
        assert_eq!(path_in(b"00000000: 00000002 00000000 00000000 0001 03    17"), None, "no path");
        assert_eq!(
            path_in(b"00000000: 00000002 00000000 00000000 0001 03    17 @x"),
            Some((17, b"@x".to_vec()))
        );
    }

    #[test]
    fn garbage_is_no_message() {
        for bytes in [&[][..], &[1, 0], &[8, 0, 0, 0, 0, 0, 0, 0], &[255; 40]] {
            assert_eq!(raw_messages(bytes).count(), 0);
            assert!(path(bytes).is_none() && messages(bytes).count() == 0);
        }
    }
}
