//! Whether the kernel that runs is the one that was meant, and has what everything else needs.

use std::fs;

mod support;

/// The kernel's own description of its types: aya attaches by it.
#[test]
#[ignore = "needs root"]
fn btf_is_readable() {
    let btf = fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with CONFIG_DEBUG_INFO_BTF");
    assert_eq!(btf[..2], 0xeb9f_u16.to_ne_bytes(), "the magic number of BTF");
}

/// `IOTRACE_VM` names the series that a VM was to boot.
#[test]
#[ignore = "needs root"]
fn the_vm_runs_the_kernel_it_was_meant_to() {
    let Ok(series) = std::env::var("IOTRACE_VM") else { return };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    assert!(release.starts_with(&format!("{series}.")), "meant {series}, runs {release}");
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
