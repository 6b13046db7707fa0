//! What sockets there are in one network namespace: TCP ports that are listened on, and paths of AF_UNIX sockets.
//!
//! By `sock_diag(7)`; the tables in `/proc/PID/net` are read where that does not answer.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

use super::diag;

/// A process in a network namespace, through which that is looked at.
#[derive(Debug)]
pub struct Home {
    /// Its directory in `/proc`.
    process: String,
    /// The namespace; `None`: that of iotrace.
    namespace: Option<File>,
}

impl Home {
    /// The namespace of iotrace.
    pub fn own() -> Self {
        Self { process: "self".to_owned(), namespace: None }
    }

    /// The namespace with this inode number, if a process is in it.
    pub fn of(pid: u32, inode: u32) -> Option<Self> {
        let process = pid.to_string();
        let namespace = File::open(format!("/proc/{process}/ns/net")).ok()?;
        let is_it = namespace.metadata().ok()?.ino() == u64::from(inode);
        is_it.then_some(Self { process, namespace: Some(namespace) })
    }

    /// A socket that asks about the namespace. It is not kept: the namespace would live as long as that. A thread of its
    /// own enters the namespace, since a thread cannot be sure to get back into the one that it left.
    fn diag(&self) -> Option<OwnedFd> {
        let Some(namespace) = &self.namespace else { return diag::open() };
        let enter = || {
            // SAFETY: a plain call on an open descriptor, which changes this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } == 0;
            entered.then(diag::open)?
        };
        thread::scope(|scope| thread::Builder::new().spawn_scoped(scope, enter).ok()?.join().ok()?)
    }

    /// What `parse` finds in the lines of a table; `None`: the process has ended, or the kernel has no such table.
    fn table<T>(&self, name: &str, parse: fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
        let table = fs::read(format!("/proc/{}/net/{name}", self.process)).ok()?;
        Some(table.split(|&byte| byte == b'\n').skip(1).filter_map(parse).collect())
    }
}

/// The sockets of a network namespace, as far as they were looked at.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Whether sock_diag refuses there.
    refused: bool,
    listening: Option<HashSet<u16>>,
    paths: HashMap<u64, Vec<u8>>,
}

impl Sockets {
    /// TCP ports in state LISTEN; `None`: they were not looked at.
    pub fn listening(&self) -> Option<&HashSet<u16>> {
        self.listening.as_ref()
    }

    /// The path that the AF_UNIX socket with this inode is bound to, as far as known; an abstract name begins with `@`.
    pub fn path(&self, inode: u64) -> Option<String> {
        self.paths.get(&inode).map(|path| String::from_utf8_lossy(path).into_owned())
    }

    /// Looks anew at which TCP ports are listened on.
    pub fn look_at_listeners(&mut self, home: &Home) {
        let told = self.ask(home, diag::listening).or_else(|| {
            let mut ports = home.table("tcp", listening_in)?;
            ports.extend(home.table("tcp6", listening_in).into_iter().flatten());
            Some(ports)
        });
        self.listening = told.map(|ports| ports.into_iter().collect()).or_else(|| self.listening.take());
    }

    /// Looks anew at the paths of all AF_UNIX sockets.
    pub fn look_at_paths(&mut self, home: &Home) {
        let told = self.ask(home, diag::paths).or_else(|| home.table("unix", path_in));
        self.paths = told.into_iter().flatten().collect();
    }

    /// What sock_diag tells; once it has refused, it is not asked again.
    fn ask<T>(&mut self, home: &Home, what: impl FnOnce(&OwnedFd) -> Option<T>) -> Option<T> {
        if self.refused {
            return None;
        }
        let told = home.diag().and_then(|socket| what(&socket));
        self.refused = told.is_none();
        told
    }
}

/// The port of a line of `/proc/net/tcp`, if it is listened on, proc_pid_net(5): the local address is `HEX:PORT`, state 0A.
fn listening_in(line: &[u8]) -> Option<u16> {
    let mut columns = std::str::from_utf8(line).ok()?.split_whitespace().skip(1);
    let port = columns.next()?.rsplit(':').next()?;
    (columns.nth(1)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
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
        fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn listeners_and_paths_are_found_by_netlink_and_in_the_tables_alike() {
        let ports = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let of = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let path = std::env::temp_dir().join(format!("a socket {}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        for refused in [false, true] {
            let mut sockets = Sockets { refused, ..Sockets::default() };
            assert_eq!(sockets.listening(), None);
            sockets.look_at_listeners(&Home::own());
            sockets.look_at_paths(&Home::own());
            for listener in ports.iter().flatten() {
                assert!(sockets.listening().unwrap().contains(&of(listener)), "{refused}");
            }
            assert_eq!(sockets.path(inode(&unix)).as_deref(), path.to_str(), "{refused}");
        }
        drop(unix);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_listening_port_is_told_from_a_connected_one() {
        let line =
            "   0: 0100007F:1E83 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1 1 0 100 0";
        assert_eq!(listening_in(line.as_bytes()), Some(0x1e83));
        assert_eq!(listening_in(line.replace(" 0A ", " 01 ").as_bytes()), None);
    }

    #[test]
    fn names_of_any_bytes_are_taken_as_they_are() {
        let line = b"00000000: 00000002 00000000 00010000 0001 01 12345 /run/a b\xff";
        assert_eq!(path_in(line), Some((12345, b"/run/a b\xff".to_vec())));
        assert_eq!(path_in(b"00000000: 00000002 00000000 00000000 0001 03    17"), None, "no path");
        assert_eq!(
            path_in(b"00000000: 00000002 00000000 00000000 0001 03    17 @x"),
            Some((17, b"@x".to_vec()))
        );
    }
}
