//! Where results go, and how they get there: the one piece of code that writes them.
//!
//! A [`Target`] is found and checked before anything is measured or started, and holds its directory or its descriptor
//! open from then on. [`Target::write`] gives it the whole result: a regular file gets it whole or not at all, and keeps
//! the old one otherwise; a reader who does not read is given up after a time.

mod file;
mod place;
mod stream;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use iotrace_core::domain::name::in_a_sentence;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;

use super::inherited;

use self::file::Place;
use self::place::Found;
use self::stream::within;

pub use self::stream::{Patience, Stream, Trouble};

/// How long a reader may take nothing before the rest is given up.
const READER: Duration = Duration::from_secs(5);
/// The same, where the user has asked for the end.
const HURRIED: Duration = Duration::from_secs(2);
/// How long a disk or a server may take for a piece of a file, or to say that it is there for good.
const DISK: Duration = Duration::from_secs(60);

/// Where a result goes.
#[derive(Debug)]
pub struct Target {
    /// The name in messages.
    name: String,
    kind: Kind,
    /// Device and inode of what is there.
    inode: Option<(u64, u64)>,
    /// Of a character device: which.
    device: Option<u64>,
    /// The descriptor that came with the call, if it is one.
    descriptor: Option<RawFd>,
    limit: Duration,
}

#[derive(Debug)]
enum Kind {
    /// A regular file, or none yet.
    File(Place),
    /// Written as it is, by a thread that starts with the first bytes.
    Stream(Mutex<Opening>),
}

/// A stream that may not have begun.
#[derive(Debug)]
enum Opening {
    /// Opened already.
    Open(OwnedFd),
    /// Being written.
    Going(Stream),
    /// No thread could be made.
    Broken,
}

impl Target {
    /// Standard output.
    ///
    /// # Errors
    /// Where it is closed or only open for reading.
    pub fn stdout() -> io::Result<Self> {
        Self::inherited(1, "stdout".to_owned())
    }

