//! Names descriptors, by what the probes read of the file and, while it is open, by its link in `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use iotrace_core::domain::{Fd, WaitsFor};
use iotrace_ebpf::abi::kernel::{family, file_type, protocol};
use iotrace_ebpf::abi::{FOLDED, FileRecord};

use super::networks::Networks;

/// Directories whose paths are kept for the names of files that are closed before their link can be read.
const DIRECTORIES: usize = 1024;

/// Names files as they are announced. Sockets are looked at only where one is among them.
#[derive(Debug, Default)]
pub struct Namer {
    networks: Networks,
    /// Paths of directories, by [`FileRecord::directory`].
    directories: HashMap<u64, String>,
}

/// What a file is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Kind and name.
    pub fd: Fd,
    /// The name that it shares with others, where a result has too many: its directory, or the listening port or the
    /// remote address of its connection.
    pub group: Option<String>,
    /// What a wait on it is for.
    pub waits_for: Option<WaitsFor>,
}

impl Namer {
    /// No file is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with the network namespaces of these processes, and looks at who listens there.
    pub fn look_around(&mut self, processes: &[u32]) {
        processes.iter().for_each(|&pid| self.networks.know(pid));
        self.networks.look_around();
    }

    /// What is known of sockets.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Names files that were announced together, in their order. In each network namespace, listeners and paths of
    /// AF_UNIX sockets are looked at once at most, and only where a connection or such a socket is among the files that
    /// is not explained by what is known.
    pub fn names(&mut self, files: &[FileRecord]) -> Vec<Named> {
        let (mut listeners, mut paths) = (HashSet::new(), HashSet::new());
        for file in files.iter().filter(|file| is_socket(file)) {
            let network = file.head.reserved;
            if is_connection(file) {
                let unexplained = self.networks.listens(file) != Some(true);
                if unexplained && !listeners.contains(&network) && self.networks.look_at_listeners(file) {
                    listeners.insert(network);
                }
            } else if file.family == family::UNIX {
                let nameless = self.networks.path(file).is_none();
                if nameless && !paths.contains(&network) && self.networks.look_at_paths(file) {
                    paths.insert(network);
                }
            }
        }
        files.iter().map(|file| self.name(file)).collect()
    }

    fn name(&mut self, file: &FileRecord) -> Named {
        if is_socket(file) {
            let waits_for = waits_for(file, &self.networks);
            let fd = socket(file, &self.networks);
            return Named { group: connections(file, waits_for), fd, waits_for };
        }
        let mine = link_of(file);
        let fd = |kind: &str, name: String| Fd { kind: kind.to_owned(), name };
        let mut group = None;
        let named = || mine.clone().unwrap_or_else(|| gone(file));
        let fd = match file.mode & file_type::MASK {
            file_type::FIFO if file.file & FOLDED != 0 => fd("pipe", "several".to_owned()),
            file_type::FIFO => {
                group = Some("several".to_owned());
                fd("pipe", format!("pipe:[{}]", file.inode))
            }
            file_type::CHARACTER => {
                let name = named();
                let tty = name.starts_with("/dev/pts/") || name.starts_with("/dev/tty");
                fd(if tty { "tty" } else { "character device" }, name)
            }
            file_type::BLOCK => fd("block device", named()),
            file_type::DIRECTORY => fd("directory", named()),
            // Newer kernels give the inode of eventfd and the like the type of a regular file.
            file_type::REGULAR if mine.is_some() || !is_anonymous(file) => {
                let directory = self.directory(file, mine.as_deref());
                group = Some(format!("{directory}/*"));
                match (file.file & FOLDED != 0, mine) {
                    (true, _) => fd("file", format!("{directory}/*")),
                    (false, Some(path)) => fd("file", path),
                    (false, None) => fd("file", format!("{directory}/{}", gone(file))),
                }
            }
            _ if !is_anonymous(file) => fd("anonymous", format!("descriptor {}", file.fd)),
            // eventfd, timerfd, signalfd, epoll, io_uring and others share one inode: `[eventfd]`.
            _ => {
                let name = known_name(file).trim_matches(['[', ']']).to_owned();
                let number =
                    if file.fd < 0 { "several".to_owned() } else { format!("descriptor {}", file.fd) };
                fd(if name == "eventpoll" { "epoll" } else { &name }, number)
            }
        };
        Named { fd, group, waits_for: None }
    }

