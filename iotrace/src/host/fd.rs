//! Names descriptors, by what the probes read of the file and, while it is open, by its link in `/proc/PID/fd`.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use iotrace_core::domain::{Fd, WaitsFor};
use iotrace_ebpf::abi::FileRecord;
use iotrace_ebpf::abi::kernel::{family, file_type, protocol};

/// Kind and name of a file, from what the probes read of it and, if it is still open, from its link.
pub fn describe(file: &FileRecord) -> Fd {
    let mine = link_of(file);
    let fd = |kind: &str, name: String| Fd { kind: kind.to_owned(), name };
    let named = || mine.clone().unwrap_or_else(|| gone(file));
    match file.mode & file_type::MASK {
        file_type::SOCKET => socket(file),
        file_type::FIFO => fd("pipe", format!("pipe:[{}]", file.inode)),
        file_type::CHARACTER => {
            let name = named();
            let tty = name.starts_with("/dev/pts/") || name.starts_with("/dev/tty");
            fd(if tty { "tty" } else { "character device" }, name)
        }
        file_type::BLOCK => fd("block device", named()),
        file_type::DIRECTORY => fd("directory", named()),
        // Newer kernels give the inode of eventfd and the like the type of a regular file.
        file_type::REGULAR if mine.is_some() || !is_anonymous(file) => fd("file", named()),
        _ if !is_anonymous(file) => fd("anonymous", format!("descriptor {}", file.fd)),
        // eventfd, timerfd, signalfd, epoll, io_uring and others share one inode: `[eventfd]`.
        _ => {
            let name = known_name(file).trim_matches(['[', ']']).to_owned();
            fd(if name == "eventpoll" { "epoll" } else { &name }, format!("descriptor {}", file.fd))
        }
    }
}

/// The path of a file, if its descriptor still leads to it: the number may be another file's by now.
fn link_of(file: &FileRecord) -> Option<String> {
    let entry = format!("/proc/{}/fd/{}", file.head.tgid, file.fd);
    let read = || fs::read_link(&entry).ok().map(|path| path.to_string_lossy().into_owned());
    let link = read()?;
    let name = known_name(file);
    // A name is cut to fit, and a removed file's link says so.
    let last = link.rsplit('/').next()?;
    let fits = link.starts_with('/') && (last.starts_with(&name) || name == "/");
    // The link is read again, since the descriptor may have become another file between the two reads.
    let same = fits && fs::metadata(&entry).is_ok_and(|data| data.ino() == file.inode);
    (same && read()? == link).then_some(link)
}

/// Last component of the path, as the kernel knew it.
fn known_name(file: &FileRecord) -> String {
    let name = file.name.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn is_anonymous(file: &FileRecord) -> bool {
    let name = known_name(file);
    name.starts_with('[') && name.ends_with(']')
}

/// What is known of a file that is closed by now: the last component of its path.
fn gone(file: &FileRecord) -> String {
    let name = known_name(file);
    if name.is_empty() { format!("inode {}", file.inode) } else { name }
}

/// TCP ports in state LISTEN in the network namespace of iotrace.
pub fn listening_ports() -> HashSet<u16> {
    // State 0A is TCP_LISTEN; the local address is `HEX:PORT`, proc_net_tcp(5).
    let listening = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let port = columns.next()?.rsplit(':').next()?;
        (columns.nth(1)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1).filter_map(listening)).collect()
}

/// What a wait on a file is for: on an accepted TCP connection the next request, on one that this host opened a reply;
/// `None` on any other file. A local port in state LISTEN is taken as the sign of an accepted connection.
pub fn waits_for(file: &FileRecord, listening: &HashSet<u16>) -> Option<WaitsFor> {
    let connected = matches!(file.family, family::INET | family::INET6)
        && file.protocol == protocol::TCP
        && file.remote_port != 0;
    connected
        .then(|| if listening.contains(&file.local_port) { WaitsFor::NextRequest } else { WaitsFor::Reply })
}

