//! Names descriptors, by what the probes read of the file and, while it is open, by its link in `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use iotrace_core::domain::{Fd, WaitsFor, name};
use iotrace_ebpf::abi::kernel::{family, file_type, protocol};
use iotrace_ebpf::abi::{FOLDED, FileRecord, SHARED};

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
        let mut listeners = HashSet::new();
        // Nameless AF_UNIX sockets by their inodes, with one of them, in each network namespace.
        let mut nameless: HashMap<u32, (&FileRecord, HashSet<u64>)> = HashMap::new();
        for file in files.iter().filter(|file| is_socket(file)) {
            let network = file.head.reserved;
            if is_connection(file) {
                let unexplained = self.networks.listens(file) != Some(true);
                if unexplained && !listeners.contains(&network) && self.networks.look_at_listeners(file) {
                    listeners.insert(network);
                }
            } else if file.family == family::UNIX && self.networks.path(file).is_none() {
                nameless.entry(network).or_insert_with(|| (file, HashSet::new())).1.insert(file.inode);
            }
        }
        for (file, wanted) in nameless.values() {
            self.networks.look_at_paths(file, wanted);
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
    let read = || fs::read_link(&entry).ok().map(PathBuf::into_os_string);
    let link = read()?;
    let fits = is_named(&link, name_bytes(&file.name));
    // The link is read again, since the descriptor may have become another file between the two reads.
    let same = fits && fs::metadata(&entry).is_ok_and(|data| data.ino() == file.inode);
    (same && read()? == link).then(|| name::of_path(link.as_bytes()))
}

/// Whether a path ends with the last component that the kernel knew, which is cut to fit. The link of a removed file has
/// more behind it.
fn is_named(link: &OsStr, known: &[u8]) -> bool {
    let last = link.as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    link.as_bytes().starts_with(b"/") && (last.starts_with(known) || known == b"/")
}

/// Last component of the path, as the kernel knew it.
fn known_name(file: &FileRecord) -> String {
    text(&file.name)
}

/// Bytes up to the first zero.
fn name_bytes(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    name::of(name_bytes(bytes))
}

/// Whether a file is an eventfd, an epoll set or the like: their dentries have names in brackets. A regular file may be
/// called so, too; the probes tell it by its inode, whose files all have one number ([`SHARED`]). Where a number stands
/// for many files, the directory tells: the parent of such a dentry is itself (`d_alloc_pseudo`, `fs/dcache.c`).
fn is_anonymous(file: &FileRecord) -> bool {
    let name = name_bytes(&file.name);
    let in_brackets = name.starts_with(b"[") && name.ends_with(b"]");
    let by_directory = file.file & FOLDED != 0 && file.mode & file_type::MASK == file_type::REGULAR;
    let is_file = if by_directory { name_bytes(&file.parent) != name } else { file.file & SHARED != 0 };
    in_brackets && !is_file
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
#[path = "fd_tests.rs"]
mod tests;
