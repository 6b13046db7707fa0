//! What the iotraces that a test starts observe, kept on tapes until the test ends: one that fails leaves them for
//! `iotrace replay`, one that passes leaves nothing.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// All tapes of one test together are no longer, in bytes.
const MOST: u64 = 64 << 20;

/// Tapes of the test on this thread: libtest gives each test its own, and waits for it to end.
struct Tapes {
    files: RefCell<Vec<PathBuf>>,
    started: Cell<u32>,
    failed: Cell<bool>,
}

thread_local! {
    static TAPES: Tapes =
        const { Tapes { files: RefCell::new(Vec::new()), started: Cell::new(0), failed: Cell::new(false) } };
}

/// Lets a command that will start iotrace keep its tape. Where no tape can be written there is none: the test is of
/// something else.
pub fn keep(command: &mut Command) {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // Whether a test failed cannot be seen when its thread ends: libtest has caught the panic by then.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = TAPES.try_with(|tapes| tapes.failed.set(true));
            before(panic);
        }));
    });
    let directory = directory();
    TAPES.with(|tapes| {
        tapes.trim();
        tapes.started.set(tapes.started.get() + 1);
        let file = directory.join(name(tapes.started.get()));
        if fs::create_dir_all(&directory).and_then(|()| File::create(&file)).is_ok() {
            command.env("IOTRACE_TAPE", &file);
            tapes.files.borrow_mut().push(file);
        }
    });
}

/// Where they are: xtask names a directory under `target`, see docs/testing.md.
fn directory() -> PathBuf {
    let named = std::env::var_os("IOTRACE_TAPES").filter(|path| !path.is_empty());
    named.map_or_else(|| std::env::temp_dir().join("iotrace-tapes"), PathBuf::from)
}

/// The program, the test, and which of its iotraces it is. The next failure of the test takes the place of this one.
fn name(started: u32) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_stem().and_then(OsStr::to_str).unwrap_or("test").to_owned();
    // Without the hash that cargo adds.
    let program = program.rsplit_once('-').map_or(program.as_str(), |(name, _)| name);
    let test = std::thread::current().name().unwrap_or("thread").replace("::", "-");
    format!("{program}-{test}-{started}.tape")
}

impl Tapes {
    /// Removes the oldest where all together are too long, and returns how many that were.
    fn trim(&self) -> usize {
        let mut files = self.files.borrow_mut();
        let mut sum = 0;
        let fits = |file: &&PathBuf| {
            sum += size(file);
            sum <= MOST
        };
        let (before, kept) = (files.len(), files.iter().rev().take_while(fits).count());
        files.drain(..before - kept).for_each(|file| drop(fs::remove_file(file)));
        before - kept
    }
}

impl Drop for Tapes {
    fn drop(&mut self) {
        let dropped = if self.failed.get() { self.trim() } else { 0 };
        if dropped > 0 {
            say(&format!("tape: {dropped} of this test are not kept: longer than {} MiB", MOST >> 20));
        }
        for file in self.files.take() {
            match size(&file) {
                0 => drop(fs::remove_file(&file)),
                size if self.failed.get() => say(&format!("tape: {}, {size} bytes", file.display())),
                _ => drop(fs::remove_file(&file)),
            }
        }
    }
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Past libtest, which shows what a test prints only when it fails, and no longer listens.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
