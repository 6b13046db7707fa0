//! Finds the place that a path names, and trusts no symbolic link of somebody else on the way.
//!
//! iotrace runs as root and writes where it is told, which may be a directory of a user who plants links there. The kernel
//! protects sticky directories only (fs.protected_symlinks, `may_follow_link` in fs/namei.c). Here its rule holds
//! everywhere: a link is followed if it belongs to root or to us, or to the owner of what it leads to.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use iotrace_core::domain::name::in_a_sentence;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::geteuid;

use crate::host::identity::Identity;

/// Most links on the way, as the kernel has it (`MAXSYMLINKS`, path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// What a path names: an entry of a directory that is held open, whatever happens to the names that led there.
#[derive(Debug)]
pub struct Found {
    /// The directory, opened with O_PATH.
    pub dir: OwnedFd,
    /// The name in it. Never `.`, `..` or empty, and no symbolic link.
    pub name: OsString,
    /// What it names, opened with O_PATH; `None` where nothing has that name yet.
    pub object: Option<File>,
    /// Whether the name is a link of `/proc` (such as `/proc/self/fd/1`), which only the kernel can follow.
    pub by_kernel: bool,
}

impl Found {
    /// What is known of the object.
    ///
    /// # Errors
    /// Of `fstat`.
    pub fn metadata(&self) -> io::Result<Option<Metadata>> {
        self.object.as_ref().map(File::metadata).transpose()
    }

    /// The owner of what the path leads to; of the directory, where that does not exist yet.
    fn owner(&self) -> io::Result<u32> {
        match self.metadata()? {
            Some(metadata) => Ok(metadata.uid()),
            None => Ok(File::from(self.dir.try_clone()?).metadata()?.uid()),
        }
    }
}

/// Finds the place that `path` names.
///
/// # Errors
/// A directory on the way does not exist or may not be searched; a link is not to be trusted; the path names a
/// directory, or a file of somebody else in a directory where everybody may make files.
pub fn find(path: &OsStr) -> io::Result<Found> {
    let found = walk(open(AT_FDCWD, OsStr::new("."), OFlag::O_DIRECTORY)?, path, 0)?;
    if let Some(metadata) = found.metadata()? {
        if metadata.is_dir() {
            return Err(Errno::EISDIR.into());
        }
        if metadata.is_file() || metadata.file_type().is_fifo() {
            refuse_bait(&found, &metadata)?;
        }
    }
    Ok(found)
}

/// Where everybody may make files (/tmp), a file or FIFO of somebody else waits there to be written to: the kernel
/// refuses these to who opens them with O_CREAT (fs.protected_regular, fs.protected_fifos, `may_create_in_sticky` in
/// fs/namei.c).
fn refuse_bait(found: &Found, metadata: &Metadata) -> io::Result<()> {
    let dir = File::from(found.dir.try_clone()?).metadata()?;
    let for_many = dir.mode() & libc::S_ISVTX != 0 && dir.mode() & (libc::S_IWOTH | libc::S_IWGRP) != 0;
    let behind = Identity::behind_sudo().map(|who| who.uid);
    let ours = [Some(dir.uid()), Some(geteuid().as_raw()), behind].contains(&Some(metadata.uid()));
    if for_many && !ours {
        return Err(io::Error::other(format!(
            "it belongs to uid {}, in a directory where everybody may put files",
            metadata.uid()
        )));
    }
    Ok(())
}

fn open(dir: impl AsFd, name: &OsStr, flags: OFlag) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, OFlag::O_PATH | OFlag::O_CLOEXEC | flags, Mode::empty())?)
}

/// Follows `path` from the directory `dir`, after `links` links.
fn walk(mut dir: OwnedFd, path: &OsStr, links: u32) -> io::Result<Found> {
    let bytes = path.as_bytes();
    if bytes.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if bytes.starts_with(b"/") {
        dir = open(AT_FDCWD, OsStr::new("/"), OFlag::O_DIRECTORY)?;
    }
    // What ends with `/` or `/.` names a directory.
    let must_be_directory = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let mut names: Vec<&OsStr> = bytes
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(OsStr::from_bytes)
        .collect();
    let last = match names.pop() {
        Some(last) if !must_be_directory && last != ".." => last,
        _ => return Err(Errno::EISDIR.into()),
    };
    for name in names {
        let found = step(dir, name, links)?;
        dir = found.object.ok_or(Errno::ENOENT)?.into();
    }
    step(dir, last, links)
}

/// Follows one name in `dir`.
fn step(dir: OwnedFd, name: &OsStr, links: u32) -> io::Result<Found> {
    let object = match open(&dir, name, OFlag::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        other => Some(File::from(other?)),
    };
    let Some(object) = object else {
        return Ok(Found { dir, name: name.to_owned(), object: None, by_kernel: false });
    };
    let metadata = object.metadata()?;
    if !metadata.is_symlink() {
        return Ok(Found { dir, name: name.to_owned(), object: Some(object), by_kernel: false });
    }
    if fstatfs(&object)?.filesystem_type() == PROC_SUPER_MAGIC {
        // Links of /proc are made by the kernel, and their text need not be a path: "pipe:[4711]".
        let object = File::from(open(&dir, name, OFlag::empty())?);
        return Ok(Found { dir, name: name.to_owned(), object: Some(object), by_kernel: true });
    }
    if links == MOST_LINKS {
        return Err(Errno::ELOOP.into());
    }
    let text = readlinkat(&object, OsStr::new(""))?;
    // A link may lead to a directory (`dir -> ..`), which is no place to write to but one to go on from.
    let found = match walk(dir.try_clone()?, &text, links + 1) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => directory(dir, &text, links + 1)?,
        other => other?,
    };
    let owner = found.owner()?;
    if !is_trusted(metadata.uid(), geteuid().as_raw(), owner) {
        let name = in_a_sentence(name.as_bytes());
        return Err(io::Error::other(format!(
            "the symbolic link {name} belongs to uid {}, and what it leads to belongs to uid {owner}",
            metadata.uid()
        )));
    }
    Ok(found)
}

/// Whether a link of `uid` may be followed by `us` to what belongs to `owner`.
fn is_trusted(uid: u32, us: u32, owner: u32) -> bool {
    [0, us, owner].contains(&uid)
}

/// The directory that the text of a link names, if it ends with `/`, `.` or `..`, or is nothing else.
fn directory(dir: OwnedFd, text: &OsStr, links: u32) -> io::Result<Found> {
    let mut inside = text.to_owned().into_vec();
    // Any name will do to have its directory opened by the same rules.
    inside.extend(b"/\xff");
    let found = walk(dir, OsStr::from_bytes(&inside), links)?;
    let object = Some(File::from(found.dir.try_clone()?));
    Ok(Found { object, ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_somebody_else_leads_only_to_what_is_theirs() {
        let (root, us, other) = (0, 1000, 1001);
        assert!(is_trusted(root, us, other) && is_trusted(us, us, other) && is_trusted(other, us, other));
        assert!(!is_trusted(other, us, us) && !is_trusted(other, us, root) && !is_trusted(us, root, root));
        assert!(!is_trusted(us, root, other));
    }
}
