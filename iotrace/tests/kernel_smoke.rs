//! Whether the kernel that runs is the one that was meant, and has what everything else needs.

use std::fs;

use iotrace::bpf::btf::Btf;
use iotrace::bpf::settings;

mod support;

/// The kernel's own description of its types: aya attaches by it.
#[test]
#[ignore = "needs root"]
fn btf_is_readable() {
    let btf = fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with CONFIG_DEBUG_INFO_BTF");
    assert_eq!(btf[..2], 0xeb9f_u16.to_ne_bytes(), "the magic number of BTF");
}

/// `IOTRACE_VM` names the series that a VM was to boot. Elsewhere it is not set: tests ask less of a machine that
/// has it, and of an emulated one without it they would ask too much.
#[test]
#[ignore = "needs root"]
fn the_vm_runs_the_kernel_it_was_meant_to() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let processor = fs::read_to_string("/proc/cpuinfo").expect("/proc is mounted");
    match std::env::var("IOTRACE_VM") {
        Ok(series) => assert!(release.starts_with(&format!("{series}.")), "meant {series}, runs {release}"),
        Err(_) => assert!(!processor.contains("QEMU TCG"), "an emulated machine without IOTRACE_VM"),
    }
}

/// What probes read of the kernel is where its types say, under one of the names that it has had.
#[test]
#[ignore = "needs root"]
fn every_field_of_this_kernel_is_found() {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    assert_eq!(settings::unknown(&btf), []);
}

/// 5.10 is the one kernel of ours without storage per task for tracing programs.
#[test]
#[ignore = "needs root"]
fn task_storage_is_where_it_should_be() {
    let symbols = fs::read_to_string("/proc/kallsyms").expect("/proc is mounted");
    let available = symbols.contains(" bpf_task_storage_get");
    if support::has("task storage", (5, 11), available) {
        assert!(symbols.contains(" bpf_task_storage_delete"), "both helpers came at once");
    }
}
