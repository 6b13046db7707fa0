//! Installs what the build and the tests need and this machine lacks.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The LLVM that bpf-linker is built against. It must not be older than the one inside the BPF compiler
/// (`rustc-web` 1.96 has 22.1).
const LLVM: &str = "22";
/// Pinned, like the compiler: what the linker emits is what the verifier sees.
const BPF_LINKER: &str = "0.13.0";

/// The keys that sign Debian's archive, for kernels that a VM boots.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Arguments of `setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Also what the VM tests need (qemu, busybox)
    #[arg(long)]
    vm: bool,
    /// Also the programs that tests observe (nginx, wrk, netcat, fio, perf, python3)
    #[arg(long)]
    test: bool,
    /// Only say what is missing and how it would be installed
    #[arg(long)]
    dry_run: bool,
}

/// How much to set up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What building takes.
    Build,
    /// Also what running VMs takes.
    Vm,
    /// Also the programs that tests observe on this machine, but no VMs.
    Test,
    /// Both.
    TestAndVm,
    /// The tools that `bench` compares iotrace with, and nothing else.
    Bench,
}

impl Scope {
    fn has_vm(self) -> bool {
        matches!(self, Self::Vm | Self::TestAndVm)
    }

    fn has_test(self) -> bool {
        matches!(self, Self::Test | Self::TestAndVm)
    }
}

/// Programs that `iotrace/tests/kernel_host` observes or compares with, and the packages they are in.
const OBSERVED: [(&str, &str); 6] = [
    ("nginx", "nginx"),
    ("wrk", "wrk"),
    ("nc", "netcat-openbsd"),
    ("fio", "fio"),
    ("perf", "linux-perf"),
    ("python3", "python3"),
];

/// `cargo xtask setup`.
pub fn run(args: &Args) -> Result<()> {
    let missing = Missing::on_this_machine(match (args.test, args.vm) {
        (true, true) => Scope::TestAndVm,
        (true, false) => Scope::Test,
        (false, true) => Scope::Vm,
        (false, false) => Scope::Build,
    });
    if missing.is_empty() {
        eprintln!("xtask: everything is there");
    } else if args.dry_run {
        eprintln!("xtask: would run:\n{}", missing.by_hand());
    } else {
        missing.install()?;
    }
    Ok(())
}

/// Makes sure that everything is there; silent when it is.
pub fn ensure(scope: Scope) -> Result<()> {
    let missing = Missing::on_this_machine(scope);
    if missing.is_empty() { Ok(()) } else { missing.install() }
}

/// Makes sure that programs are there, each named with the package that it is in.
pub fn programs(needed: &[(&str, &str)]) -> Result<()> {
    let absent = needed.iter().filter(|(program, _)| process::find(program).is_none());
    let mut packages: Vec<String> = absent.map(|(_, package)| (*package).to_owned()).collect();
    packages.sort_unstable();
    packages.dedup();
    let missing = Missing { packages, ..Missing::default() };
    if missing.is_empty() { Ok(()) } else { missing.install() }
}

/// What has to be installed.
#[derive(Default)]
struct Missing {
    packages: Vec<String>,
    bpf_linker: bool,
}

impl Missing {
    fn on_this_machine(scope: Scope) -> Self {
        if scope == Scope::Bench {
            return Self::of_bench();
        }
        let bpf_linker = !runs("bpf-linker");
        let mut missing = Self { bpf_linker, ..Self::default() };
        let mut need = |there: bool, packages: &[&str]| {
            if !there {
                missing.packages.extend(packages.iter().map(|&p| p.to_owned()));
            }
        };
        need(has_bpf_rustc(), &["rustc-web", "libstd-rust-web-dev-bpf"]);
        if bpf_linker {
            // It links the C++ library that LLVM needs.
            need(process::find("g++").is_some(), &["g++"]);
            let (llvm, polly) = (format!("llvm-{LLVM}-dev"), format!("libpolly-{LLVM}-dev"));
            for package in [&llvm, &polly, "zlib1g-dev", "libzstd-dev"] {
                need(is_installed(package), &[package]);
            }
        }
        if scope.has_test() {
            for (program, package) in OBSERVED {
                // The tests take Debian's own, not a wrapper that comes first on PATH.
                need(debian_has(program), &[package]);
            }
        }
        if scope.has_vm() {
            need(process::find("qemu-system-x86_64").is_some(), &["qemu-system-x86"]);
            // A dynamically linked busybox would find no libraries in the VM.
            need(is_installed("busybox-static"), &["busybox-static"]);
            need(process::find("strip").is_some(), &["binutils"]);
            need(Path::new(KEYRING).exists(), &["debian-archive-keyring"]);
        }
        missing
    }

