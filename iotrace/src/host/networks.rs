//! The network namespaces that sockets of the target are in. A target in a container has one of its own, and each has
//! listeners and names of its own: two containers may both listen on port 80.

use std::collections::{HashMap, HashSet};

use iotrace_ebpf::abi::{FileRecord, listener};

use super::namespaces;
use super::sockets::{Home, Sockets};

/// Namespaces of which something is kept; each is small, and containers that come and go leave theirs behind.
const MOST: usize = 1024;

/// What is known of the sockets in each network namespace. Nothing is looked at unless that is asked for.
#[derive(Debug, Default)]
pub struct Networks {
    /// A process that was seen in a namespace, by its inode number.
    homes: HashMap<u32, u32>,
    spaces: HashMap<u32, Sockets>,
    looks: u64,
}

impl Networks {
    /// Notes a process, for sockets of its namespace that are announced after it has ended.
    pub fn know(&mut self, pid: u32) {
        if let Some(inode) = namespaces::inode(&pid.to_string(), "net") {
            self.lives_in(inode as u32, pid);
        }
    }

    fn lives_in(&mut self, namespace: u32, pid: u32) {
        if self.homes.len() >= MOST && !self.homes.contains_key(&namespace) {
            self.homes.clear();
        }
        self.homes.insert(namespace, pid);
    }

    /// How often the sockets of a namespace were looked at so far.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Looks at who listens in the namespace of iotrace, and in those of the processes that are known.
    pub fn look_around(&mut self) {
        let mut known: HashSet<u32> = self.homes.keys().copied().collect();
        known.insert(own());
        for namespace in known.into_iter().take(MOST) {
            self.look(namespace, &[], Sockets::look_at_listeners);
        }
    }

    /// Looks anew at who listens in the namespace of a socket; whether that is possible.
    pub fn look_at_listeners(&mut self, file: &FileRecord) -> bool {
        self.look(file.head.reserved, &users(file), Sockets::look_at_listeners)
    }

    /// Looks anew at the paths of AF_UNIX sockets, `wanted` by their inodes, in the namespace of one of them.
    pub fn look_at_paths(&mut self, file: &FileRecord, wanted: &HashSet<u64>) {
        let look = |sockets: &mut Sockets, home: &Home| sockets.look_at_paths(home, wanted);
        self.look(file.head.reserved, &users(file), look);
    }

    /// Whether somebody listened on the local port of a socket, in its namespace, when that was looked at; `None`: it was
    /// not, as no process is known there.
    pub fn listens(&self, file: &FileRecord) -> Option<bool> {
        let ports = self.spaces.get(&file.head.reserved)?.listening()?;
        Some(ports.contains(&file.local_port))
    }

    /// The path or abstract name that a socket is bound to, as far as known.
    pub fn path(&self, file: &FileRecord) -> Option<String> {
        self.spaces.get(&file.head.reserved)?.path(file.inode)
    }

    /// Everything that is listened on, as the probes want it, see [`listener`].
    pub fn listening(&self) -> HashSet<u64> {
        let ports = |(&namespace, sockets): (&u32, &Sockets)| {
            let ports: Vec<u16> = sockets.listening().into_iter().flatten().copied().collect();
            ports.into_iter().map(move |port| listener(namespace, port))
        };
        self.spaces.iter().flat_map(ports).collect()
    }

    fn look(&mut self, namespace: u32, users: &[u32], at: impl FnOnce(&mut Sockets, &Home)) -> bool {
        let Some(home) = self.home(namespace, users) else { return false };
        if self.spaces.len() >= MOST && !self.spaces.contains_key(&namespace) {
            self.spaces.clear();
        }
        self.looks += 1;
        at(self.spaces.entry(namespace).or_default(), &home);
        true
    }

    /// A process in a namespace, which need not be that of those who use its socket.
    fn home(&mut self, namespace: u32, users: &[u32]) -> Option<Home> {
        // 0: the probes did not tell.
        if namespace == 0 || namespace == own() {
            return Some(Home::own());
        }
        let known = self.homes.get(&namespace).copied();
        let mut all = users.iter().copied().chain(known);
        let (user, home) = all.find_map(|user| Some((user, Home::of(user, namespace)?)))?;
        self.lives_in(namespace, user);
        Some(home)
    }
}

/// Process and thread that use a file; a thread may be in a namespace of its own.
fn users(file: &FileRecord) -> [u32; 2] {
    [file.head.tgid, file.head.tid]
}

/// Inode number of the namespace of iotrace; 0, as the probes have it, where the kernel has no such namespaces.
fn own() -> u32 {
    namespaces::inode("self", "net").unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_namespace_without_any_process_is_not_looked_at() {
        let mut networks = Networks::default();
        let mut file = FileRecord::default();
        file.head.reserved = u32::MAX;
        networks.look_at_paths(&file, &HashSet::from([7]));
        assert!(!networks.look_at_listeners(&file));
        assert_eq!((networks.listens(&file), networks.path(&file), networks.looks()), (None, None, 0));
    }

    #[test]
    fn a_port_belongs_to_its_namespace() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut networks = Networks::default();
        networks.look_around();
        let mut file = FileRecord { local_port: port, ..FileRecord::default() };
        file.head.reserved = own();
        assert_eq!(networks.listens(&file), Some(true));
        assert!(networks.listening().contains(&listener(own(), port)));
        file.head.reserved += 1;
        assert_eq!(networks.listens(&file), None);
        assert!(!networks.listening().contains(&listener(own() + 1, port)));
    }
}
