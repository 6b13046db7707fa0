//! The exact tier: function hooks around the copy, where the kernel takes them, and what is said where it
//! does not.

use iotrace::bpf::btf::Btf;
use iotrace::bpf::loader::Observer;
use iotrace::bpf::probes::Group;
use iotrace::bpf::settings::{Settings, Wish};
use iotrace_core::domain::Tier;

#[path = "../support/attempts.rs"]
mod attempts;
#[path = "../support/program.rs"]
mod program;

mod exact_agrees;
mod exact_requests;
mod exact_tier;

/// Kernels that can be preempted inside a probe (the calls' since 6.13) skip it for other threads on that CPU
/// meanwhile. The result says so, and is not complete.
const SKIPPED: &str = "a kernel that preempts may skip probes";

fn in_vm() -> bool {
    std::env::var_os("IOTRACE_VM").is_some()
}

/// Whether this kernel takes hooks on functions; Debian's do.
fn has_hooks() -> bool {
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    let groups = vec![Group::Core, Group::ExactSockets];
    let settings = Settings { tier: Wish::Auto, ..Settings::records(std::process::id(), groups) };
    let observer = Observer::attach(&btf, &settings).expect("iotrace works here");
    let has = observer.tier() == Tier::Exact;
    assert_eq!(has, observer.refused().is_none(), "{:?}", observer.refused());
    assert!(has || !in_vm(), "a Debian kernel takes function hooks: {:?}", observer.refused());
    has
}
