//! The writer as a user of it sees it: what is there afterwards, and that nobody is waited for in vain.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use nix::unistd::mkfifo;

use super::*;

/// A directory of its own for a test, which goes with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("iotrace-output-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(target: &Target, text: &str) -> Result<(), Trouble> {
    target.write(text.as_bytes().to_vec(), false, &|| false)
}

fn why(path: &Path) -> String {
    Target::open(path).expect_err("it is refused").to_string()
}

fn same(one: &Path, two: &Path) -> bool {
    Target::open(one).unwrap().is_same(&Target::open(two).unwrap()).unwrap()
}

#[test]
fn a_file_has_its_name_when_it_is_whole() {
    let dir = Dir::new();
    let target = Target::open(&dir.at("f")).unwrap();
    assert!(dir.names().is_empty(), "checking leaves nothing");
    put(&target, "result").unwrap();
    assert_eq!((dir.names(), fs::read(dir.at("f")).unwrap()), (vec!["f".to_owned()], b"result".to_vec()));
}

#[test]
fn a_file_that_is_replaced_keeps_its_permissions_and_nothing_of_its_contents() {
    let dir = Dir::new();
    fs::write(dir.at("f"), "an old and longer result").unwrap();
    for mode in [0o600, 0o664, 0o444] {
        fs::set_permissions(dir.at("f"), fs::Permissions::from_mode(mode)).unwrap();
        put(&Target::open(&dir.at("f")).unwrap(), "new").unwrap();
        assert_eq!(fs::metadata(dir.at("f")).unwrap().permissions().mode() & 0o7777, mode);
    }
    fs::set_permissions(dir.at("f"), fs::Permissions::from_mode(0o4755)).unwrap();
    put(&Target::open(&dir.at("f")).unwrap(), "new").unwrap();
    assert_eq!(fs::metadata(dir.at("f")).unwrap().permissions().mode() & 0o7777, 0o755, "no set-user-ID");
    assert_eq!((dir.names(), fs::read(dir.at("f")).unwrap()), (vec!["f".to_owned()], b"new".to_vec()));
}

/// Another name of the old file keeps the old result: it is not written to.
#[test]
fn an_old_result_is_never_written_to() {
    let dir = Dir::new();
    fs::write(dir.at("f"), "old").unwrap();
    fs::hard_link(dir.at("f"), dir.at("other")).unwrap();
    put(&Target::open(&dir.at("f")).unwrap(), "new").unwrap();
    assert_eq!(fs::read(dir.at("other")).unwrap(), b"old");
}

/// What appears at the name while iotrace runs is replaced itself, and never followed.
#[test]
fn a_link_that_is_planted_meanwhile_is_not_followed() {
    let dir = Dir::new();
    fs::write(dir.at("precious"), "precious").unwrap();
    let target = Target::open(&dir.at("f")).unwrap();
    symlink(dir.at("precious"), dir.at("f")).unwrap();
    put(&target, "result").unwrap();
    assert_eq!(fs::read(dir.at("precious")).unwrap(), b"precious");
    assert!(fs::symlink_metadata(dir.at("f")).unwrap().is_file());
}

/// The directory was found before: another one in its place gets nothing.
#[test]
fn a_directory_that_is_exchanged_meanwhile_gets_nothing() {
    let dir = Dir::new();
    fs::create_dir(dir.at("d")).unwrap();
    fs::create_dir(dir.at("precious")).unwrap();
    let target = Target::open(&dir.at("d/f")).unwrap();
    fs::rename(dir.at("d"), dir.at("moved")).unwrap();
    symlink(dir.at("precious"), dir.at("d")).unwrap();
    put(&target, "result").unwrap();
    assert_eq!(fs::read(dir.at("moved/f")).unwrap(), b"result");
    assert!(!dir.at("precious/f").exists());
}

#[test]
fn names_may_be_as_long_as_names_can_be() {
    let dir = Dir::new();
    let name = "n".repeat(255);
    put(&Target::open(&dir.at(&name)).unwrap(), "result").unwrap();
    put(&Target::open(&dir.at(&name)).unwrap(), "result").unwrap();
    assert_eq!(dir.names(), [name]);
    assert!(why(&dir.at(&"n".repeat(256))).contains("too long"));
}

