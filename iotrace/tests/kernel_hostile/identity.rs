//! Who a command runs as. Nothing is attached where that is refused.

use std::process::{Command, Output};

use crate::trace::binary;

fn trace(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).arg("trace").args(args).output().expect("the binary starts")
}

/// Each of these ran the command as root.
#[test]
#[ignore = "needs root"]
fn forged_and_half_set_variables_of_sudo_are_refused() {
    let full = [("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")];
    let mut tries: Vec<Vec<(&str, &str)>> = Vec::new();
    for at in 0..3 {
        tries.push(vec![full[at]]);
        tries.push(full.iter().copied().filter(|one| *one != full[at]).collect());
        for odd in ["", "abc", "-1", "4294967295", "4294967296", "0 "] {
            let mut forged = full.to_vec();
            forged[at].1 = odd;
            tries.push(forged);
        }
    }
    // The number of one, the name of another; and a group that is not the user's.
    tries.push(vec![full[0], full[1], ("SUDO_USER", "root")]);
    tries.push(vec![("SUDO_UID", "0"), full[1], full[2]]);
    tries.push(vec![full[0], ("SUDO_GID", "0"), full[2]]);
    for variables in tries {
        let ran = trace(&variables, &["--", "sh", "-c", "echo as $(id -u)"]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{variables:?}: {said}");
        assert!(said.contains("SUDO_") && said.contains("--as USER"), "{variables:?}: {said}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_user_that_does_not_exist_is_refused() {
    for name in ["no-such-user", "", "4294967295", "-1", "nobody:x"] {
        let ran = trace(&[], &[&format!("--as={name}"), "--", "true"]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{name}: {said}");
    }
    let ran = trace(&[], &["--as", "nobody", "-p", "1"]);
    assert_eq!(ran.status.code(), Some(2), "there is no command: {}", String::from_utf8_lossy(&ran.stderr));
}

/// What the user's own login would give, from `su`, is what the command behind sudo has.
#[test]
#[ignore = "needs root"]
fn a_command_has_what_its_user_would_have() {
    let script =
        "id -u; id -g; id -G; echo $USER $LOGNAME $HOME $SHELL; umask; pwd; ulimit -n; env | grep ^SUDO";
    let forged =
        [("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody"), ("SUDO_COMMAND", "x")];
    let ran = trace(&forged, &["-q", "-o", "/dev/null", "--tier", "tracepoint", "--", "sh", "-c", script]);
    let su = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "65534", "--init-groups", "--reset-env", "sh", "-c", script])
        .output()
        .expect("setpriv of util-linux");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // setpriv changes to the home directory, if there is one.
    let lines = |text: String| {
        text.lines().filter(|line| !line.starts_with('/')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(text(&ran.stdout)),
        lines(text(&su.stdout)),
        "{} {}",
        text(&ran.stderr),
        text(&su.stderr)
    );
    assert_eq!(ran.status.code(), Some(1), "of grep, which finds no variable of sudo");
}
