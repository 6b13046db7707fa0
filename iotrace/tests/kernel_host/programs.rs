//! Programs of others: found, started on loopback, counted by perf, and ended by their id.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::trace::PATIENCE;

/// The file of a program that must be there.
pub fn require(name: &str) -> String {
    // Debian's own first: what else bears the name may be a wrapper that starts something else.
    let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|folder| Path::new(folder).join(name));
    let found = found.iter().find(|file| file.exists());
    let found = found.unwrap_or_else(|| panic!("{name} is not installed: `cargo xtask setup --test`"));
    found.to_string_lossy().into_owned()
}

/// A folder for one test.
pub fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("iotrace-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// A started program, killed when dropped.
pub struct Program(Child);

impl Program {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().expect("it starts"))
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Waits until it takes connections.
    pub fn listens(&self, port: u16) {
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// The same for one that takes a single connection: looks whether the port is taken.
    pub fn listens_without_connecting(&self, port: u16) {
        let wanted = format!(":{port:04X} ");
        until(|| {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
            table.lines().any(|line| line.contains(&wanted) && line.contains(" 0A "))
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(there: impl Fn() -> bool) {
    let asked = Instant::now();
    while !there() {
        assert!(asked.elapsed() < PATIENCE, "the program does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `perf stat` on a process.
pub struct Perf {
    child: Child,
    syscalls: Vec<String>,
}

impl Perf {
    /// Counts the enters of syscalls, from when this returns.
    pub fn count(pid: i32, syscalls: &[&str]) -> Self {
        let events: Vec<String> = syscalls.iter().map(|name| format!("syscalls:sys_enter_{name}")).collect();
        let mut command = Command::new(require("perf"));
        command.args(["stat", "-x", ",", "-e", &events.join(","), "-p", &pid.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("perf starts");
        // It does not say when it has begun: it counts once its events are open.
        let opened = || {
            let folder = format!("/proc/{}/fd", child.id());
            let links = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let open = links.filter(|link| {
                std::fs::read_link(link.path())
                    .is_ok_and(|target| target.as_os_str() == "anon_inode:[perf_event]")
            });
            open.count() >= syscalls.len()
        };
        until(opened);
        std::thread::sleep(Duration::from_millis(100));
        Self { child, syscalls: syscalls.iter().map(|&name| name.to_owned()).collect() }
    }

    /// Ends it: syscalls and how often they were entered.
    pub fn stop(self) -> Vec<(String, u64)> {
        // SAFETY: a plain call on our own child, which was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) }, 0);
        let out = self.child.wait_with_output().expect("our own child");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        let count = |name: &String| {
            let line = text.lines().find(|line| line.contains(&format!("sys_enter_{name},")));
            let number = line.and_then(|line| line.split(',').next()).and_then(|word| word.parse().ok());
            number.unwrap_or_else(|| panic!("perf counted no {name}: {text}"))
        };
        self.syscalls.iter().map(|name| (name.clone(), count(name))).collect()
    }
}