#[test]
fn links_of_ones_own_are_followed_to_their_end() {
    let dir = Dir::new();
    fs::create_dir_all(dir.at("a/b")).unwrap();
    symlink("..", dir.at("a/b/up")).unwrap();
    symlink("a/b/up/c", dir.at("link")).unwrap();
    put(&Target::open(&dir.at("link")).unwrap(), "result").unwrap();
    assert_eq!(fs::read(dir.at("a/c")).unwrap(), b"result");
    assert!(fs::symlink_metadata(dir.at("link")).unwrap().is_symlink());
    symlink("loop", dir.at("loop")).unwrap();
    assert!(why(&dir.at("loop")).contains("symbolic links"));
}

#[test]
fn what_is_no_place_for_a_file_is_refused_with_the_reason() {
    let dir = Dir::new();
    for (path, words) in
        [("", "directory"), ("a/b", "No such file"), ("f/", "directory"), ("..", "directory")]
    {
        assert!(why(&dir.at(path)).contains(words), "{path}: {}", why(&dir.at(path)));
    }
    fs::write(dir.at("f"), "").unwrap();
    assert!(why(&dir.at("f/g")).contains("Not a directory"));
}

#[test]
fn outputs_that_are_one_are_known_by_any_name() {
    let dir = Dir::new();
    assert!(same(&dir.at("f"), &dir.at("./f")), "a file that does not exist yet");
    assert!(!same(&dir.at("f"), &dir.at("g")));
    fs::write(dir.at("f"), "").unwrap();
    fs::hard_link(dir.at("f"), dir.at("hard")).unwrap();
    symlink("f", dir.at("soft")).unwrap();
    symlink(&dir.0, dir.at("here")).unwrap();
    for name in ["hard", "soft", "./f", "here/f", "here/here/soft"] {
        assert!(same(&dir.at("f"), &dir.at(name)), "{name}");
    }
    symlink("new", dir.at("dangling")).unwrap();
    assert!(same(&dir.at("dangling"), &dir.at("here/new")));
    let null = Path::new("/dev/null");
    assert!(!same(null, null), "nothing is lost that is not to be lost");
}

#[test]
fn a_device_stays_a_device_and_a_full_one_says_so() {
    put(&Target::open(Path::new("/dev/null")).unwrap(), "gone").unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let full = put(&Target::open(Path::new("/dev/full")).unwrap(), "x").expect_err("it is full");
    assert!(full.to_string().contains("No space left"), "{full}");
}

/// `/dev/stdout` and `/dev/fd/N` are the open file itself, with its position.
#[test]
fn a_descriptor_of_the_shell_is_written_where_it_stands() {
    let dir = Dir::new();
    let mut file = File::create(dir.at("f")).unwrap();
    file.write_all(b"before,").unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    put(&Target::open(Path::new(&path)).unwrap(), "result").unwrap();
    file.write_all(b",after").unwrap();
    assert_eq!(fs::read(dir.at("f")).unwrap(), b"before,result,after");
    let reading = File::open(dir.at("f")).unwrap();
    assert!(
        why(Path::new(&format!("/proc/self/fd/{}", reading.as_raw_fd()))).contains("not open for writing")
    );
}

#[test]
fn a_fifo_gets_its_result_when_its_reader_comes() {
    let dir = Dir::new();
    mkfifo(&dir.at("p"), Mode::S_IRWXU).unwrap();
    let target = Target::open(&dir.at("p")).unwrap();
    let path = dir.at("p");
    let reader = thread::spawn(move || fs::read(path).unwrap());
    put(&target, "result").unwrap();
    assert_eq!(reader.join().unwrap(), b"result");
}

#[test]
fn a_result_for_a_pipe_is_in_it_before_anybody_reads() {
    let (mut reader, writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let target = Target::open(Path::new(&path)).unwrap();
    drop(writer);
    let result = "r".repeat(300_000);
    put(&target, &result).unwrap();
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert_eq!(got, result);
}

#[test]
fn a_tape_is_a_file() {
    let dir = Dir::new();
    fs::write(dir.at("old"), "old").unwrap();
    let mut tape = Target::open(&dir.at("old")).unwrap().begin().unwrap();
    tape.write_all(b"a").unwrap();
    assert_eq!(fs::read(dir.at("old")).unwrap(), b"a", "readable at any time");
    let (_reader, writer) = io::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", writer.as_raw_fd());
    assert!(Target::open(Path::new(&pipe)).unwrap().begin().is_err());
}
