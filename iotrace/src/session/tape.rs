//! The tape of an observation that is going on: a file, or nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use iotrace_core::rows::tape::{Block, Writer};

use crate::host::output::Target;
use crate::host::stderr;
use crate::session::error::Failure;

/// Longest tape, bytes. What comes after that is not kept, and the tape ends with a whole block.
pub const LONGEST: u64 = 1 << 30;

/// A tape that is being written, if one was asked for.
pub struct Tape {
    writer: Option<Writer<Counted>>,
}

/// A file, and how many more bytes it takes.
struct Counted {
    file: BufWriter<File>,
    left: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Tape {
    /// Begins the tape at `path`; without one, nothing is kept.
    ///
    /// # Errors
    /// Of making the file.
    pub fn begin(path: Option<&Path>) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let doing = format!("making the tape {} (IOTRACE_TAPE)", stderr::shown(path));
            Target::open(path).and_then(|target| target.begin()).map_err(Failure::while_doing(&doing))
        };
        let file = path.map(create).transpose()?;
        let counted = |file| Counted { file: BufWriter::new(file), left: LONGEST };
        let writer = file.map(|file| Writer::new(counted(file))).transpose();
        Ok(Self { writer: writer.map_err(Failure::while_doing("writing the tape"))? })
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.writer.is_some()
    }

    /// Keeps a block. Where that fails the tape ends with the block before, and the observation goes on.
    ///
    /// # Errors
    /// Of writing it; nothing is kept after that.
    pub fn put(&mut self, block: impl FnOnce() -> Block) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.put(&block()).map_err(|error| {
            self.writer = None;
            Failure::while_doing("writing the tape, which ends here")(error)
        })?;
        if self.writer.as_ref().is_some_and(|writer| writer.get_ref().left == 0) {
            stderr::say(&format!("iotrace: the tape has {LONGEST} bytes, what comes now is not on it"));
            self.writer = None;
        }
        Ok(())
    }
}

/// Keeps items of the ring buffer while a workload is observed, if its tape is kept.
pub struct Items<'a> {
    tape: Option<&'a mut Tape>,
    items: Vec<Vec<u8>>,
    failed: Option<Failure>,
}

impl<'a> Items<'a> {
    /// Keeps items on this tape.
    pub fn on(tape: &'a mut Tape) -> Self {
        Self { tape: Some(tape).filter(|tape| tape.is_kept()), items: Vec::new(), failed: None }
    }

    /// Keeps nothing.
    pub fn dropped() -> Self {
        Self { tape: None, items: Vec::new(), failed: None }
    }

    /// Takes an item.
    pub fn take(&mut self, item: &[u8]) {
        if self.tape.is_some() {
            self.items.push(item.to_vec());
        }
    }

    /// Writes what was taken as one block. What fails is kept for [`Items::done`]: the observation goes on.
    pub fn flush(&mut self) {
        let items = std::mem::take(&mut self.items);
        if let Some(tape) = self.tape.as_mut().filter(|_| !items.is_empty() && self.failed.is_none()) {
            self.failed = tape.put(|| Block::Items(items)).err();
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// The first failure of writing.
    pub fn done(self) -> Result<(), Failure> {
        self.failed.map_or(Ok(()), Err)
    }
}
