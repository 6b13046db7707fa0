//! Names descriptors, by what the probes read of the file and, while it is open, by its link in `/proc/PID/fd`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use iotrace_core::domain::{Fd, WaitsFor};
use iotrace_ebpf::abi::FileRecord;
use iotrace_ebpf::abi::kernel::{family, file_type, protocol};

use super::networks::Networks;

/// Kind and name of a file, from what the probes read of it and, if it is still open, from its link.
pub fn describe(file: &FileRecord, networks: &mut Networks) -> Fd {
    let mine = link_of(file);
    let fd = |kind: &str, name: String| Fd { kind: kind.to_owned(), name };
    let named = || mine.clone().unwrap_or_else(|| gone(file));
    match file.mode & file_type::MASK {
        file_type::SOCKET => socket(file, networks),
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

/// What a wait on a file is for: on an accepted TCP connection the next request, on one that this host opened a reply;
/// `None` on any other file, and where the network namespace of the connection cannot be looked at. A local port in state
/// LISTEN is taken as the sign of an accepted connection.
pub fn waits_for(file: &FileRecord, networks: &mut Networks) -> Option<WaitsFor> {
    let connected = matches!(file.family, family::INET | family::INET6)
        && file.protocol == protocol::TCP
        && file.remote_port != 0;
    let accepted = connected.then(|| networks.listens(file))??;
    Some(if accepted { WaitsFor::NextRequest } else { WaitsFor::Reply })
}

fn socket(file: &FileRecord, networks: &mut Networks) -> Fd {
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
        None => networks.unix_path(file).unwrap_or_else(|| format!("socket:[{}]", file.inode)),
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
        let mut networks = Networks::default();
        let file = |local_port, remote_port: u16| FileRecord {
            family: family::INET,
            protocol: protocol::TCP,
            local_port,
            remote_port: remote_port.to_be(),
            ..FileRecord::default()
        };
        assert_eq!(waits_for(&file(port, 40_000), &mut networks), Some(WaitsFor::NextRequest));
        // No ephemeral port, and none that anything here listens on.
        assert_eq!(waits_for(&file(1, port), &mut networks), Some(WaitsFor::Reply));
        assert_eq!(
            waits_for(&file(port, 0), &mut networks),
            None,
            "the listening socket itself is no connection"
        );
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
        let mut networks = Networks::default();
        let fd = describe(&file, &mut networks);
        assert_eq!((fd.kind.as_str(), fd.name.as_str()), ("tcp", "127.0.0.1:80 <-> 10.0.0.7:40000"));
        let mut v6 = |local: &str, remote: &str, remote_port: u16| {
            let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let (name, family) = (addresses(&octets(local), &octets(remote)), family::INET6);
            describe(&FileRecord { name, family, remote_port: remote_port.to_be(), ..file }, &mut networks)
                .name
        };
        assert_eq!(v6("fe80::1", "2001:db8::7", 443), "[fe80::1]:80 <-> [2001:db8::7]:443");
        assert_eq!(v6("::ffff:127.0.0.1", "::ffff:10.0.0.7", 443), "127.0.0.1:80 <-> 10.0.0.7:443");
        assert_eq!(v6("::", "::", 0), "[::]:80");
    }

    #[test]
    fn a_reused_descriptor_lends_its_name_to_nobody() {
        let file = FileRecord { mode: file_type::FIFO, inode: 1, fd: -1, ..FileRecord::default() };
        assert_eq!(describe(&file, &mut Networks::default()).name, "pipe:[1]");
    }
}
