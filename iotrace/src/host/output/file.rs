//! A regular file: written whole under no name, then put in its place at once.
//!
//! Until then the file has no name (O_TMPFILE, open(2)), so nobody can guess or follow it, and nothing is left of an
//! iotrace that is killed. Where the filesystem has no such files, it has a name that is not to be guessed. What was there
//! before stays until the new file is complete, and its owner and permissions are kept.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, UnlinkatFlags, close, fchown, linkat, unlinkat};

use crate::host::identity::Identity;

/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;
/// Permissions of a new file, of which the umask takes its part.
const NEW: Mode = Mode::from_bits_truncate(0o666);
/// How often a random name may be taken already: once is improbable.
const NAMES: u32 = 8;

/// Where a regular file is, or will be.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    /// The name in the directory.
    pub fn new(dir: OwnedFd, name: OsString) -> Self {
        Self { dir, name }
    }

    /// Another handle on the same place.
    ///
    /// # Errors
    /// Too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, name: self.name.clone() })
    }

    /// Whether both are one name in one directory.
    ///
    /// # Errors
    /// Of `fstat`.
    pub fn is(&self, other: &Self) -> io::Result<bool> {
        let inode = |place: &Self| -> io::Result<(u64, u64)> {
            let metadata = File::from(place.dir.try_clone()?).metadata()?;
            Ok((metadata.dev(), metadata.ino()))
        };
        Ok(self.name == other.name && inode(self)? == inode(other)?)
    }

    /// Checks that a file can be put here, and leaves nothing.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> io::Result<()> {
        if self.name.len() > 255 {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        let old = self.old()?;
        if old.is_some() {
            self.refuse_fixed()?;
        }
        self.keep(&Temporary::make(&self.dir, old.is_some())?.file, old.as_ref())
    }

    /// Writes the file and puts it in its place; `each` is called after each piece.
    ///
    /// # Errors
    /// Of any step: then what was there before is still there.
    pub fn put(&self, bytes: &[u8], mut each: impl FnMut(usize)) -> io::Result<()> {
        let old = self.old()?;
        let mut temporary = Temporary::make(&self.dir, old.is_some())?;
        for chunk in bytes.chunks(CHUNK) {
            temporary.file.write_all(chunk)?;
            each(chunk.len());
        }
        self.keep(&temporary.file, old.as_ref())?;
        // Space that a filesystem only promised, or a server that is full, shows here at the latest; and what replaces
        // an old result must not be empty after a crash.
        temporary.file.sync_all()?;
        each(0);
        temporary.name_it(&self.name, old.is_some())
    }

    /// Makes an empty file in this place at once, in place of an old one, for what is written bit by bit and is to be
    /// readable at any time.
    ///
    /// # Errors
    /// As of [`Place::put`].
    pub fn begin(&self) -> io::Result<File> {
        let old = self.old()?;
        let temporary = Temporary::make(&self.dir, old.is_some())?;
        self.keep(&temporary.file, old.as_ref())?;
        let file = temporary.file.try_clone()?;
        temporary.name_it(&self.name, old.is_some())?;
        Ok(file)
    }

    /// The regular file that has this name now.
    fn old(&self) -> io::Result<Option<Metadata>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.dir, self.name.as_os_str(), flags, Mode::empty()) {
            Err(nix::errno::Errno::ENOENT) => Ok(None),
            other => Ok(Some(File::from(other?).metadata()?).filter(Metadata::is_file)),
        }
    }

    /// The new file gets the owner and the permissions of the old one. Where there is none it belongs to the user behind
    /// sudo, but only in a directory where that user could have made it: with a file in another (/etc/profile.d) a user
    /// who may call nothing but iotrace by sudo could do more than that.
    fn keep(&self, file: &File, old: Option<&Metadata>) -> io::Result<()> {
        let Some(old) = old else { return self.hand_over(file) };
        let (now, uid, gid) = (file.metadata()?, old.uid(), old.gid());
        if (now.uid(), now.gid()) != (uid, gid) {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|errno| {
                io::Error::other(format!("its owner, uid {uid} and gid {gid}, cannot be kept ({errno})"))
            })?;
        }
        // Not set-user-ID: what is in the file is new.
        Ok(fchmod(file, Mode::from_bits_truncate(old.mode() & 0o777))?)
    }

    /// A new file belongs to the user behind sudo where that user could have made it.
    fn hand_over(&self, file: &File) -> io::Result<()> {
        let Some(who) = Identity::behind_sudo() else { return Ok(()) };
        let dir = File::from(self.dir.try_clone()?).metadata()?;
        if dir.uid() == who.uid || dir.mode() & libc::S_IWOTH != 0 {
            // Where it cannot be (a network filesystem that maps root to nobody), a result is still better than none.
            let _ = fchown(file, Some(Uid::from_raw(who.uid)), Some(Gid::from_raw(who.gid)));
        }
        Ok(())
    }

    /// A file that cannot be replaced shows it only when that is tried, after the measurement: a mount point (EBUSY of
    /// rename(2)), an immutable file or one that may only be appended to (EPERM).
    fn refuse_fixed(&self) -> io::Result<()> {
        let name = CString::new(self.name.as_bytes())?;
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut found: libc::statx = unsafe { mem::zeroed() };
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: an open directory, a C string, and a valid place for the answer.
        let rc = unsafe { libc::statx(self.dir.as_raw_fd(), name.as_ptr(), flags, 0, &raw mut found) };
        if rc != 0 {
            return Err(io::Error::last_os_error());
        }
        for (attribute, what) in [
            (libc::STATX_ATTR_MOUNT_ROOT, "something is mounted on it"),
            (libc::STATX_ATTR_IMMUTABLE, "it is immutable (chattr +i)"),
            (libc::STATX_ATTR_APPEND, "it may only be appended to (chattr +a)"),
        ] {
            if found.stx_attributes & attribute as u64 != 0 {
                return Err(io::Error::other(format!(
                    "{what}, so it cannot be replaced; > FILE writes into it"
                )));
            }
        }
        Ok(())
    }
}