    /// The directory of a regular file: by its link, by that of another file there, or as much as the probes know.
    fn directory(&mut self, file: &FileRecord, link: Option<&str>) -> String {
        if let Some((directory, _)) = link.and_then(|link| link.rsplit_once('/')) {
            if self.directories.len() < DIRECTORIES {
                self.directories.insert(file.directory, directory.to_owned());
            }
            return directory.to_owned();
        }
        let known = self.directories.get(&file.directory).cloned();
        known.unwrap_or_else(|| match text(&file.parent).as_str() {
            "" => "...".to_owned(),
            // The root of a file system is called so, wherever it is mounted.
            "/" => "...".to_owned(),
            name => format!(".../{name}"),
        })
    }
}

fn is_socket(file: &FileRecord) -> bool {
    file.mode & file_type::MASK == file_type::SOCKET
}

/// Whether a file is a TCP connection, or several with one remote address.
fn is_connection(file: &FileRecord) -> bool {
    matches!(file.family, family::INET | family::INET6)
        && file.protocol == protocol::TCP
        && file.remote_port != 0
}

/// The path of a file, if its descriptor still leads to it: the number may be another file's by now.
fn link_of(file: &FileRecord) -> Option<String> {
    if file.fd < 0 {
        return None;
    }
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
    text(&file.name)
}