fn socket(file: &FileRecord) -> Fd {
    let kind = match (file.family, file.protocol) {
        (family::UNIX, _) => "unix".to_owned(),
        (family::INET | family::INET6, protocol::TCP | protocol::MPTCP) => "tcp".to_owned(),
        (family::INET | family::INET6, protocol::UDP) => "udp".to_owned(),
        (family::NETLINK, _) => "netlink".to_owned(),
        (family, protocol) => format!("socket (family {family}, protocol {protocol})"),
    };
    let name = match address(file, 0) {
        Some(local) => {
            let local = SocketAddr::new(local, file.local_port);
            let remote = address(file, 1).filter(|_| file.remote_port != 0);
            remote.map_or_else(
                || local.to_string(),
                |remote| format!("{local} <-> {}", SocketAddr::new(remote, u16::from_be(file.remote_port))),
            )
        }
        None => unix_path(file.inode).unwrap_or_else(|| format!("socket:[{}]", file.inode)),
    };
    Fd { kind, name }
}

/// The local (0) or remote (1) address of a socket. One of IPv4 is shown as such, whatever family the socket is of.
fn address(file: &FileRecord, which: usize) -> Option<IpAddr> {
    let &bytes: &[u8; 16] = file.name[16 * which..].first_chunk()?;
    match file.family {
        family::INET => bytes.first_chunk().map(|&first: &[u8; 4]| IpAddr::from(first)),
        family::INET6 => Some(IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}

fn unix_path(inode: u64) -> Option<String> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(6);
        (columns.next()? == inode.to_string()).then(|| columns.next().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(local: &[u8], remote: &[u8]) -> [u8; 32] {
        let mut both = [0; 32];
        both[..local.len()].copy_from_slice(local);
        both[16..16 + remote.len()].copy_from_slice(remote);
        both
    }

    #[test]
    fn an_accepted_connection_waits_for_requests_and_one_that_was_made_for_replies() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = listening_ports();
        assert!(ports.contains(&port));
        let file = |local_port, remote_port: u16| FileRecord {
            family: family::INET,
            protocol: protocol::TCP,
            local_port,
            remote_port: remote_port.to_be(),
            ..FileRecord::default()
        };
        assert_eq!(waits_for(&file(port, 40_000), &ports), Some(WaitsFor::NextRequest));
        let unused = (1..u16::MAX).find(|port| !ports.contains(port)).unwrap();
        assert_eq!(waits_for(&file(unused, port), &ports), Some(WaitsFor::Reply));
        assert_eq!(waits_for(&file(port, 0), &ports), None, "the listening socket itself is no connection");
    }

    #[test]
    fn a_socket_is_named_by_its_addresses() {
        let file = FileRecord {
            mode: file_type::SOCKET,
            family: family::INET,
            protocol: protocol::TCP,
            local_port: 80,
            remote_port: 40_000u16.to_be(),
            name: addresses(&[127, 0, 0, 1], &[10, 0, 0, 7]),
            ..FileRecord::default()
        };
        let fd = describe(&file);
        assert_eq!((fd.kind.as_str(), fd.name.as_str()), ("tcp", "127.0.0.1:80 <-> 10.0.0.7:40000"));
        let v6 = |local: &str, remote: &str, remote_port: u16| {
            let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let (name, family) = (addresses(&octets(local), &octets(remote)), family::INET6);
            describe(&FileRecord { name, family, remote_port: remote_port.to_be(), ..file }).name
        };
        assert_eq!(v6("fe80::1", "2001:db8::7", 443), "[fe80::1]:80 <-> [2001:db8::7]:443");
        assert_eq!(v6("::ffff:127.0.0.1", "::ffff:10.0.0.7", 443), "127.0.0.1:80 <-> 10.0.0.7:443");
        assert_eq!(v6("::", "::", 0), "[::]:80");
    }

    #[test]
    fn a_reused_descriptor_lends_its_name_to_nobody() {
        let file = FileRecord { mode: file_type::FIFO, inode: 1, fd: -1, ..FileRecord::default() };
        assert_eq!(describe(&file).name, "pipe:[1]");
    }
}
