//! What kernel tests share.

use std::io::Write as _;

use iotrace::host::kernel;

/// A kernel version: major and minor.
pub type Version = (u32, u32);

/// Whether a test may go on that needs `what`, which kernels have since `since`. A kernel that should have
/// it and does not fails the test: a skip must be earned, else a feature that gets lost looks like a pass.
pub fn has(what: &str, since: Version, available: bool) -> bool {
    let running = kernel::running().expect("a release starts with two numbers");
    if let Some(reason) = skip(what, since, available, running) {
        // Past libtest, which shows what a test prints only when it fails.
        writeln!(std::io::stderr(), "skipped: {reason}").expect("stderr is open");
    }
    available
}

/// Why the test is skipped, if it is.
fn skip(what: &str, since: Version, available: bool, running: Version) -> Option<String> {
    let reason =
        format!("{what} is there since {}.{}; this is {}.{}", since.0, since.1, running.0, running.1);
    assert!(available || running < since, "{reason}, and lacks it");
    (!available).then_some(reason)
}

#[test]
fn a_skip_is_earned_by_an_old_kernel() {
    assert!(skip("x", (5, 11), false, (5, 10)).is_some());
    assert!(skip("x", (5, 11), true, (5, 10)).is_none());
    assert!(skip("x", (5, 11), true, (6, 1)).is_none());
    assert_eq!(kernel::version("6.12.117+deb13-cloud-amd64"), Some((6, 12)));
}

#[test]
#[should_panic = "and lacks it"]
fn a_new_kernel_has_no_excuse() {
    skip("x", (5, 11), false, (6, 1));
}
