//! What is written as it is: a pipe, a FIFO, a terminal, a device, or a file that the shell opened.
//!
//! A thread writes, so that a reader who does not read stops nobody but that thread. It is never waited for longer than
//! its reader takes nothing. The descriptor itself stays blocking: O_NONBLOCK would hold for all who share it, the shell
//! and the traced command among them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::close;

/// Bytes that are written at once: what a pipe with any room takes as a whole (PIPE_BUF, pipe(7)), so that each tells
/// whether its reader reads.
const CHUNK: usize = 4 << 10;
/// Most bytes that wait to be written; what comes beyond is left out.
const MOST_WAITING: usize = 16 << 20;
/// A pipe is made this large for a large result: what any user may have (/proc/sys/fs/pipe-max-size, pipe(7)). Then the
/// result is in the pipe at once, for a reader who takes time, such as a pager.
const LARGE_PIPE: usize = 1 << 20;
/// How long a writer that stands still is waited for all the same when the user wants it to end.
const HURRY: Duration = Duration::from_secs(1);
/// How often somebody who waits looks for a signal.
const LOOK: Duration = Duration::from_millis(20);

/// Why not everything was written.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The reader closed its end.
    #[error("its reader went away")]
    Gone {
        /// Bytes that were written until then.
        written: usize,
    },
    /// The reader took nothing for too long.
    #[error("{who} for {limit:?}; {written} of {all} bytes were written")]
    Stuck {
        /// What the reader did not do.
        who: &'static str,
        /// How long that was.
        limit: Duration,
        /// Bytes that were written.
        written: usize,
        /// Bytes that were to be written.
        all: usize,
    },
    /// A signal came while it waited.
    #[error("interrupted; {written} of {all} bytes were written")]
    Cut {
        /// Bytes that were written.
        written: usize,
        /// Bytes that were to be written.
        all: usize,
    },
    /// The system refused.
    #[error("{0}")]
    Failed(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Gone { written: 0 },
            _ => Self::Failed(error),
        }
    }
}

/// How long a writer may stand still before it is given up, and what else ends the wait.
pub struct Patience<'a> {
    /// Without progress.
    pub limit: Duration,
    /// Whether the user wants it to end.
    pub cut: &'a dyn Fn() -> bool,
}

/// What a writer's thread has to write, and how far it is.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    written: usize,
    all: usize,
    is_open: bool,
    /// No more will come.
    closed: bool,
    /// The thread has ended.
    done: bool,
    failed: Option<io::Error>,
    progress: Option<Instant>,
}

/// Bytes on their way to a reader.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    queue: Arc<(Mutex<Queue>, Condvar)>,
}