/// Bytes up to the first zero.
fn text(bytes: &[u8]) -> String {
    let name = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
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
fn waits_for(file: &FileRecord, networks: &Networks) -> Option<WaitsFor> {
    if file.file & FOLDED != 0 && file.protocol == protocol::TCP {
        // Those of a port that was listened on have no remote address in common.
        return Some(if file.remote_port == 0 { WaitsFor::NextRequest } else { WaitsFor::Reply });
    }
    let accepted = is_connection(file).then(|| networks.listens(file))??;
    Some(if accepted { WaitsFor::NextRequest } else { WaitsFor::Reply })
}

/// The name that a connection shares with others, see [`Named::group`].
fn connections(file: &FileRecord, waits_for: Option<WaitsFor>) -> Option<String> {
    if file.family == family::UNIX {
        return Some("several".to_owned());
    }
    let remote = (file.remote_port != 0).then(|| end(file, 1, u16::from_be(file.remote_port)))?;
    let local = end(file, 0, file.local_port);
    match waits_for {
        Some(WaitsFor::NextRequest) => local.map(|local| format!("{local} <-> *")),
        Some(WaitsFor::Reply) | None => remote.map(|remote| format!("* <-> {remote}")),
    }
}

fn socket(file: &FileRecord, networks: &Networks) -> Fd {
    let kind = match (file.family, file.protocol) {
        (family::UNIX, _) => "unix".to_owned(),
        (family::INET | family::INET6, protocol::TCP | protocol::MPTCP) => "tcp".to_owned(),
        (family::INET | family::INET6, protocol::UDP) => "udp".to_owned(),
        (family::NETLINK, _) => "netlink".to_owned(),
        (family, protocol) => format!("socket (family {family}, protocol {protocol})"),
    };
    let many = file.file & FOLDED != 0;
    let ends = [(0, file.local_port), (1, u16::from_be(file.remote_port))];
    let [local, remote] = ends.map(|(which, port)| end(file, which, port).filter(|_| port != 0));
    let name = match (local.or_else(|| end(file, 0, 0).filter(|_| !many)), remote) {
        (Some(local), Some(remote)) => format!("{local} <-> {remote}"),
        (Some(local), None) if many => format!("{local} <-> *"),
        (Some(local), None) => local,
        (None, Some(remote)) => format!("* <-> {remote}"),
        (None, None) if many => "several".to_owned(),
        (None, None) => networks.path(file).unwrap_or_else(|| format!("socket:[{}]", file.inode)),
    };
    Fd { kind, name }
}

/// The local (0) or remote (1) end of a socket; `None` where its family has no such addresses.
fn end(file: &FileRecord, which: usize, port: u16) -> Option<String> {
    address(file, which).map(|address| SocketAddr::new(address, port).to_string())
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
        let mut namer = Namer::new();
        let mut waits_for = |file: FileRecord| namer.names(&[file])[0].waits_for;
        let file = |local_port, remote_port: u16| FileRecord {
            mode: file_type::SOCKET,
            family: family::INET,
            protocol: protocol::TCP,
            local_port,
            remote_port: remote_port.to_be(),
            ..FileRecord::default()
        };
        assert_eq!(waits_for(file(port, 40_000)), Some(WaitsFor::NextRequest));
        // No ephemeral port, and none that anything here listens on.
        assert_eq!(waits_for(file(1, port)), Some(WaitsFor::Reply));
        assert_eq!(waits_for(file(port, 0)), None, "the listening socket itself is no connection");
        let mut elsewhere = file(port, 40_000);
        elsewhere.head.reserved = u32::MAX;
        assert_eq!(waits_for(elsewhere), None, "nobody is in that network namespace");
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
        let describe = |file: &FileRecord| Namer::new().names(&[*file])[0].fd.clone();
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
        assert_eq!(Namer::new().names(&[file])[0].fd.name, "pipe:[1]");
    }

    #[test]
    fn what_shares_a_row_says_so() {
        let named = |file: FileRecord| {
            let named = Namer::new().names(&[file]).remove(0);
            (named.fd.name, named.group, named.waits_for)
        };
        let folded = FileRecord {
            file: FOLDED,
            fd: -1,
            mode: file_type::SOCKET,
            family: family::INET,
            protocol: protocol::TCP,
            ..FileRecord::default()
        };
        let server = FileRecord { local_port: 80, name: addresses(&[127, 0, 0, 1], &[]), ..folded };
        assert_eq!(named(server), ("127.0.0.1:80 <-> *".to_owned(), None, Some(WaitsFor::NextRequest)));
        let client =
            FileRecord { remote_port: 5432u16.to_be(), name: addresses(&[], &[10, 0, 0, 7]), ..folded };
        let group = Some("* <-> 10.0.0.7:5432".to_owned());
        assert_eq!(named(client), ("* <-> 10.0.0.7:5432".to_owned(), group, Some(WaitsFor::Reply)));
        let mut parent = [0; 24];
        parent[..6].copy_from_slice(b"images");
        let file =
            FileRecord { file: FOLDED, fd: -1, mode: file_type::REGULAR, parent, ..FileRecord::default() };
        assert_eq!(named(file), (".../images/*".to_owned(), Some(".../images/*".to_owned()), None));
    }

    #[test]
    fn files_ask_nothing_of_sockets_and_many_connections_ask_once() {
        let mut namer = Namer::new();
        let file = FileRecord { mode: file_type::REGULAR, fd: -1, ..FileRecord::default() };
        namer.names(&vec![file; 100]);
        assert_eq!(namer.networks().looks(), 0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = FileRecord {
            mode: file_type::SOCKET,
            family: family::INET,
            protocol: protocol::TCP,
            local_port: listener.local_addr().unwrap().port(),
            remote_port: 40_000u16.to_be(),
            ..file
        };
        namer.names(&vec![connection; 100]);
        assert_eq!(namer.networks().looks(), 1);
        namer.names(&vec![connection; 100]);
        assert_eq!(namer.networks().looks(), 1, "more of a port that is known to be listened on");
        namer.names(&vec![FileRecord { local_port: 1, ..connection }; 100]);
        assert_eq!(namer.networks().looks(), 2, "one that nothing explains");
    }
}