    /// What `path` names, or will name. Nothing of it is changed, and nothing waited for.
    ///
    /// # Errors
    /// Why nothing can be written there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = in_a_sentence(path.as_os_str().as_bytes());
        let found = place::find(path.as_os_str())?;
        let metadata = found.metadata()?;
        match &metadata {
            Some(metadata) if !metadata.is_file() => Self::special(found, metadata, name),
            Some(metadata) if found.by_kernel => match own_descriptor(&found.name, metadata) {
                Some(number) => Self::inherited(number, name),
                None => {
                    Err(io::Error::other("it is an open file of another process; give the name of the file"))
                }
            },
            _ => {
                let place = Place::new(found.dir, found.name);
                place.check()?;
                let inode = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
                Ok(Self { name, kind: Kind::File(place), inode, device: None, descriptor: None, limit: DISK })
            }
        }
    }

    /// A descriptor that came with the call: standard output, or one of the shell's (`>(...)`, `3>file`).
    fn inherited(number: RawFd, name: String) -> io::Result<Self> {
        if inherited::was_closed(number) {
            return Err(io::Error::other("it is closed"));
        }
        let flags = fcntl(borrowed(number), FcntlArg::F_GETFL)?;
        let flags = OFlag::from_bits_truncate(flags);
        if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY || flags.contains(OFlag::O_PATH) {
            return Err(io::Error::other("it is not open for writing"));
        }
        // Our own handle on the same open file: what is written goes where the shell's would, after what is there.
        let fd = borrowed(number).try_clone_to_owned()?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        let stream = Self::stream(Opening::Open(file.into()), &metadata, name);
        Ok(Self { descriptor: Some(number), ..stream })
    }

    /// Something that is no regular file.
    fn special(found: Found, metadata: &Metadata, name: String) -> io::Result<Self> {
        if found.by_kernel
            && let Some(number) = own_descriptor(&found.name, metadata)
        {
            return Self::inherited(number, name);
        }
        let mut flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        if !found.by_kernel {
            flags |= OFlag::O_NOFOLLOW;
        }
        let the_same = metadata_key(metadata);
        let open = move |flags: OFlag| -> io::Result<OwnedFd> {
            let fd = openat(&found.dir, found.name.as_os_str(), flags, Mode::empty())?;
            let file = File::from(fd);
            if metadata_key(&file.metadata()?) != the_same {
                return Err(io::Error::other("it was replaced by something else"));
            }
            Ok(file.into())
        };
        if !metadata.file_type().is_fifo() {
            return Ok(Self::stream(Opening::Open(open(flags)?), metadata, name));
        }
        // Opening a FIFO waits for its reader (fifo(7)): in the thread, and from now on, so that a reader who comes
        // first finds a writer and not an end of file.
        Ok(Self::stream(Opening::Going(Stream::start(move || open(flags))?), metadata, name))
    }

    fn stream(opening: Opening, metadata: &Metadata, name: String) -> Self {
        let limit = if metadata.is_file() || metadata.file_type().is_block_device() { DISK } else { READER };
        Self {
            name,
            kind: Kind::Stream(Mutex::new(opening)),
            inode: Some((metadata.dev(), metadata.ino())),
            device: metadata.file_type().is_char_device().then(|| metadata.rdev()),
            descriptor: None,
            limit,
        }
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one result would take the place of the other, or be mixed with it. What is written to `/dev/null` is
    /// gone anyway.
    ///
    /// # Errors
    /// Of `fstat`.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        if let (Kind::File(one), Kind::File(two)) = (&self.kind, &other.kind)
            && one.is(two)?
        {
            return Ok(true);
        }
        let null = Some(libc::makedev(1, 3));
        Ok(self.inode.is_some() && self.inode == other.inode && self.device != null)
    }

    /// Whether it is standard output, by whatever name.
    pub fn is_stdout(&self) -> bool {
        self.descriptor == Some(1)
    }

    /// Whether it is this file.
    pub fn is_file(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|metadata| self.inode == Some((metadata.dev(), metadata.ino())))
    }

    /// Makes the file at once and empty, for what is written bit by bit.
    ///
    /// # Errors
    /// Where it cannot be made, or a reader could hold up who writes.
    pub fn begin(&self) -> io::Result<File> {
        let opening = match &self.kind {
            Kind::File(place) => return place.begin(),
            Kind::Stream(opening) => opening.lock().unwrap_or_else(PoisonError::into_inner),
        };
        match &*opening {
            Opening::Open(fd) if self.limit == DISK || self.device.is_some() => {
                Ok(File::from(fd.try_clone()?))
            }
            _ => Err(io::Error::other("it is a pipe, a FIFO or a socket, and must be a file")),
        }
    }

    /// Writes the whole of a result, the last that goes there. `hurry`: the user has asked for the end already. `cut`
    /// tells whether the user does not want to wait any longer.
    ///
    /// # Errors
    /// What was not written, and why.
    pub fn write(&self, bytes: Vec<u8>, hurry: bool, cut: &dyn Fn() -> bool) -> Result<(), Trouble> {
        let limit = if hurry && self.limit == READER { HURRIED } else { self.limit };
        let patience = Patience { limit, cut };
        match &self.kind {
            Kind::File(place) => {
                let place = place.try_clone()?;
                within(&patience, bytes.len(), move |each| place.put(&bytes, each))
            }
            Kind::Stream(_) => {
                let stream = self.going()?;
                stream.push(bytes);
                stream.close();
                stream.settle(&patience)
            }
        }
    }

    /// Hands over a part of what goes there, and waits for nothing. Says whether there was room for it.
    ///
    /// # Errors
    /// What came in the way of an earlier part.
    pub fn offer(&self, bytes: Vec<u8>) -> Result<bool, Trouble> {
        let stream = self.going()?;
        if stream.has_failed() {
            stream.settle(&Patience { limit: Duration::ZERO, cut: &|| false })?;
        }
        Ok(stream.offer(bytes))
    }

    /// Whether all that was handed over so far has been written.
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            Kind::File(_) => true,
            Kind::Stream(opening) => match &*opening.lock().unwrap_or_else(PoisonError::into_inner) {
                Opening::Going(stream) => stream.is_idle(),
                Opening::Open(_) | Opening::Broken => true,
            },
        }
    }

    /// Whether its writer has failed, so that nothing more can get there.
    pub fn has_failed(&self) -> bool {
        match &self.kind {
            Kind::File(_) => false,
            Kind::Stream(opening) => match &*opening.lock().unwrap_or_else(PoisonError::into_inner) {
                Opening::Going(stream) => stream.has_failed(),
                Opening::Open(_) => false,
                Opening::Broken => true,
            },
        }
    }

    /// The writer's thread, which starts now if it has not.
    fn going(&self) -> io::Result<Stream> {
        let Kind::Stream(opening) = &self.kind else {
            return Err(io::Error::other("a regular file gets its result as a whole"));
        };
        let mut opening = opening.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match std::mem::replace(&mut *opening, Opening::Broken) {
            Opening::Open(fd) => Stream::start(move || Ok(fd))?,
            Opening::Going(stream) => stream,
            Opening::Broken => return Err(io::Error::other("its writer could not be started")),
        };
        *opening = Opening::Going(stream.clone());
        Ok(stream)
    }
}

fn metadata_key(metadata: &Metadata) -> (u64, u64, u32) {
    (metadata.dev(), metadata.ino(), metadata.mode() & libc::S_IFMT)
}

/// The descriptor of this process that a link of `/proc` with this name leads to, if it is one: `/dev/stdout`,
/// `/dev/fd/N`, `/proc/self/fd/N`.
fn own_descriptor(name: &OsStr, metadata: &Metadata) -> Option<RawFd> {
    let number: RawFd = name.to_str()?.parse::<u16>().ok()?.into();
    let file = File::from(borrowed(number).try_clone_to_owned().ok()?);
    (metadata_key(&file.metadata().ok()?) == metadata_key(metadata)).then_some(number)
}

/// A descriptor by its number; using it fails where it is not open.
fn borrowed(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: only used to ask for its flags and to duplicate it, at the start of a command, before iotrace has opened
    // or closed descriptors of its own; what is not open gives EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}
