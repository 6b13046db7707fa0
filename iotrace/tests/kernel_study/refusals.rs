//! What is refused, with what would do; and what is written where.

use std::fs;

use crate::program::iotrace;
use crate::support::has;

fn refused(args: &[&str], code: i32, words: &[&str]) {
    let ran = iotrace(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "no {word}: {ran:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_is_refused_with_the_limit_and_the_way_out() {
    refused(&["study", "everything"], 2, &["there is no study everything", "scaling", "claims"]);
    refused(
        &["study", "scaling", "--connections", "2000000000"],
        2,
        &["RLIMIT_NOFILE allows", "ask for at most", "ulimit -Hn", "fs.nr_open"],
    );
    refused(&["study", "scaling", "--arm", "kqueue"], 2, &["no variant kqueue", "epoll-et", "io-uring"]);
    refused(&["study", "scaling", "--connections", "0"], 2, &["at least 1"]);
    refused(&["study", "scaling", "--repeats", "0"], 2, &["at least 1"]);
    refused(&["study", "triggers", "--connections", "5"], 2, &["leave out --connections"]);
    refused(&["study", "claims", "-o", "/nowhere/at/all"], 1, &["cannot write /nowhere/at/all"]);
    refused(&["study", "claims", "--svg", "/nowhere/at/all"], 1, &["cannot write /nowhere/at/all"]);
}

#[test]
#[ignore = "needs root"]
fn an_arm_that_the_kernel_forbids_is_named() {
    let sysctl = "/proc/sys/kernel/io_uring_disabled";
    if !has("kernel.io_uring_disabled", (6, 6), fs::exists(sysctl).unwrap_or(false)) {
        return;
    }
    let before = fs::read_to_string(sysctl).expect("a sysctl can be read");
    fs::write(sysctl, "2").expect("a sysctl can be set");
    let args = ["study", "scaling", "--connections", "1", "--repeats", "1"];
    let alone = iotrace(args.into_iter().chain(["--arm", "io-uring"]));
    let among = iotrace(args.into_iter().chain(["--arm", "poll,epoll"]));
    fs::write(sysctl, before.trim()).expect("what was there can be set again");
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""), "{alone:?}");
    assert!(alone.stderr.contains("io-uring") && alone.stderr.contains("io_uring_disabled"), "{alone:?}");
    assert_eq!(among.code, Some(0), "{among:?}");
}

#[test]
#[ignore = "needs root"]
fn studies_are_listed_and_a_figure_stands_alone() {
    let list = iotrace(["study"]);
    assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""), "{list:?}");
    for name in ["scaling", "copy", "triggers", "claims"] {
        assert!(list.stdout.lines().any(|line| line.starts_with(name)), "no {name}: {list:?}");
    }
    let figure = std::env::temp_dir().join(format!("iotrace-figure-{}.svg", std::process::id()));
    let path = figure.to_str().expect("a name in UTF-8");
    let ran = iotrace(["study", "triggers", "--quick", "--repeats", "1", "--svg", path]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("── triggers") && ran.stdout.contains("level, nothing read"), "{ran:?}");
    assert!(ran.stdout.contains("no_interval"), "one round gives no interval: {ran:?}");
    let picture = fs::read_to_string(&figure).expect("it was written");
    fs::remove_file(&figure).expect("our own file");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for foreign in ["href", "url(", "<image", "<script", "@import"] {
        assert!(!picture.contains(foreign), "{foreign}");
    }
}
