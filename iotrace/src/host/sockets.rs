//! What sockets there are in one network namespace: TCP ports that are listened on, and paths of AF_UNIX sockets.
//!
//! By `sock_diag(7)`; the tables in `/proc/PID/net` are read where that does not answer.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use iotrace_core::domain::name;

use super::bounded;
use super::diag;

/// Names of AF_UNIX sockets that are kept of a namespace; with more, those that were asked for before are dropped.
const PATHS: usize = 4096;
/// Most that is read of a table, bytes: some 400,000 sockets. A longer one is not used.
const TABLE: u64 = 64 << 20;

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

    /// A table without its heading; `None`: the process has ended, or the kernel has no such table.
    fn table(&self, name: &str) -> Option<Vec<u8>> {
        let mut table =
            bounded::read(Path::new(&format!("/proc/{}/net/{name}", self.process)), TABLE).ok()?;
        let heading = table.iter().position(|&byte| byte == b'\n')?;
        table.drain(..=heading);
        Some(table)
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
        self.paths.get(&inode).map(|path| name::of(path))
    }

    /// Looks anew at which TCP ports are listened on.
    pub fn look_at_listeners(&mut self, home: &Home) {
        let told = self.ask(home, diag::listening).or_else(|| {
            let lines = [home.table("tcp")?, home.table("tcp6").unwrap_or_default()].concat();
            Some(lines.split(|&byte| byte == b'\n').filter_map(listening_in).collect())
        });
        self.listening = told.or_else(|| self.listening.take());
    }

    /// Looks anew at the paths of those of the `wanted` AF_UNIX sockets that have one.
    pub fn look_at_paths(&mut self, home: &Home, wanted: &HashSet<u64>) {
        let told = self
            .ask(home, |socket| diag::paths(socket, wanted))
            .or_else(|| Some(paths_in(&home.table("unix")?, wanted)));
        if self.paths.len() >= PATHS {
            self.paths.clear();
        }
        self.paths.extend(told.into_iter().flatten());
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

/// Inodes and paths of the `wanted` sockets in `/proc/net/unix`. A name may have a newline in it and forge a line for
/// another socket. That has a line of its own, so a socket with two lines has no name that can be believed. What is no
/// line of the table is the rest of a name.
fn paths_in(table: &[u8], wanted: &HashSet<u64>) -> Vec<(u64, Vec<u8>)> {
    let mut found: HashMap<u64, Option<Vec<u8>>> = HashMap::new();
    let mut twice = HashSet::new();
    let mut last = None;
    for line in table.split(|&byte| byte == b'\n') {
        match socket_in(line) {
            Some((inode, path)) if wanted.contains(&inode) => {
                last = Some(inode);
                if found.insert(inode, path).is_some() {
                    twice.insert(inode);
                }
            }
            Some(_) => last = None,
            None => {
                if let Some(Some(path)) = last.and_then(|inode| found.get_mut(&inode)) {
                    path.push(b'\n');
                    path.extend(line);
                }
            }
        }
    }
    found.retain(|inode, _| !twice.contains(inode));
    // The table ends with a newline.
    let whole = |path: Vec<u8>| path.strip_suffix(b"\n").map_or_else(|| path.clone(), <[u8]>::to_vec);
    found.into_iter().filter_map(|(inode, path)| Some((inode, whole(path?)))).collect()
}

/// Inode and path in a line of `/proc/net/unix` (`unix_seq_show`, `net/unix/af_unix.c`): address, five numbers in
/// hexadecimal, and the inode, padded with blanks to five columns. `None`: it is no such line.
fn socket_in(line: &[u8]) -> Option<(u64, Option<Vec<u8>>)> {
    let mut columns = line.splitn(7, |&byte| byte == b' ');
    let is_hex = |column: &[u8]| !column.is_empty() && column.iter().all(u8::is_ascii_hexdigit);
    if !columns.next()?.strip_suffix(b":").is_some_and(is_hex) {
        return None;
    }
    for _ in 0..5 {
        columns.next().filter(|column| is_hex(column))?;
    }
    let rest = columns.next()?.trim_ascii_start();
    let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
    let inode = str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((inode, rest.get(end + 1..).map(<[u8]>::to_vec)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::host::fixed;

    fn inode(fd: &impl AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().ino()
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
            sockets.look_at_paths(&Home::own(), &HashSet::from([inode(&unix)]));
            for listener in ports.iter().flatten() {
                assert!(sockets.listening().unwrap().contains(&of(listener)), "{refused}");
            }
            assert_eq!(sockets.path(inode(&unix)).as_deref(), path.to_str(), "{refused}");
        }
        drop(unix);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_listening_port_is_told_from_a_connected_one() {
        let line =
            "   0: 0100007F:1E83 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1 1 0 100 0";
        assert_eq!(listening_in(line.as_bytes()), Some(0x1e83));
        assert_eq!(listening_in(line.replace(" 0A ", " 01 ").as_bytes()), None);
    }

    const LINE: &[u8] = b"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b\xff";

    fn paths(table: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut paths = paths_in(table, &HashSet::from([12345, 17]));
        paths.sort();
        paths
    }

    #[test]
    fn names_of_any_bytes_are_taken_as_they_are() {
        assert_eq!(paths(LINE), [(12345, b"/run/a b\xff".to_vec())]);
        let nameless = b"00000000: 00000002 00000000 00000000 0001 03    17";
        assert_eq!(paths(nameless), []);
        assert_eq!(paths(&[&nameless[..], b" @x\n"].concat()), [(17, b"@x".to_vec())]);
        assert_eq!(
            paths(&[LINE, b"\nand more\n", nameless].concat()),
            [(12345, b"/run/a b\xff\nand more".to_vec())]
        );
        for garbage in [
            &b""[..],
            b"\n\n",
            b"a: b",
            b"0: 0 0 0 0 0",
            b"0: 0 0 0 0 0 ",
            b"0: 0 0 0 0 0 99999999999999999999999",
        ] {
            assert_eq!(paths(garbage), []);
        }
    }

    #[test]
    fn a_newline_in_a_name_forges_no_other() {
        let victim = b"0000000000000000: 00000003 00000000 00000000 0001 03 17";
        let forged = b" @x\n0000000000000000: 00000002 00000000 00010000 0001 01 17 /run/evil\n";
        for table in [[LINE, forged, victim], [victim, &[b"\n", LINE].concat(), forged]] {
            let told = paths(&table.concat());
            assert!(told.iter().all(|(inode, _)| *inode != 17), "{told:?}");
        }
    }

    proptest! {
        #![proptest_config(fixed())]

        #[test]
        fn any_table_is_read_without_a_panic(mut table in vec(any::<u8>(), 0..400), places in vec(any::<Index>(), 0..6)) {
            // Lines of the table among the garbage, cut anywhere.
            for place in places {
                let at = place.index(table.len() + 1);
                table.splice(at..at, LINE.iter().chain(b"\n").copied().take(1 + place.index(LINE.len() + 1)));
            }
            let told = paths(&table);
            prop_assert!(told.iter().map(|(_, path)| path.len()).sum::<usize>() <= table.len());
            let _ = table.split(|&byte| byte == b'\n').filter_map(listening_in).count();
        }
    }
}
