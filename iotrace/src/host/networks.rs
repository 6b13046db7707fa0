//! What the sockets of a network namespace are called, and which ports are listened on there. A target in a container has
//! a namespace of its own, whose tables only `/proc/PID/net` of a process in it shows.

use std::collections::{HashMap, HashSet};
use std::fs;

use iotrace_ebpf::abi::FileRecord;

use super::namespaces;

/// Looks at network namespaces, each table at most once between two calls of [`Networks::refresh`].
#[derive(Debug, Default)]
pub struct Networks {
    /// A process that was seen in a namespace, by its inode number.
    homes: HashMap<u32, u32>,
    /// TCP ports in state LISTEN.
    listening: HashMap<u32, HashSet<u16>>,
    /// Names of AF_UNIX sockets, by inode number of the socket.
    paths: HashMap<u32, HashMap<u64, String>>,
}

impl Networks {
    /// What was read is old by now.
    pub fn refresh(&mut self) {
        self.listening.clear();
        self.paths.clear();
    }

    /// Notes a process, for sockets of its namespace that are announced after it has ended.
    pub fn know(&mut self, pid: u32) {
        if let Some(inode) = namespaces::inode(&pid.to_string(), "net") {
            self.homes.insert(inode as u32, pid);
        }
    }

    /// Whether somebody listens on the local port of a socket, in its namespace; `None` where no process is known in that.
    pub fn listens(&mut self, file: &FileRecord) -> Option<bool> {
        let namespace = file.head.reserved;
        if !self.listening.contains_key(&namespace) {
            let home = self.home(file)?;
            let tables = ["tcp", "tcp6"].map(|table| read(&home, table));
            let ports = tables.iter().flat_map(|table| table.lines().skip(1).filter_map(listening)).collect();
            self.listening.insert(namespace, ports);
        }
        Some(self.listening.get(&namespace)?.contains(&file.local_port))
    }

    /// The path or abstract name that a socket is bound to.
    pub fn unix_path(&mut self, file: &FileRecord) -> Option<String> {
        let namespace = file.head.reserved;
        if !self.paths.contains_key(&namespace) {
            let table = read(&self.home(file)?, "unix");
            self.paths.insert(namespace, table.lines().skip(1).filter_map(bound).collect());
        }
        self.paths.get(&namespace)?.get(&file.inode).cloned()
    }

    /// The directory in `/proc` of a process in the namespace of a socket, which need not be the namespace of the process
    /// that uses it.
    fn home(&mut self, file: &FileRecord) -> Option<String> {
        let namespace = file.head.reserved;
        let is_there =
            |process: &str| namespaces::inode(process, "net").is_some_and(|inode| inode as u32 == namespace);
        // 0: the probes did not tell.
        if namespace == 0 || is_there("self") {
            return Some("self".to_owned());
        }
        let user = file.head.tgid;
        if is_there(&user.to_string()) {
            self.homes.insert(namespace, user);
        }
        let home = self.homes.get(&namespace)?.to_string();
        is_there(&home).then_some(home)
    }
}

fn read(process: &str, table: &str) -> String {
    // A name in it is any bytes.
    let bytes = fs::read(format!("/proc/{process}/net/{table}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The local port of a line of `/proc/net/tcp`, if it is listened on. State 0A is TCP_LISTEN; the local address is
/// `HEX:PORT`, proc_net_tcp(5).
fn listening(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let port = columns.next()?.rsplit(':').next()?;
    (columns.nth(1)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
}

/// Inode number and name in a line of `/proc/net/unix`, of a socket that is bound.
fn bound(line: &str) -> Option<(u64, String)> {
    let mut columns = line.split_whitespace().skip(6);
    let inode = columns.next()?.parse().ok()?;
    Some((inode, columns.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_told_from_a_connected_one() {
        let listens =
            "   0: 0100007F:1E83 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1 1 0 100 0";
        assert_eq!(listening(listens), Some(0x1e83));
        assert_eq!(listening(&listens.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address"), None);
    }

    #[test]
    fn a_socket_that_is_not_bound_has_no_name() {
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 4242 /run/x.sock";
        assert_eq!(bound(line), Some((4242, "/run/x.sock".to_owned())));
        assert_eq!(bound(line.trim_end_matches(" /run/x.sock")), None);
    }

    #[test]
    fn a_namespace_without_any_process_is_not_looked_at() {
        let mut networks = Networks::default();
        let mut file = FileRecord::default();
        file.head.reserved = u32::MAX;
        assert_eq!((networks.listens(&file), networks.unix_path(&file)), (None, None));
    }
}
