//! What only the kernel can refuse: each with a message that names the cause and what to do.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use crate::doctor::{finding, row};
use crate::program::iotrace;
use crate::support::has;

#[test]
#[ignore = "needs root"]
fn a_port_that_is_taken_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (tcp, udp) = (tcp.local_addr().expect("bound").port(), udp.local_addr().expect("bound").port());
    // While the other sockets are open, which they are to the end of this function.
    for (transport, port) in [("tcp", tcp), ("udp", udp)] {
        let port = port.to_string();
        let ran = iotrace(["run", "--model", "blocking", "--transport", transport, "--port", &port]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains(&port) && ran.stderr.contains("in use"), "{ran:?}");
    }
}

/// A sysctl with another value, until dropped.
struct Sysctl {
    path: &'static Path,
    before: String,
}

impl Sysctl {
    fn set(path: &'static Path, value: &str) -> Self {
        let before = fs::read_to_string(path).expect("a sysctl can be read");
        let guard = Self { path, before };
        fs::write(path, value).expect("a sysctl can be set");
        guard
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(self.path, &self.before).expect("what was there can be set again");
    }
}

#[test]
#[ignore = "needs root"]
fn a_disabled_io_uring_is_named_and_others_still_run() {
    let sysctl = Path::new("/proc/sys/kernel/io_uring_disabled");
    if !has("kernel.io_uring_disabled", (6, 6), sysctl.exists()) {
        return;
    }
    let disabled = Sysctl::set(sysctl, "2");
    let alone = iotrace(["run", "--model", "io-uring", "--messages", "5"]);
    let among = iotrace(["run", "--model", "blocking,io-uring", "--messages", "5", "--format", "json"]);
    let doctor = finding();
    drop(disabled);

    assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""), "{alone:?}");
    for words in
        ["kernel.io_uring_disabled is 2", "sysctl kernel.io_uring_disabled=0", "other models still work"]
    {
        assert!(alone.stderr.contains(words), "no {words}: {alone:?}");
    }
    assert_eq!(among.code, Some(0), "{among:?}");
    let document: iotrace_core::summary::Document = serde_json::from_str(&among.stdout).expect("a document");
    assert_eq!(document.runs.len(), 1, "{document:?}");
    let left_out =
        document.warnings.iter().find(|warning| warning.code == "model_failed").expect("a warning");
    assert!(left_out.text.contains("kernel.io_uring_disabled is 2"), "{left_out:?}");
    let row = row(&doctor, "io_uring");
    assert_eq!(row["status"], "degraded", "{row}");
    assert!(row["reason"].as_str().is_some_and(|text| text.contains("io_uring_disabled is 2")), "{row}");
}
