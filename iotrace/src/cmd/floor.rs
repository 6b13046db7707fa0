//! `iotrace floor`: holds an empty pair of programs until it is killed, for `cargo xtask bench`.

use crate::bpf::floor::Floor;
use crate::host::check;
use crate::host::stderr::say;
use crate::session::error::Failure;

/// Attaches, says so, and waits for a signal: its default action is the end, and the kernel detaches.
///
/// # Errors
/// Where the programs cannot be attached.
pub fn main() -> Result<(), Failure> {
    check::prerequisites()?;
    let _floor = Floor::attach()?;
    say("attached: floor");
    loop {
        std::thread::park();
    }
}