impl Stream {
    /// Starts the writer. `open` opens what it writes to, in the writer's thread: that may wait for a reader, too.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn start(open: impl FnOnce() -> io::Result<OwnedFd> + Send + 'static) -> io::Result<Self> {
        let stream = Self::default();
        let own = stream.clone();
        thread::Builder::new().name("iotrace-out".to_owned()).spawn(move || {
            let failed = own.carry(open).err();
            let mut queue = own.lock();
            queue.done = true;
            queue.failed = failed;
            queue.waiting.clear();
            own.queue.1.notify_all();
        })?;
        Ok(stream)
    }

    /// Hands over bytes to be written, if there is room for them; says whether there was. Waits for nothing.
    pub fn offer(&self, bytes: Vec<u8>) -> bool {
        let fits = {
            let queue = self.lock();
            queue.waiting.is_empty() || queue.waiting_bytes + bytes.len() <= MOST_WAITING
        };
        if fits {
            self.push(bytes);
        }
        fits
    }

    /// Hands over bytes to be written, whatever else still waits.
    pub fn push(&self, bytes: Vec<u8>) {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            // The reader has had nothing to take until now.
            queue.progress = Some(Instant::now());
        }
        queue.all += bytes.len();
        queue.waiting_bytes += bytes.len();
        queue.waiting.push_back(bytes);
        self.queue.1.notify_all();
    }

    /// Whether all that was offered has been written.
    pub fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.written == queue.all
    }

    /// Whether the thread has failed: nothing more will be written.
    pub fn has_failed(&self) -> bool {
        self.lock().failed.is_some()
    }

    /// Says that no more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.queue.1.notify_all();
    }

    /// Waits until all that was offered has been written and, after [`Stream::close`], the file is closed.
    ///
    /// # Errors
    /// What came in the way. What was given up goes on in its thread, as long as there is one.
    pub fn settle(&self, patience: &Patience<'_>) -> Result<(), Trouble> {
        let began = Instant::now();
        let mut queue = self.lock();
        loop {
            if let Some(error) = queue.failed.take() {
                let told =
                    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                queue.failed = Some(told);
                let written = queue.written;
                return Err(match Trouble::from(error) {
                    Trouble::Gone { .. } => Trouble::Gone { written },
                    other => other,
                });
            }
            if queue.done || (!queue.closed && queue.written == queue.all) {
                return Ok(());
            }
            let (written, all) = (queue.written, queue.all);
            let since = queue.progress.map_or(began, |progress| progress.max(began));
            if since.elapsed() >= HURRY.min(patience.limit) && (patience.cut)() {
                return Err(Trouble::Cut { written, all });
            }
            if since.elapsed() >= patience.limit {
                let who = if queue.is_open { "its reader took nothing" } else { "nobody opened it to read" };
                return Err(Trouble::Stuck { who, limit: patience.limit, written, all });
            }
            queue = self.queue.1.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The life of the thread.
    fn carry(&self, open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<()> {
        let mut file = File::from(open()?);
        self.lock().is_open = true;
        while let Some(bytes) = self.next() {
            widen(&file, bytes.len());
            for chunk in bytes.chunks(CHUNK) {
                file.write_all(chunk)?;
                let mut queue = self.lock();
                queue.written += chunk.len();
                queue.waiting_bytes -= chunk.len();
                queue.progress = Some(Instant::now());
                self.queue.1.notify_all();
            }
        }
        // On a network filesystem the last errors come here (close(2)).
        Ok(close(OwnedFd::from(file))?)
    }

    /// Waits for the next bytes; `None` when no more will come.
    fn next(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        loop {
            if let Some(bytes) = queue.waiting.pop_front() {
                return Some(bytes);
            }
            if queue.closed {
                return None;
            }
            queue = self.queue.1.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a pipe large enough for what is written next; where it is no pipe, or may not grow, nothing changes.
fn widen(file: &File, bytes: usize) {
    if bytes <= CHUNK {
        return;
    }
    let size = bytes.next_power_of_two().min(LARGE_PIPE) as libc::c_int;
    if fcntl(file, FcntlArg::F_GETPIPE_SZ).is_ok_and(|now| now < size) {
        let _ = fcntl(file, FcntlArg::F_SETPIPE_SZ(size));
    }
}

/// Does something in a thread of its own, as long as it makes progress. `job` gets a function to tell of its progress,
/// in bytes of `all`.
///
/// # Errors
/// Of the job, or that it was given up.
pub fn within(
    patience: &Patience<'_>,
    all: usize,
    job: impl FnOnce(&mut dyn FnMut(usize)) -> io::Result<()> + Send + 'static,
) -> Result<(), Trouble> {
    let stream = Stream::default();
    {
        let mut queue = stream.lock();
        (queue.all, queue.closed, queue.is_open) = (all, true, true);
    }
    let own = stream.clone();
    let run = move || {
        let failed = job(&mut |bytes| {
            let mut queue = own.lock();
            queue.written += bytes;
            queue.progress = Some(Instant::now());
        });
        let mut queue = own.lock();
        (queue.done, queue.failed) = (true, failed.err());
        own.queue.1.notify_all();
    };
    thread::Builder::new().name("iotrace-out".to_owned()).spawn(run)?;
    stream.settle(patience)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