/// A file that has no name yet, or one that nobody knows, which goes with it.
struct Temporary<'a> {
    file: File,
    dir: &'a OwnedFd,
    name: Option<OsString>,
}

impl<'a> Temporary<'a> {
    /// Makes it, in the directory of the file that it is to become. `replaces`: only we may read it until it has the
    /// permissions of the old one.
    fn make(dir: &'a OwnedFd, replaces: bool) -> io::Result<Self> {
        let mode = if replaces { Mode::S_IRUSR | Mode::S_IWUSR } else { NEW };
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        match openat(dir, ".", flags | OFlag::O_TMPFILE, mode) {
            Ok(file) => return Ok(Self { file: file.into(), dir, name: None }),
            // What filesystems and kernels without it say (open(2)).
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EISDIR | nix::errno::Errno::EINVAL) => {}
            Err(error) => return Err(error.into()),
        }
        Self::named(dir, mode)
    }

    /// The same with a name.
    fn named(dir: &'a OwnedFd, mode: Mode) -> io::Result<Self> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let made = under_a_name(|name| openat(dir, name, flags, mode))?;
        Ok(Self { file: made.1.into(), dir, name: Some(made.0) })
    }

    /// Gives it its name.
    fn name_it(mut self, name: &OsStr, replaces: bool) -> io::Result<()> {
        if self.name.is_none() {
            if !replaces {
                match link(&self.file, self.dir, name) {
                    // Somebody was quicker: it is replaced, as it would have been a moment later.
                    Err(nix::errno::Errno::EEXIST) => {}
                    other => return other.map_err(io::Error::from).and_then(|()| self.close()),
                }
            }
            // There is no call that replaces a file by one without a name.
            self.name = Some(under_a_name(|name| link(&self.file, self.dir, name))?.0);
        }
        if let Some(own) = &self.name {
            renameat(self.dir, own.as_os_str(), self.dir, name)?;
        }
        self.name = None;
        self.close()
    }

    /// Closes the file; on a network filesystem its last errors come here.
    fn close(&self) -> io::Result<()> {
        Ok(close(self.file.as_fd().try_clone_to_owned()?)?)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nobody else knows the name; that it cannot be removed is no new error.
            let _ = unlinkat(self.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Gives a file without a name a name.
fn link(file: &File, dir: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    // The way of open(2) that needs no capability.
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(AT_FDCWD, own.as_str(), dir, name, AtFlags::AT_SYMLINK_FOLLOW) {
        // Where /proc is missing.
        Err(nix::errno::Errno::ENOENT) => linkat(file, "", dir, name, AtFlags::AT_EMPTY_PATH),
        other => other,
    }
}

/// Does something under a name that nobody can guess, and that is not taken.
fn under_a_name<T>(mut make: impl FnMut(&OsStr) -> nix::Result<T>) -> io::Result<(OsString, T)> {
    for _ in 0..NAMES {
        let mut random = [0u8; 8];
        // SAFETY: a valid place of that length.
        let got = unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
        if got != random.len() as isize {
            return Err(io::Error::last_os_error());
        }
        let name = OsString::from(format!(".iotrace-{:016x}", u64::from_ne_bytes(random)));
        match make(&name) {
            Err(nix::errno::Errno::EEXIST) => {}
            other => return Ok((name, other?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A filesystem without O_TMPFILE: the same result, and nothing left either.
    #[test]
    fn a_file_with_a_random_name_goes_or_becomes_the_result() {
        let path = std::env::temp_dir().join(format!("iotrace-named-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let dir = OwnedFd::from(File::open(&path).unwrap());
        let names = || fs::read_dir(&path).unwrap().count();
        let failed = Temporary::named(&dir, NEW).unwrap();
        assert_eq!(names(), 1);
        drop(failed);
        assert_eq!(names(), 0);
        for replaces in [false, true] {
            let mut made = Temporary::named(&dir, NEW).unwrap();
            made.file.write_all(b"result").unwrap();
            made.name_it(OsStr::new("f"), replaces).unwrap();
            assert_eq!((names(), fs::read(path.join("f")).unwrap()), (1, b"result".to_vec()));
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
