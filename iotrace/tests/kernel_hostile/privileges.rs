//! Without root, without `/proc`, in a user namespace, on a cgroup of version 1: what works, and the true reason where
//! nothing does.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use iotrace_core::summary::Document;

use crate::trace::{binary, holds};

/// A copy that everybody may execute, wherever the build lies.
struct Copied(PathBuf);

impl Copied {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("iotrace-copy-{}", std::process::id()));
        // By another process: a child that another thread forks would hold it open for writing (ETXTBSY).
        let done = Command::new("cp").arg(binary()).arg(&path).status().expect("cp");
        assert!(done.success());
        Self(path)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn text(output: &Output) -> (String, String) {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (of(&output.stdout), of(&output.stderr))
}

#[test]
#[ignore = "needs root"]
fn two_capabilities_are_enough_for_a_command_of_ones_own() {
    let copy = Copied::new();
    let caps = "-all,+bpf,+perfmon";
    let ran = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args([&format!("--inh-caps={caps}"), &format!("--ambient-caps={caps}")])
        .arg(&copy.0)
        .args(["trace", "--format", "json", "--tier", "tracepoint", "--", "sh", "-c"])
        .arg("dd if=/dev/zero of=/dev/null bs=100 count=55 2>/dev/null; exit 5")
        .output()
        .expect("setpriv of util-linux");
    let (out, err) = text(&ran);
    assert_eq!(ran.status.code(), Some(5), "{err}");
    let document: Document =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    holds(&document);
    let reads: u64 = document
        .processes
        .iter()
        .flat_map(|process| &process.calls)
        .filter(|call| call.syscall == "read")
        .map(|call| call.calls)
        .sum();
    assert!(document.complete && reads >= 55, "{document:?}");
    let said = document.warnings.iter().find(|warning| warning.code == "privileges");
    let said = said.expect("what that leaves out is said");
    assert!(said.text.contains("CAP_SYS_PTRACE") && said.text.contains("doctor"), "{said:?}");
}

#[test]
#[ignore = "needs root"]
fn the_true_reason_is_given_in_a_user_namespace_and_without_proc() {
    let in_namespace = |flags: &[&str], script: &str| {
        let output = Command::new("unshare").args(flags).args(["sh", "-c", script, &binary()]).output();
        text(&output.expect("unshare of util-linux"))
    };
    for flags in [&["-r"][..], &["-U"]] {
        let (out, err) = in_namespace(flags, "$0 trace -a; $0 run --model select; $0 doctor");
        assert!(err.contains("user namespace") && !err.contains("lacks"), "{flags:?}: {err}");
        assert!(out.contains("user namespace"), "{out}");
    }
    let (out, err) = in_namespace(&["-m"], "umount -l /proc; $0 trace -a; $0 run --model select; $0 doctor");
    assert!(err.matches("/proc is not mounted").count() == 2 && !err.contains("CAP_"), "{err}");
    assert!(out.contains("/proc is not mounted") && !out.contains("lacks"), "{out}");
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_of_the_first_version_is_refused_with_the_reason() {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    let first = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup"));
    // A machine without one has nothing to refuse; `whom.rs` tests the decision everywhere.
    let path = first.map_or("/no/such/cgroup", |fields| fields[1]);
    let ran = Command::new(binary()).args(["trace", "--cgroup", path]).output().expect("the binary starts");
    let (out, err) = text(&ran);
    let (code, words) = if path == "/no/such/cgroup" { (1, "no cgroup") } else { (2, "cgroups version 1") };
    assert_eq!((ran.status.code(), out.as_str()), (Some(code), ""), "{err}");
    assert!(err.contains(words), "{err}");
}

/// A set-user-ID iotrace would run commands as root for everybody.
#[test]
#[ignore = "needs root"]
fn a_set_user_id_iotrace_does_nothing() {
    use std::os::unix::fs::PermissionsExt;

    let copy = Copied::new();
    fs::set_permissions(&copy.0, fs::Permissions::from_mode(0o4755)).expect("our own file");
    let ran = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy.0)
        .args(["trace", "--", "id"])
        .output()
        .expect("setpriv of util-linux");
    let (out, err) = text(&ran);
    assert_eq!((ran.status.code(), out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("set-user-ID"), "{err}");
}
