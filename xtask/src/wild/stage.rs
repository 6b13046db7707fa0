//! Where a scene is played: a directory of its own, free ports, and the processes that it starts. All of it is gone
//! when the scene is over.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// How long a program may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of one scene.
pub struct Stage {
    /// A directory that every user may enter.
    pub dir: PathBuf,
    /// The iotrace to check.
    pub iotrace: PathBuf,
}

impl Stage {
    /// Makes the directory.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(iotrace: &Path) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("iotrace-wild-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        Ok(Self { dir, iotrace: iotrace.to_owned() })
    }

    /// A directory in that of the stage, which belongs to a user.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn room(&self, name: &str, user: &User) -> Result<PathBuf> {
        let room = self.dir.join(name);
        fs::create_dir_all(&room).with_context(|| format!("cannot make {}", room.display()))?;
        fs::set_permissions(&room, Permissions::from_mode(0o700))?;
        std::os::unix::fs::chown(&room, Some(user.uid), Some(user.gid))?;
        Ok(room)
    }

    /// A file that every user may read.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let file = self.dir.join(name);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        Ok(file)
    }

    /// Starts a program as a user. What it prints goes to a file.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(&self, command: &mut Command, user: &User) -> Result<Started> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = self.dir.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdout(out.try_clone()?).stderr(out).current_dir(&self.dir);
        user.becomes(command);
        let child = command.spawn().with_context(|| format!("cannot start {}", process::shown(command)))?;
        Ok(Started { child, name, log })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed stays in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Who runs a program.
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Nobody, who owns nothing.
    pub const NOBODY: Self = Self { uid: 65534, gid: 65534 };
    /// Root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// A user of this machine.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let all = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let line = all.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = line.into_iter().find(|fields| fields[0] == name && fields.len() > 3);
        let fields = fields.with_context(|| format!("there is no user {name}"))?;
        Ok(Self { uid: fields[2].parse()?, gid: fields[3].parse()? })
    }

    /// A command runs as this user, in a process group of its own, and dies with the harness.
    pub fn becomes(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid).process_group(0);
        // SAFETY: the closure runs between fork and exec and makes one system call, which needs no lock.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
    }
}

/// A program that runs; it ends when this is dropped.
pub struct Started {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Started {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if that is a pipe.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process and all descendants, as they are now.
    pub fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.pid()];
        let parents = parents();
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            tree.extend(parents.iter().filter(|&&(_, of)| of == parent).map(|&(pid, _)| pid));
            next += 1;
        }
        tree
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// Where the program ends before, or it takes too long; with what it printed.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !holds() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let why =
                    ended.map_or("it takes too long".to_owned(), |status| format!("it ended: {status}"));
                bail!("{}: {what}: {why}\n{}", self.name, self.said());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until it listens on a port.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn listens(&mut self, port: u16) -> Result<()> {
        self.until("waiting for its port", || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Waits for its end; what it printed.
    ///
    /// # Errors
    /// Where it does not end with status 0.
    pub fn finish(&mut self) -> Result<String> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{}: {status}\n{}", self.name, self.said());
        }
        Ok(self.said())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // The whole group: workers of a server outlive it otherwise.
        let group = -self.child.id().cast_signed();
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            // SAFETY: kill takes numbers; the child is not waited for yet, so that no other process has its id.
            unsafe { libc::kill(group, signal) };
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// SIGINT, as by Ctrl-C.
pub fn interrupt(child: &Child) {
    // SAFETY: kill takes numbers; nobody has waited for the child yet, so its id is not another's.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
}

/// All processes, with their parents.
fn parents() -> Vec<(u32, u32)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in brackets may hold anything; state and parent come behind it.
        Some((pid, stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?))
    };
    all.filter_map(parent).collect()
}

/// A TCP port that is free now.
///
/// # Errors
/// Where there is none.
pub fn tcp_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}

/// A UDP port that is free now.
///
/// # Errors
/// Where there is none.
pub fn udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}

/// Where a program is.
///
/// # Errors
/// Where there is none of that name.
pub fn program(name: &str) -> Result<PathBuf> {
    // Debian's own, not a wrapper that comes first on PATH.
    let debian =
        ["/usr/bin", "/usr/sbin"].iter().map(|dir| Path::new(dir).join(name)).find(|file| file.exists());
    debian.or_else(|| process::find(name)).with_context(|| format!("there is no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found() {
        let own = std::process::id();
        assert!(parents().iter().any(|&(pid, parent)| pid == own && parent > 0));
    }

    #[test]
    fn users_are_found() {
        assert_eq!(User::named("root").map(|user| user.uid).ok(), Some(0));
        assert!(User::named("no such user").is_err());
    }
}
