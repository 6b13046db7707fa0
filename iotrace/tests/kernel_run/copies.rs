//! How the copy is known, and that what is measured of it behaves like a copy.

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::spec::Spec;
use iotrace_core::domain::{CopySource, Role, ThreadRole};

use crate::attempts;
use crate::recorded::{measure, measured};
use crate::{TRANSPORTS, in_vm, spec};

#[test]
#[ignore = "needs root"]
fn the_source_of_the_copy_depends_on_the_transport() {
    for model in [Model::Blocking, Model::Epoll] {
        for transport in TRANSPORTS {
            let measured = measured(&spec(model, transport));
            let row = measured.row(Role::Data, ThreadRole::App);
            let marked = matches!(transport, Transport::Tcp | Transport::Unix);
            let source = if marked { CopySource::Marked } else { CopySource::Estimated };
            assert_eq!(row.copy_source, source, "{}", measured.what());
            assert_eq!(row.copy_upper_ns.is_some(), !marked, "{}", measured.what());
            assert!(row.copy_floor_ns.is_some_and(|floor| floor > 0), "calibrated: {}", measured.what());
            let phase2 = row.phase2.as_ref().expect("all messages are copied");
            assert_eq!(phase2.count, measured.run.messages, "{}", measured.what());
        }
    }
}

/// On loopback a datagram above about 16,000 bytes lies in fragments, whose copy has marks.
#[test]
#[ignore = "needs root"]
fn large_datagrams_are_marked() {
    let measured = measured(&Spec { size: 40_000, ..spec(Model::Blocking, Transport::Udp) });
    let row = measured.row(Role::Data, ThreadRole::App);
    assert_eq!((row.copy_source, row.copy_upper_ns), (CopySource::Marked, None), "{}", measured.what());
    assert!(row.copy_ns > 0, "{}", measured.what());
}

/// Copying 16 times as much takes about 16 times as long. How long is not compared: caches decide that,
/// and in a VM the emulation.
#[test]
#[ignore = "needs root"]
fn a_copy_grows_with_its_size() {
    // Under emulation a copy is nearly as fast as without, but the probes that run between its marks are
    // not, so of 16 KiB more is taken for floor or left as noise.
    let (least, most) = if in_vm() { (2.0, 100.0) } else { (6.0, 40.0) };
    for transport in [Transport::Tcp, Transport::Unix] {
        attempts::until(8, "a busy machine or cold caches make a copy longer", |_| {
            let [small, middle, large] = [1 << 10, 16 << 10, 256 << 10].map(|size| copy_of(size, transport));
            let grows = small < middle && (least..most).contains(&(large as f64 / middle as f64));
            let times = format!("{transport}: ns for 1, 16 and 256 KiB: {small} {middle} {large}");
            if grows { Ok(()) } else { Err(times) }
        });
    }
}

/// Copying per message, in ns.
fn copy_of(size: u64, transport: Transport) -> u64 {
    let measured = measure(&Spec { size, ..spec(Model::Blocking, transport) });
    assert_eq!(measured.run.operations.count, measured.run.messages, "{}", measured.what());
    let row = measured.row(Role::Data, ThreadRole::App);
    assert_eq!(row.copy_source, CopySource::Marked, "{}", measured.what());
    assert_eq!(measured.run.operations.phase2.blocked_ns, Some(row.copy_ns), "{}", measured.what());
    row.copy_ns / measured.run.messages
}
