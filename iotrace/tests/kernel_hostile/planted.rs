//! Files and links that a user plants where root writes a result.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::trace::command;

/// Somebody else.
const USER: u32 = 4711;
const GROUP: u32 = 4712;
/// A result that needs no kernel.
const TAPE: &[u8] = include_bytes!("../../core/tests/tapes/trace-per-fd.tape");

/// A directory of the user, with a tape that root may read.
fn theirs(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("iotrace-planted-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("it is new");
    fs::write(path.join("tape"), TAPE).expect("there is room");
    chown(&path, Some(USER), Some(GROUP)).expect("this is root");
    path
}

fn plant(target: impl AsRef<Path>, link: &Path) {
    symlink(target, link).expect("it is new");
    lchown(link, Some(USER), Some(GROUP)).expect("this is root");
}

/// What a run came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn writes(dir: &Path, name: &str) -> Ran {
    ran(command().args([
        "replay".as_ref(),
        dir.join("tape").as_os_str(),
        "-o".as_ref(),
        dir.join(name).as_os_str(),
    ]))
}

fn refused(dir: &Path, name: &str, words: &str) {
    let ran = writes(dir, name);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{name}: {ran:?}");
    assert!(ran.stderr.contains(words), "{name}: {ran:?}");
}

#[test]
#[ignore = "needs root"]
fn a_link_of_a_user_does_not_lead_root_elsewhere() {
    let dir = theirs("link");
    let precious = std::env::temp_dir().join(format!("iotrace-precious-{}", std::process::id()));
    fs::create_dir(&precious).expect("it is new");
    fs::write(precious.join("f"), "precious").expect("there is room");
    plant(precious.join("f"), &dir.join("file"));
    plant(precious.join("new"), &dir.join("dangling"));
    plant(&precious, &dir.join("dir"));
    plant("dir", &dir.join("twice"));
    plant("/proc/self/root", &dir.join("proc"));
    plant("/dev/stdout", &dir.join("stdout"));
    for name in ["file", "dangling", "dir/f", "dir/new", "twice/new", "proc/new", "stdout"] {
        refused(&dir, name, "belongs to uid 4711, and what it leads to belongs to uid 0");
    }
    // What the iotrace of old made beside the result, for all process ids of the next minutes.
    let load = fs::read_to_string("/proc/loadavg").expect("/proc is mounted");
    let last = load.split_whitespace().last().expect("the last process id, proc_loadavg(5)");
    let next: u32 = last.parse().expect("a number");
    for pid in next..next + 300 {
        plant(precious.join("f"), &dir.join(format!("out.{pid}.part")));
    }
    assert_eq!(writes(&dir, "out").code, Some(0));
    assert_eq!(fs::read(precious.join("f")).expect("it is there"), b"precious");
    assert_eq!(fs::read_dir(&precious).expect("it is there").count(), 1);
    // A link to what is the user's own is none of our business.
    chown(dir.join("out"), Some(USER), Some(GROUP)).expect("this is root");
    plant("out", &dir.join("own"));
    assert_eq!(writes(&dir, "own").code, Some(0));
    assert!(fs::symlink_metadata(dir.join("own")).expect("it is there").is_symlink());
    fs::remove_dir_all(dir).expect("it can be removed");
    fs::remove_dir_all(precious).expect("it can be removed");
}

#[test]
#[ignore = "needs root"]
fn a_file_that_lies_in_wait_where_everybody_may_put_files_gets_nothing() {
    let dir = theirs("sticky");
    chown(&dir, Some(0), Some(0)).expect("this is root");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).expect("this is root");
    fs::write(dir.join("bait"), "").expect("there is room");
    chown(dir.join("bait"), Some(USER), Some(GROUP)).expect("this is root");
    refused(&dir, "bait", "in a directory where everybody may put files");
    assert_eq!(fs::read(dir.join("bait")).expect("it is there"), b"");
    fs::remove_dir_all(dir).expect("it can be removed");
}

#[test]
#[ignore = "needs root"]
fn a_file_that_is_replaced_stays_its_owners() {
    let dir = theirs("owner");
    fs::write(dir.join("f"), "old").expect("there is room");
    fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o640)).expect("this is root");
    chown(dir.join("f"), Some(USER), Some(GROUP)).expect("this is root");
    assert_eq!(writes(&dir, "f").code, Some(0));
    let now = fs::metadata(dir.join("f")).expect("it is there");
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (USER, GROUP, 0o640));
    assert!(now.len() > 3);
    fs::remove_dir_all(dir).expect("it can be removed");
}

/// Root would read what a user mounts there, and overwrite a tape as well.
#[test]
#[ignore = "needs root"]
fn a_tape_follows_no_planted_link_either() {
    let dir = theirs("tape");
    let precious = std::env::temp_dir().join(format!("iotrace-precious-tape-{}", std::process::id()));
    fs::write(&precious, "precious").expect("there is room");
    plant(&precious, &dir.join("new.tape"));
    let mut command = command();
    command.args(["run", "-m", "select", "--messages", "5"]).env("IOTRACE_TAPE", dir.join("new.tape"));
    let ran = ran(&mut command);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("belongs to uid 4711"), "{ran:?}");
    assert_eq!(fs::read(&precious).expect("it is there"), b"precious");
    fs::remove_file(precious).expect("it can be removed");
    fs::remove_dir_all(dir).expect("it can be removed");
}
