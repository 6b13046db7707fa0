//! Builds the eBPF crate for the BPF target and leaves the object where `bpf/loader.rs` embeds it.
//!
//! `rustc` for the host has no BPF standard library; Debian's `rustc-web` with `libstd-rust-web-dev-bpf`
//! has a precompiled `core`, so neither nightly nor `build-std` is needed. `IOTRACE_BPF_RUSTC` names
//! another compiler; `IOTRACE_SKIP_EBPF=1` embeds an empty object (lints and unit tests need no linker).

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

fn main() {
    println!("cargo:rerun-if-changed=../iotrace-ebpf");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-env-changed=IOTRACE_BPF_RUSTC");
    println!("cargo:rerun-if-env-changed=IOTRACE_SKIP_EBPF");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = out.join("iotrace.bpf.o");
    if env::var_os("IOTRACE_SKIP_EBPF").is_some_and(|v| v == "1") {
        std::fs::write(&object, []).expect("OUT_DIR is writable");
        return;
    }

    // Its own target directory: the outer cargo holds the lock of the usual one.
    let target_dir = out.join("ebpf");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let rustc = env::var("IOTRACE_BPF_RUSTC").unwrap_or_else(|_| "/usr/bin/rustc".into());
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo
        .args(["build", "--package", "iotrace-ebpf", "--bins", "--release", "--locked"])
        .args(["--target", "bpfel-unknown-none", "--target-dir"])
        .arg(&target_dir);
    // What the outer cargo exports describes the host build.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("CARGO_") && name != "CARGO_HOME";
        if ours
            || ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"].contains(&&*name)
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .env("RUSTC", &rustc)
        // aya-ebpf turns on `asm_experimental_arch`; this opens unstable features for that crate alone.
        .env("RUSTC_BOOTSTRAP", "aya_ebpf")
        .env("CARGO_PROFILE_RELEASE_LTO", "thin")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            [
                &format!("--cfg=bpf_target_arch=\"{arch}\""),
                "-Cdebuginfo=2",
                "-Clink-arg=--btf",
                // Otherwise LLVM makes every zeroing of more than a word a call of a loop over its bytes:
                // `MaxStoresPerMemset` is 0 in `BPFTargetLowering` then.
                "-Clink-arg=--disable-expand-memcpy-in-order",
            ]
            .join("\x1f"),
        );
    let status = cargo.status();
    if !status.as_ref().is_ok_and(ExitStatus::success) {
        panic!(
            "building the eBPF object failed ({status:?}). It needs a rustc with a BPF core library ({rustc}) \
             and bpf-linker: run `cargo xtask setup`, or set IOTRACE_BPF_RUSTC"
        );
    }
    std::fs::copy(target_dir.join("bpfel-unknown-none/release/iotrace-ebpf"), &object)
        .expect("cargo reported success, so the object is there");
}