    fn of_bench() -> Self {
        let tools = [
            ("strace", "strace"),
            ("perf", "linux-perf"),
            ("bpftrace", "bpftrace"),
            ("syscount-bpfcc", "bpfcc-tools"),
        ];
        let absent = tools.iter().filter(|(program, _)| process::find(program).is_none());
        let mut packages: Vec<String> = absent.map(|(_, package)| (*package).to_owned()).collect();
        // bcc compiles its programs against headers.
        if !is_installed("linux-headers-cloud-amd64") {
            packages.push("linux-headers-cloud-amd64".to_owned());
        }
        Self { packages, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.bpf_linker
    }

    fn by_hand(&self) -> String {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(format!("  apt-get install --no-install-recommends {}", self.packages.join(" ")));
        }
        if self.bpf_linker {
            let args = bpf_linker_args().join(" ");
            lines.push(format!("  LLVM_PREFIX=/usr/lib/llvm-{LLVM} cargo {args}"));
        }
        lines.join("\n")
    }

    fn install(&self) -> Result<()> {
        if process::find("apt-get").is_none() {
            bail!(
                "this machine lacks what iotrace is built with, and has no apt-get to install it by. On Debian:\n\
                 {}\n\
                 Elsewhere: a rustc that can build `core` for bpfel-unknown-none (`rustup toolchain install \
                 nightly --component rust-src`; name its rustc in IOTRACE_BPF_RUSTC), a bpf-linker whose LLVM is \
                 not older than that rustc's (`cargo install bpf-linker`), a C compiler; for VM tests also \
                 qemu-system-x86_64, a static busybox, apt and dpkg",
                self.by_hand()
            );
        }
        if !self.packages.is_empty() {
            self.install_packages().with_context(|| {
                format!(
                    "cannot install {}. rustc-web, libstd-rust-web-dev-bpf and llvm-{LLVM}-dev are in Debian 12 \
                     and later; without them, set IOTRACE_BPF_RUSTC to a rustc with `core` for \
                     bpfel-unknown-none (rustup nightly with rust-src) and put a bpf-linker on PATH",
                    self.packages.join(" ")
                )
            })?;
        }
        if self.bpf_linker {
            eprintln!("xtask: installing bpf-linker {BPF_LINKER} (about a minute)");
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(bpf_linker_args()).arg("--quiet").env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"));
            // Its own directory and flags: this is not a build of ours.
            cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").env("PATH", process::path());
            process::run(&mut cargo).context("cannot install bpf-linker")?;
        }
        Ok(())
    }

    fn install_packages(&self) -> Result<()> {
        eprintln!("xtask: installing {}", self.packages.join(" "));
        // Old lists name versions that the mirror has dropped since. dpkg is chatty whatever it is told.
        process::output(apt_get().args(["-qq", "update"]))?;
        let mut install = apt_get();
        install.args(["-qq", "-y", "--no-install-recommends", "install"]).args(&self.packages);
        process::output(&mut install).map(|_| ())
    }
}

fn apt_get() -> Command {
    // Through env, as sudo would drop the variable; dpkg must never ask.
    let mut apt = process::as_root("/usr/bin/env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "Dpkg::Use-Pty=0"]);
    apt
}

fn bpf_linker_args() -> [&'static str; 7] {
    ["install", "bpf-linker", "--version", BPF_LINKER, "--no-default-features", "--features", "llvm-22"]
}

/// A compiler named by the user is taken on trust: the build says what is wrong with it.
fn has_bpf_rustc() -> bool {
    env::var_os("IOTRACE_BPF_RUSTC").is_some()
        || (Path::new("/usr/bin/rustc").exists() && is_installed("libstd-rust-web-dev-bpf"))
}

/// Whether the program starts: a bpf-linker whose LLVM was removed does not.
fn runs(program: &str) -> bool {
    process::find(program).is_some_and(|file| process::output(Command::new(file).arg("--version")).is_ok())
}

fn debian_has(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

fn is_installed(package: &str) -> bool {
    process::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}
